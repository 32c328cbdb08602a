"""Who calls, over HTTP: rows A1 to A11 and T7 of errors.md, and whose things an acting account touches."""

import asyncio

import pytest

from postpost.accounts import keys
from postpost.accounts import store as accounts_store
from tests.factories import change_account, in_future, make_account, make_key
from tests.system import open_system
from tests.web.support import (
    STARTER_WITH_API,
    UNKNOWN_ID,
    broken,
    put_on,
    refused,
    run_sql,
    unchanged,
    used,
)

pytestmark = pytest.mark.anyio

INACTIVE = {"message": "Your account is inactive."}
ROUTES = (
    ("POST", "/create-post"),
    ("GET", f"/get-post/{UNKNOWN_ID}"),
    ("PUT", f"/update-post/{UNKNOWN_ID}"),
    ("DELETE", f"/delete-post/{UNKNOWN_ID}"),
    ("GET", "/list-posts"),
    ("GET", f"/post-logs/{UNKNOWN_ID}"),
    ("POST", "/validate-post"),
    ("POST", f"/retry-post/{UNKNOWN_ID}"),
    ("GET", "/platform-connections"),
    ("POST", "/test-connection/twitter-1"),
)


async def ask(api, *, acting=None, client=None, key=""):
    headers = {"x-postpost-user-id": acting, "x-postpost-client": client}
    given = {name: value for name, value in headers.items() if value is not None}
    return await api.call("GET", "/list-posts", headers=given, key=key)


async def manage(api, *, parent=None, **more):
    """Create a managed user of the system's account; returns its id."""
    return await make_account(
        api.database, email="managed@example.org", plan=None, parent_id=parent or api.account_id, **more
    )


async def revoke(api, key):
    async with api.database.transaction() as connection:
        assert await accounts_store.revoke_key(connection, api.account_id, keys.split(key))


# A1 to A11


async def test_a1_when_the_key_is_absent_or_blank_then_401_on_every_route(api):
    for method, path in ROUTES:
        refused(await api.call(method, path, key=None), 401, "API key is required")
    for blank in (" ", "\t", "   "):
        refused(await ask(api, key=blank), 401, "API key is required")


async def test_a1_when_only_an_authorization_header_is_sent_then_401(api):
    headers = {"Authorization": f"Bearer {api.key}"}
    answer = await api.call("GET", "/list-posts", key=None, headers=headers)
    refused(answer, 401, "API key is required")


async def test_a2_when_the_key_is_unknown_or_wrong_or_no_key_at_all_then_401(api):
    prefix, _, secret = api.key.partition(".")
    wrong = (
        f"{prefix}.{'0' * 40}",
        f"{prefix}.",
        f"{prefix}",
        f"sk_0_0000000000000000.{secret}",
        f".{secret}",
        ".",
        "x",
        f"{api.key}x",
        f"{api.key}.x",
        api.key.upper(),
        f"{prefix}.{secret} {secret}",
        "k" * 10_000,
        f"é.{secret}",
        "' OR 1=1 --.x",
    )
    for key in wrong:
        refused(await ask(api, key=key), 401, "Invalid API key")


async def test_a2_when_the_key_was_revoked_then_401_at_once(api):
    assert (await ask(api)).status == 200
    await revoke(api, api.key)
    refused(await ask(api), 401, "Invalid API key")


async def test_key_when_blanks_stand_around_it_then_they_are_ignored(api):
    assert (await ask(api, key=f"  {api.key}\t")).status == 200


async def test_a3_when_the_account_is_gone_then_401(api):
    await run_sql(api.database, "DELETE FROM accounts WHERE id = $1", api.account_id)
    refused(await ask(api), 401, "Invalid API key owner")


async def test_a3_when_the_billing_owner_is_gone_then_401(api):
    key = await make_key(api.database, await manage(api))
    assert (await ask(api, key=key)).status == 200
    await run_sql(api.database, "DELETE FROM accounts WHERE id = $1", api.account_id)
    refused(await ask(api, key=key), 401, "Invalid API key owner")


async def test_a4_when_the_key_owner_is_inactive_then_403(api):
    await put_on(api, {"active": False})
    refused(await ask(api), 403, "Account inactive", **INACTIVE)


async def test_a4_when_the_billing_owner_is_inactive_then_403(api):
    key = await make_key(api.database, await manage(api))
    await put_on(api, {"active": False})
    refused(await ask(api, key=key), 403, "Account inactive", **INACTIVE)


async def test_a4_when_the_managed_acting_account_is_inactive_then_403(api):
    managed = await manage(api)
    await put_on(api, {"workspaces": True})
    await change_account(api.database, managed, active=False)
    refused(await ask(api, acting=managed), 403, "Account inactive", **INACTIVE)


async def test_a5_when_there_is_no_plan_and_no_default_then_403(dsn):
    async with open_system(dsn, default_plan=None) as api:
        await put_on(api, {"plan_key": None})
        message = "No active plan entitlements found for this account."
        for method, path in ROUTES:
            refused(await api.call(method, path), 403, "Subscription required", message=message)


async def test_a5_when_the_plan_is_no_longer_offered_then_the_default_counts(dsn):
    async with open_system(dsn, default_plan="pro") as api:
        await put_on(api, {"plan_key": "retired"})
        assert (await ask(api)).status == 200


async def test_a6_when_the_plan_lacks_the_api_then_403_on_every_route(api):
    await put_on(api, "starter")
    for method, path in ROUTES:
        refused(await api.call(method, path), 403, "API access is not enabled for this account")


async def test_a6_when_the_account_has_no_plan_of_its_own_then_the_default_plan_lacks_it(api):
    await put_on(api, {"plan_key": None})
    refused(await ask(api), 403, "API access is not enabled for this account")


async def test_a6_when_the_account_is_granted_the_api_then_200(api):
    await put_on(api, STARTER_WITH_API)
    assert (await ask(api)).status == 200


async def test_a6_when_the_account_is_denied_what_its_plan_has_then_403(api):
    await put_on(api, {"entitlements": {"apiAccess": False}})
    refused(await ask(api), 403, "API access is not enabled for this account")


async def test_a6_when_the_key_owner_is_an_admin_then_403_still(api):
    await put_on(api, {"plan_key": "starter", "is_admin": True, "workspaces": True})
    refused(await ask(api), 403, "API access is not enabled for this account")


async def test_a6_when_the_managed_users_own_plan_has_it_and_the_owners_does_not_then_403(api):
    managed = await manage(api)
    await change_account(api.database, managed, plan_key="premium")
    await put_on(api, "starter")
    key = await make_key(api.database, managed)
    refused(await ask(api, key=key), 403, "API access is not enabled for this account")


async def test_a7_when_the_client_is_mcp_in_any_case_and_the_plan_lacks_it_then_403(api):
    await put_on(api, STARTER_WITH_API)
    for client in ("mcp", "MCP", "Mcp", " mcp "):
        refused(await ask(api, client=client), 403, "MCP access is not enabled for this account")
    for client in ("", "api", "mcp2", "n8n"):
        assert (await ask(api, client=client)).status == 200


async def test_a7_when_api_access_lacks_too_then_a6_comes_first(api):
    await put_on(api, "starter")
    refused(await ask(api, client="mcp"), 403, "API access is not enabled for this account")


async def test_a7_when_the_plan_has_mcp_then_200(api):
    assert (await ask(api, client="mcp")).status == 200


async def test_a8_when_the_acting_id_is_not_24_hex_digits_then_400(api):
    await put_on(api, {"workspaces": True})
    for acting in ("x", "g" * 24, "a" * 23, "a" * 25, api.account_id + "0", f"{'a' * 12} {'a' * 11}", "é" * 24):
        refused(await ask(api, acting=acting), 400, "Invalid x-postpost-user-id")


async def test_a8_when_the_header_is_blank_then_it_counts_as_absent(api):
    for blank in ("", " ", "\t"):
        assert (await ask(api, acting=blank)).status == 200


async def test_a9_when_the_key_owner_has_no_workspaces_then_403(api):
    managed = await manage(api)
    for acting in (managed, UNKNOWN_ID):
        refused(await ask(api, acting=acting), 403, "Workspace access is not enabled for this key")


async def test_a9_when_the_acting_id_is_ones_own_then_no_permission_is_needed(api):
    for acting in (api.account_id, api.account_id.upper(), f" {api.account_id} "):
        assert (await ask(api, acting=acting)).status == 200


async def test_a9_when_the_key_owner_is_an_admin_then_that_is_permission(api):
    managed = await manage(api)
    await put_on(api, {"is_admin": True})
    assert (await ask(api, acting=managed)).status == 200


async def test_a10_when_the_user_is_unknown_or_managed_by_someone_else_then_403(api):
    await put_on(api, {"workspaces": True})
    other = await make_account(api.database, email="other@example.org")
    foreign = await manage(api, parent=other)
    managed = await manage(api)
    grandchild = await manage(api, parent=managed)
    for acting in (UNKNOWN_ID, other, foreign, grandchild):
        refused(await ask(api, acting=acting), 403, "User is not managed by key")


async def test_a10_when_the_owner_is_an_admin_then_that_does_not_reach_other_accounts(api):
    await put_on(api, {"is_admin": True})
    other = await make_account(api.database, email="other@example.org")
    refused(await ask(api, acting=other), 403, "User is not managed by key")


async def test_a10_when_the_user_was_detached_then_403(api):
    managed = await manage(api)
    await put_on(api, {"workspaces": True})
    assert (await ask(api, acting=managed)).status == 200
    await change_account(api.database, managed, parent_id=None)
    refused(await ask(api, acting=managed), 403, "User is not managed by key")


async def test_a11_when_it_fails_while_the_caller_is_identified_then_500_on_every_route(api):
    async with broken(api.database, "api_keys"):
        for method, path in ROUTES:
            answer = await api.call(method, path)
            refused(answer, 500, "Internal server error")
            assert "api_keys" not in answer.text


async def test_a11_when_stored_entitlements_cannot_be_read_then_500(api):
    await put_on(api, {"entitlements": {"monthlyPosts": "many"}})
    refused(await ask(api), 500, "Internal server error")


async def test_t7_when_the_operators_limit_is_reached_then_429_with_the_seconds_to_wait(dsn):
    async with open_system(dsn, requests_per_minute=2) as api:
        assert [(await ask(api)).status for _ in range(2)] == [200, 200]
        answer = await ask(api)
        refused(answer, 429, "Too many requests")
        assert 1 <= int(answer.headers["retry-after"]) <= 30
        other = await make_key(api.database, api.account_id)
        assert (await ask(api, key=other)).status == 200


async def test_t7_when_the_limit_is_reached_and_the_owner_is_inactive_then_429_comes_first(dsn):
    async with open_system(dsn, requests_per_minute=1) as api:
        await put_on(api, {"active": False})
        assert [(await ask(api)).status for _ in range(2)] == [403, 429]


async def test_t7_when_the_key_is_wrong_then_no_allowance_is_used(dsn):
    async with open_system(dsn, requests_per_minute=1) as api:
        for _ in range(3):
            refused(await ask(api, key=f"{keys.split(api.key)}.wrong"), 401, "Invalid API key")
        assert (await ask(api)).status == 200


async def test_hold_when_the_account_is_on_hold_then_the_api_answers_all_the_same(api):
    await put_on(api, {"on_hold": True, "hold_reason": "why"})
    assert (await ask(api)).status == 200


# Acting for a managed user


async def test_acting_when_for_a_managed_user_then_only_that_users_things_are_seen_and_made(api):
    await put_on(api, {"workspaces": True})
    managed = await manage(api)
    await api.connect("twitter-1")
    await api.connect("bluesky-b", account_id=managed)
    own = await api.create("twitter-1")
    headers = {"x-postpost-user-id": managed.upper()}
    body = {"content": "Hello", "platforms": ["bluesky-b"]}
    theirs = (await api.call("POST", "/create-post", json=body, headers=headers)).body["postGroupId"]

    for path, group, status in (
        (f"/get-post/{own}", own, 404),
        (f"/get-post/{theirs}", theirs, 200),
        (f"/post-logs/{own}", own, 404),
        (f"/post-logs/{theirs}", theirs, 200),
    ):
        assert (await api.call("GET", path, headers=headers)).status == status, group
        assert (await api.call("GET", path)).status == {200: 404, 404: 200}[status], group
    listed = await api.call("GET", "/list-posts", headers=headers)
    assert [post["postGroupId"] for post in listed.body["posts"]] == [theirs]
    connections = await api.call("GET", "/platform-connections", headers=headers)
    assert [one["platformId"] for one in connections.body["connections"]] == ["bluesky-b"]


async def test_acting_when_for_a_managed_user_then_the_owners_connections_are_not_theirs(api):
    await put_on(api, {"workspaces": True})
    managed = await manage(api)
    await api.connect("twitter-1")
    body = {"content": "Hello", "platforms": ["twitter-1"]}
    async with unchanged(api.database):
        answer = await api.call("POST", "/create-post", json=body, headers={"x-postpost-user-id": managed})
    refused(answer, 400, "Platform connection not found: twitter-1")


async def test_acting_when_a_managed_user_posts_with_its_own_key_then_the_owner_is_charged(api):
    managed = await manage(api)
    await api.connect("twitter-1", account_id=managed)
    key = await make_key(api.database, managed)
    body = {"content": "Hello", "platforms": ["twitter-1"], "scheduledTime": in_future()}
    assert (await api.call("POST", "/create-post", json=body, key=key)).status == 200
    assert await used(api.database, api.account_id) == {"twitter-1": 1}
    assert await used(api.database, managed) == {}


async def test_acting_when_owner_and_managed_user_use_one_idempotency_key_then_they_are_two(api):
    await put_on(api, {"workspaces": True})
    managed = await manage(api)
    await api.connect("twitter-1")
    await api.connect("twitter-1", account_id=managed)
    body = {"content": "Hello", "platforms": ["twitter-1"]}
    groups = [
        await api.call("POST", "/create-post", json=body, headers={"Idempotency-Key": "a", **acting})
        for acting in ({}, {"x-postpost-user-id": managed}, {"x-postpost-user-id": api.account_id})
    ]
    first, second, third = (answer.body["postGroupId"] for answer in groups)
    assert first != second
    assert third == first


async def test_requests_when_different_keys_ask_at_once_then_nobody_gets_anothers_answer(api):
    accounts = [await make_account(api.database, email=f"a{n}@example.org") for n in range(8)]
    keys_of = [await make_key(api.database, account) for account in accounts]
    for n, account in enumerate(accounts):
        await api.connect(f"twitter-{n}", account_id=account)
    wrong = f"{keys.split(api.key)}.wrong"
    calls = [api.call("GET", "/platform-connections", key=key) for key in keys_of * 4]
    refusals = [ask(api, key=wrong) for _ in range(8)]
    answers = await asyncio.gather(*calls, *refusals)
    seen = [[one["platformId"] for one in answer.body["connections"]] for answer in answers[:32]]
    assert seen == [[f"twitter-{n}"] for n in range(8)] * 4
    assert {answer.status for answer in answers[32:]} == {401}
