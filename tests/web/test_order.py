"""The order of checks: the worked examples of errors.md section 2, over HTTP."""

import pytest

from postpost.accounts import keys
from tests.factories import in_future, make_account
from tests.web.support import STARTER_WITH_API, UNKNOWN_ID, ago, put_on, refused, run_sql, unchanged, use

pytestmark = pytest.mark.anyio


async def create(api, body=None, *, headers=None, key="", **options):
    return await api.call("POST", "/create-post", json=body, headers=headers, key=key, **options)


async def test_order_when_no_key_and_no_content_then_a1(api):
    refused(await create(api, {}, key=None), 401, "API key is required")


async def test_order_when_no_such_path_and_no_key_then_t1(api):
    refused(await api.call("POST", "/nothing", key=None), 404, "Not found")


async def test_order_when_another_method_and_no_key_then_t2(api):
    refused(await api.call("GET", "/create-post", key=None), 405, "Method not allowed")


async def test_order_when_a_revoked_key_of_an_inactive_owner_then_a2(api):
    await put_on(api, {"active": False})
    await run_sql(api.database, "UPDATE api_keys SET revoked_at = now()")
    refused(await create(api, {}), 401, "Invalid API key")


async def test_order_when_an_inactive_owner_without_plan_then_a4(api):
    await put_on(api, {"active": False, "plan_key": "starter"})
    answer = await create(api, {})
    refused(answer, 403, "Account inactive", message="Your account is inactive.")


async def test_order_when_starter_and_a_malformed_acting_id_then_a6(api):
    await put_on(api, "starter")
    answer = await create(api, {}, headers={"x-postpost-user-id": "x"})
    refused(answer, 403, "API access is not enabled for this account")


async def test_order_when_mcp_lacks_and_a_malformed_acting_id_then_a7(api):
    await put_on(api, STARTER_WITH_API)
    answer = await create(api, {}, headers={"x-postpost-user-id": "x", "x-postpost-client": "mcp"})
    refused(answer, 403, "MCP access is not enabled for this account")


async def test_order_when_a_malformed_acting_id_and_no_workspaces_then_a8(api):
    answer = await create(api, {}, headers={"x-postpost-user-id": "x"})
    refused(answer, 400, "Invalid x-postpost-user-id")


async def test_order_when_a_foreign_acting_id_and_no_workspaces_then_a9(api):
    other = await make_account(api.database, email="other@example.org")
    answer = await create(api, {}, headers={"x-postpost-user-id": other})
    refused(answer, 403, "Workspace access is not enabled for this key")


async def test_order_when_the_caller_is_refused_and_the_body_is_malformed_then_the_caller_comes_first(api):
    json_type = {"Content-Type": "application/json"}
    answer = await create(api, key=f"{keys.split(api.key)}.x", data=b"{", headers=json_type)
    refused(answer, 401, "Invalid API key")
    answer = await create(api, data=b"{", headers={"x-postpost-user-id": "x", **json_type})
    refused(answer, 400, "Invalid x-postpost-user-id")


async def test_order_when_the_type_is_wrong_and_the_body_malformed_then_t5(api):
    answer = await create(api, data=b"{", headers={"Content-Type": "text/plain", "Idempotency-Key": "k" * 300})
    refused(answer, 415, "Unsupported media type")


async def test_order_when_the_body_is_malformed_and_the_idempotency_key_too_long_then_t4(api):
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k" * 300}
    refused(await create(api, data=b"{", headers=headers), 400, "Invalid JSON body")


async def test_order_when_content_and_platforms_are_empty_then_c1(api):
    refused(await create(api, {"content": "", "platforms": []}), 400, "Content is required")


async def test_order_when_a_bad_platform_id_and_a_bad_time_then_c6(api):
    answer = await create(api, {"content": "x", "platforms": ["bad"], "scheduledTime": "bad"})
    refused(answer, 400, "Invalid platform ID format: bad")


async def test_order_when_a_bad_time_and_bad_settings_then_c7(api):
    body = {"content": "x", "platforms": ["twitter-9"], "scheduledTime": "bad", "platformSettings": 5}
    refused(await create(api, body), 400, "Invalid scheduled time format")


async def test_order_when_a_past_time_and_bad_settings_then_c8(api):
    body = {"content": "x", "platforms": ["twitter-9"], "scheduledTime": ago(days=1), "platformSettings": "{"}
    refused(await create(api, body), 400, "Scheduled time cannot be in the past")


async def test_order_when_bad_settings_and_an_unconnected_id_then_c9_or_c10(api):
    body = {"content": "x", "platforms": ["twitter-9"]}
    refused(await create(api, {**body, "platformSettings": "{"}), 400, "Invalid platformSettings JSON")
    refused(await create(api, {**body, "platformSettings": "5"}), 400, "platformSettings must be an object")


async def test_order_when_an_unconnected_platform_is_not_in_the_plan_then_c11(api):
    await put_on(api, STARTER_WITH_API)
    answer = await create(api, {"content": "x", "platforms": ["twitter-9"]})
    refused(answer, 400, "Platform connection not found: twitter-9")


async def test_order_when_a_connected_platform_is_not_in_the_plan_and_the_month_is_used_up_then_e6(api):
    await api.connect("twitter-1")
    await put_on(api, STARTER_WITH_API)
    await use(api.database, api.account_id, "twitter-1", 15)
    body = {"content": "x", "platforms": ["twitter-1"], "scheduledTime": in_future()}
    async with unchanged(api.database):
        answer = await create(api, body)
    assert (answer.status, answer.body["code"]) == (403, "PLATFORM_NOT_AVAILABLE")


async def test_order_when_every_limit_is_broken_then_they_answer_in_the_order_of_stage_11(api):
    await api.connect("twitter-1", *(f"bluesky-{n}" for n in range(4)))
    for _ in range(4):
        await api.create("bluesky-0", at=in_future())
    await use(api.database, api.account_id, "bluesky-0", 15)
    body = {"content": "x", "platforms": ["twitter-1", "bluesky-0"], "scheduledTime": in_future(days=8)}
    relaxed = {"apiAccess": True}
    expected = {
        "PLATFORM_NOT_AVAILABLE": {"allowedPlatforms": "all"},
        "CONNECTIONS_OVER_LIMIT": {"connections": "unlimited"},
        "SCHEDULE_HORIZON_REACHED": {"scheduleHorizonDays": "none"},
        "POST_LIMIT_REACHED": {"monthlyPosts": "unlimited"},
        "SCHEDULED_POST_LIMIT_REACHED": {"scheduledPosts": "unlimited"},
    }
    for code, relaxation in expected.items():
        await put_on(api, {"plan_key": "starter", "entitlements": relaxed})
        async with unchanged(api.database):
            answer = await create(api, body)
        assert (answer.status, answer.body["code"]) == (403, code)
        relaxed = {**relaxed, **relaxation}
    await put_on(api, {"plan_key": "starter", "entitlements": relaxed})
    assert (await create(api, body)).status == 200


async def test_order_when_a_wrong_status_for_a_group_that_does_not_exist_then_u2(api):
    answer = await api.call("PUT", f"/update-post/{UNKNOWN_ID}", json={"status": "x"})
    refused(answer, 400, "Status must be either 'draft' or 'scheduled'")


async def test_order_when_a_wrong_body_for_a_group_that_does_not_exist_then_the_body_comes_first(api):
    answer = await api.call("POST", f"/retry-post/{UNKNOWN_ID}", json=[])
    refused(answer, 400, "Invalid JSON body")
    answer = await api.call("PUT", "/update-post/x", json=[])
    refused(answer, 400, "Invalid JSON body")
