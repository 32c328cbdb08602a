"""Connecting, refreshing and testing as the services do it: one refresh at a time, nothing lost, bounded waits."""

import asyncio
from datetime import timedelta

import pytest

from postpost.connections import service, store
from postpost.platforms import connector
from postpost.platforms.base import ErrorCode, PlatformError
from tests.eventually import eventually
from tests.web.support import run_sql

pytestmark = pytest.mark.anyio


async def row_of(system, platform_id):
    async with system.database.connection() as connection:
        return await store.fetch_connection(connection, system.account_id, platform_id)


async def refresh(system, row):
    outside = system.services.outside
    account = outside.account(row)
    return await service.refresh(system.database, outside, row["id"], account, connector(row["platform"]))


async def credentials(system, platform_id):
    return system.services.outside.vault.decrypt((await row_of(system, platform_id))["credentials"])


async def test_connect_when_the_account_is_there_already_then_it_is_reconnected_and_keeps_its_place(api):
    await api.connect("twitter-1", "twitter-2", username="old")
    before = await row_of(api, "twitter-1")
    await run_sql(api.database, "UPDATE connections SET refused_at = now()")
    await api.connect("twitter-1", username="new")
    after = await row_of(api, "twitter-1")
    assert (after["id"], after["created_at"]) == (before["id"], before["created_at"])
    assert (after["username"], after["refused_at"]) == ("new", None)


async def test_connect_when_the_platform_is_unknown_then_value_error(api):
    with pytest.raises(ValueError, match="myspace"):
        await api.connect("myspace-1")


async def test_connect_when_stored_then_the_credentials_cannot_be_read_in_the_database(api):
    await api.connect("twitter-1")
    stored = (await row_of(api, "twitter-1"))["credentials"]
    secrets = (await credentials(api, "twitter-1")).values()
    assert secrets
    assert not any(secret.encode() in stored for secret in secrets)


async def test_disconnect_when_done_then_gone_and_a_second_time_says_so(api):
    await api.connect("twitter-1")
    assert await service.disconnect(api.database, api.account_id, "twitter-1") is True
    assert await service.disconnect(api.database, api.account_id, "twitter-1") is False


async def test_refresh_when_granted_then_the_new_credentials_are_stored(system):
    await system.connect("twitter-1")
    before = await credentials(system, "twitter-1")
    grant = await refresh(system, await row_of(system, "twitter-1"))
    row = await row_of(system, "twitter-1")
    assert await credentials(system, "twitter-1") == grant.credentials != before
    assert row["token_expires_at"] == grant.expires_at


async def test_refresh_when_somebody_else_has_refreshed_meanwhile_then_their_credentials_are_taken(system):
    await system.connect("twitter-1")
    stale = await row_of(system, "twitter-1")
    first = await refresh(system, stale)
    second = await refresh(system, stale)
    assert second.credentials == first.credentials


async def test_refresh_when_two_try_at_once_then_one_asks_the_platform(system):
    await system.connect("twitter-1")
    row = await row_of(system, "twitter-1")
    outcomes = await asyncio.gather(*(refresh(system, row) for _ in range(4)), return_exceptions=True)
    grants = [outcome.credentials for outcome in outcomes if not isinstance(outcome, Exception)]
    assert grants
    assert all(grant == grants[0] for grant in grants)
    for outcome in outcomes:
        assert not isinstance(outcome, Exception) or outcome.code is ErrorCode.NETWORK_ERROR
    assert await credentials(system, "twitter-1") == grants[0]


async def test_refresh_when_the_one_that_held_the_right_died_then_it_is_free_after_a_while(system):
    await system.connect("twitter-1")
    row = await row_of(system, "twitter-1")
    await run_sql(system.database, "UPDATE connections SET refresh_lease_until = now() + interval '1 minute'")
    with pytest.raises(PlatformError):
        await refresh(system, row)
    await run_sql(system.database, "UPDATE connections SET refresh_lease_until = now() - interval '1 second'")
    assert (await refresh(system, row)).credentials


async def test_refresh_when_the_platform_refuses_then_the_connection_counts_as_expired(system):
    await system.connect("twitter-1")
    await spoil(system, "twitter-1")
    with pytest.raises(PlatformError) as refusal:
        await refresh(system, await row_of(system, "twitter-1"))
    assert refusal.value.code is ErrorCode.PLATFORM_AUTH_EXPIRED
    row = await row_of(system, "twitter-1")
    assert row["refused_at"] is not None
    assert service.token_status(None, row["refused_at"], row["refused_at"]) == "expired"


async def test_refresh_when_the_platform_cannot_be_reached_then_the_connection_stays_as_it_is(api):
    await api.connect("twitter-1")
    await run_sql(api.database, "UPDATE connections SET sandbox = false, base_url = 'http://127.0.0.1:1'")
    before = await credentials(api, "twitter-1")
    with pytest.raises(PlatformError) as failure:
        await refresh(api, await row_of(api, "twitter-1"))
    assert failure.value.code is ErrorCode.NETWORK_ERROR
    row = await row_of(api, "twitter-1")
    assert (row["refused_at"], await credentials(api, "twitter-1")) == (None, before)
    [lease] = await run_sql(api.database, "SELECT refresh_lease_until FROM connections")
    assert lease["refresh_lease_until"] is None


async def spoil(system, platform_id):
    """Give a connection credentials that the platform refuses for good."""
    outside = system.services.outside
    spoilt = outside.vault.encrypt(dict.fromkeys(await credentials(system, platform_id), "nonsense"))
    await run_sql(system.database, "UPDATE connections SET credentials = $1", spoilt)


async def test_check_when_the_platform_refuses_for_good_then_an_error_and_expired_until_it_works_again(system):
    await system.connect("twitter-1")
    await spoil(system, "twitter-1")
    answer = await system.call("POST", "/test-connection/twitter-1")
    assert (answer.status, answer.body["status"]) == (200, "error")
    assert "nonsense" not in answer.text
    [shown] = (await system.call("GET", "/platform-connections")).body["connections"]
    assert shown["tokenStatus"] == "expired"
    await system.connect("twitter-1")
    assert (await system.call("POST", "/test-connection/twitter-1")).body["status"] == "ok"
    [shown] = (await system.call("GET", "/platform-connections")).body["connections"]
    assert shown["tokenStatus"] != "expired"


async def test_check_when_the_platform_says_nothing_then_an_error_after_the_longest_test(api, monkeypatch):
    monkeypatch.setattr(service, "TEST_TIMEOUT", timedelta(milliseconds=100))
    await api.connect("twitter-1")

    async def silent(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await run_sql(api.database, "UPDATE connections SET sandbox = false, base_url = $1", f"http://127.0.0.1:{port}")
        answer = await api.call("POST", "/test-connection/twitter-1")
        assert (answer.status, answer.body["status"]) == (200, "error")
        assert answer.body["message"] == "The platform did not answer in time"

        async def over():
            return not api.services.outside.running

        await eventually(over)
