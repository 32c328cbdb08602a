"""platform-connections and test-connection over HTTP: rows N1 and X1 to X3, and the exact shapes."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.factories import change_account, in_future, make_account, make_key
from tests.web.support import broken, refused, run_sql, unchanged

pytestmark = pytest.mark.anyio


async def connections(api, **options):
    answer = await api.call("GET", "/platform-connections", **options)
    assert (answer.status, answer.body.keys()) == (200, {"success", "connections"})
    assert answer.body["success"] is True
    return answer.body["connections"]


async def check(api, platform_id, **options):
    return await api.call("POST", f"/test-connection/{platform_id}", **options)


async def test_n1_when_it_fails_unexpectedly_then_500(api):
    async with broken(api.database, "connections"):
        refused(await api.call("GET", "/platform-connections"), 500, "Failed to fetch platform connections")


async def test_connections_when_there_are_none_then_an_empty_array(api):
    assert await connections(api) == []


async def test_connections_when_fresh_then_every_field_is_there_and_null_is_written_out(api):
    await api.connect("twitter-1", username="@someone")
    assert await connections(api) == [
        {
            "platformId": "twitter-1",
            "platform": "twitter",
            "username": "@someone",
            "displayName": None,
            "profileImageUrl": None,
            "profileUrl": None,
            "accessTokenExpiresAt": None,
            "tokenStatus": "unknown",
            "tokenExpiresIn": None,
            "lastSuccessfulPost": None,
            "lastError": None,
        }
    ]


async def test_connections_when_known_better_then_all_of_it_is_shown(api):
    await api.connect("twitter-1")
    await run_sql(
        api.database,
        """
        UPDATE connections SET display_name = 'Some One', profile_image_url = 'https://e.org/i', profile_url = 'https://e.org/',
            token_expires_at = '2030-01-02T03:04:05.678Z', last_successful_post_at = '2026-01-02T03:04:05Z',
            last_error = 'It broke', last_error_at = '2026-02-02T03:04:05.5Z'
        """,
    )
    [shown] = await connections(api)
    assert (shown["displayName"], shown["profileImageUrl"], shown["profileUrl"]) == (
        "Some One",
        "https://e.org/i",
        "https://e.org/",
    )
    assert shown["accessTokenExpiresAt"] == "2030-01-02T03:04:05.678Z"
    assert shown["lastSuccessfulPost"] == "2026-01-02T03:04:05.000Z"
    assert shown["lastError"] == {"message": "It broke", "occurredAt": "2026-02-02T03:04:05.500Z"}


TOKENS = {
    timedelta(days=82, hours=4, minutes=30): ("valid", "82d 4h"),
    timedelta(days=7, minutes=1): ("valid", "7d 0h"),
    timedelta(days=6, hours=23, minutes=30): ("expiring_soon", "6d 23h"),
    timedelta(hours=5, minutes=30): ("expiring_soon", "5h"),
    timedelta(minutes=30): ("expiring_soon", "< 1h"),
    timedelta(seconds=-1): ("expired", "expired"),
}


async def test_connections_when_the_token_ends_then_its_status_and_time_left_are_told(api):
    await api.connect("twitter-1")
    for left, (status, words) in TOKENS.items():
        await run_sql(api.database, "UPDATE connections SET token_expires_at = $1", datetime.now(UTC) + left)
        [shown] = await connections(api)
        assert (shown["tokenStatus"], shown["tokenExpiresIn"]) == (status, words)


async def test_connections_when_the_platform_refused_the_credentials_then_expired(api):
    await api.connect("twitter-1")
    await run_sql(api.database, "UPDATE connections SET refused_at = now()")
    [shown] = await connections(api)
    assert (shown["tokenStatus"], shown["tokenExpiresIn"]) == ("expired", None)


async def test_connections_when_several_then_in_the_order_of_connecting_and_only_ones_own(api):
    names = ["mastodon-9", "bluesky-did:plc:a", "twitter-1", "linkedin-L"]
    for name in names:
        await api.connect(name)
    other = await make_account(api.database, email="other@example.org")
    await api.connect("twitter-2", account_id=other)
    await api.connect("mastodon-9")
    assert [one["platformId"] for one in await connections(api)] == names
    assert [one["platformId"] for one in await connections(api, key=await make_key(api.database, other))] == [
        "twitter-2"
    ]


async def test_x1_when_there_is_no_dash_or_nothing_around_it_then_400(api):
    for platform_id in ("twitter", "-1", "twitter-", "-", "--", "é", "%00"):
        refused(await check(api, platform_id), 400, "Invalid platformId format")


async def test_x2_when_not_connected_by_this_account_then_404(api):
    await api.connect("twitter-1")
    other = await make_account(api.database, email="other@example.org")
    await api.connect("twitter-2", account_id=other)
    for platform_id in (
        "twitter-2",
        "Twitter-1",
        "TWITTER-1",
        "twitter--1",
        "x-1",
        "twitter-1%00",
        "twitter-1%0A",
        "é-1",
    ):
        refused(await check(api, platform_id), 404, "Connection not found")


async def test_x3_when_it_fails_unexpectedly_then_500(api):
    async with broken(api.database, "connections"):
        refused(await check(api, "twitter-1"), 500, "Failed to test connection")


async def test_x3_when_the_credentials_cannot_be_read_then_500_and_no_trace_of_them(api):
    await api.connect("twitter-1")
    await run_sql(api.database, "UPDATE connections SET credentials = 'nonsense'")
    refused(await check(api, "twitter-1"), 500, "Failed to test connection")


@pytest.mark.parametrize("platform_id", ["twitter-101", "linkedin-Lin1", "bluesky-did:plc:abc", "mastodon-404"])
async def test_check_when_the_platform_knows_the_account_then_ok_with_exactly_these_fields(system, platform_id):
    await system.connect(platform_id)
    answer = await check(system, platform_id)
    assert answer.status == 200
    username, permissions = answer.body["username"], answer.body["permissions"]
    assert answer.body == {
        "platform": platform_id.partition("-")[0],
        "platformId": platform_id,
        "username": username,
        "status": "ok",
        "message": f"Connected as {username}",
        "permissions": permissions,
        # Bluesky's sandbox credentials are an app password: the first call opens a session, which ends.
        "tokenExpiresIn": "1h" if platform_id.startswith("bluesky") else None,
        "lastSuccessfulPost": None,
        "lastError": None,
    }
    assert username
    assert all(isinstance(one, str) for one in permissions)


async def test_check_when_the_id_is_percent_encoded_then_it_is_decoded(system):
    await system.connect("bluesky-did:plc:abc")
    answer = await check(system, "bluesky-did%3Aplc%3Aabc/")
    assert (answer.status, answer.body["platformId"]) == (200, "bluesky-did:plc:abc")


async def test_check_when_the_token_has_expired_then_it_is_refreshed_first(system):
    await system.connect("twitter-1")
    await system.fault("twitter-1", "auth_expired")
    assert (await check(system, "twitter-1")).body["status"] == "ok"
    [shown] = await connections(system)
    assert shown["tokenStatus"] == "expiring_soon"


async def test_check_when_the_platform_cannot_be_reached_then_200_with_an_error(api):
    await api.connect("twitter-1", username="someone")
    await run_sql(api.database, "UPDATE connections SET sandbox = false, base_url = 'http://127.0.0.1:1'")
    async with unchanged(api.database):
        answer = await check(api, "twitter-1")
    assert (answer.status, answer.body) == (
        200,
        {
            "platform": "twitter",
            "platformId": "twitter-1",
            "username": "someone",
            "status": "error",
            "message": "The platform could not be reached: the connection was refused",
            "permissions": [],
            "tokenExpiresIn": None,
            "lastSuccessfulPost": None,
            "lastError": None,
        },
    )


async def test_check_when_no_username_is_stored_then_unknown(api):
    await api.connect("twitter-1")
    await run_sql(
        api.database, "UPDATE connections SET sandbox = false, base_url = 'http://127.0.0.1:1', username = ''"
    )
    assert (await check(api, "twitter-1")).body["username"] == "unknown"


async def test_check_when_the_platform_has_no_connector_then_200_naming_it(api):
    await api.connect("twitter-1")
    await run_sql(api.database, "UPDATE connections SET platform = 'pinterest', platform_id = 'pinterest-1'")
    answer = await check(api, "pinterest-1")
    assert (answer.status, answer.body["status"]) == (200, "error")
    assert answer.body["message"] == "Unknown platform: pinterest"


async def test_check_when_done_then_last_error_and_last_success_are_shown_and_kept(system):
    await system.connect("twitter-1", "mastodon-4")
    await system.fault("twitter-1", "reject")
    group = await system.create("twitter-1", "mastodon-4", at=in_future(seconds=-1))
    [failed, _] = await system.ended(group)
    for platform_id, has_error in (("twitter-1", True), ("mastodon-4", False)):
        answer = await check(system, platform_id)
        assert answer.body["status"] == "ok"
        assert (answer.body["lastError"] is not None) is has_error
        assert (answer.body["lastSuccessfulPost"] is None) is has_error
    [twitter, _] = await connections(system)
    assert twitter["lastError"] == {"message": failed["error"]["message"], "occurredAt": failed["error"]["failedAt"]}


async def test_connection_when_a_post_succeeds_after_a_failure_then_last_error_is_null_again(system):
    await system.connect("twitter-1")
    await system.fault("twitter-1", "reject")
    await system.ended(await system.create("twitter-1", at=in_future(seconds=-1)))
    await system.ended(await system.create("twitter-1", content="Again", at=in_future(seconds=-1)))
    [shown] = await connections(system)
    assert shown["lastError"] is None
    assert shown["lastSuccessfulPost"] is not None


async def test_check_when_for_a_managed_user_then_that_users_connection(system):
    managed = await make_account(system.database, email="m@example.org", parent_id=system.account_id)
    await change_account(system.database, system.account_id, workspaces=True)
    await system.connect("twitter-1", account_id=managed)
    refused(await check(system, "twitter-1"), 404, "Connection not found")
    answer = await check(system, "twitter-1", headers={"x-postpost-user-id": managed})
    assert answer.body["status"] == "ok"


async def test_check_when_a_body_is_sent_then_it_is_ignored(api):
    await api.connect("twitter-1")
    await run_sql(api.database, "UPDATE connections SET sandbox = false, base_url = 'http://127.0.0.1:1'")
    answer = await check(api, "twitter-1", data=b"{", headers={"Content-Type": "text/plain"})
    assert answer.status == 200
