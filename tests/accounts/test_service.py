"""Accounts, keys and callers as the services do it; the HTTP side of callers is tests/web/test_identity.py."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from postpost.accounts import keys, service, store
from postpost.accounts.service import Credentials, KeyLimitError
from postpost.errors import ApiError
from tests.factories import in_future, make_account, make_key
from tests.web.support import close_to, run_sql, use

pytestmark = pytest.mark.anyio


async def key_rows(database):
    return await run_sql(database, "SELECT * FROM api_keys ORDER BY created_at, id")


async def authenticate(api, key, **more):
    return await api.services.accounts.authenticate(Credentials(key, **more))


async def test_create_key_when_made_then_only_its_digest_is_stored(database):
    account = await make_account(database)
    raw = await make_key(database, account)
    [row] = await key_rows(database)
    assert (row["prefix"], row["digest"], row["last_used_at"]) == (keys.split(raw), keys.digest_of(raw), None)
    secret = raw.partition(".")[2]
    assert all(secret not in str(value) for value in row.values())


async def test_create_key_when_there_is_no_such_account_then_lookup_error(database):
    with pytest.raises(LookupError):
        await make_key(database, "f" * 24)


async def test_create_key_when_ten_are_active_then_refused_until_one_is_revoked(database):
    account = await make_account(database)
    made = [await make_key(database, account) for _ in range(10)]
    with pytest.raises(KeyLimitError):
        await make_key(database, account)
    async with database.transaction() as connection:
        assert await store.revoke_key(connection, account, keys.split(made[0]))
    assert await make_key(database, account)


async def test_create_key_when_many_are_made_at_once_then_ten_at_most(database):
    account = await make_account(database)
    outcomes = await asyncio.gather(*(make_key(database, account) for _ in range(16)), return_exceptions=True)
    assert sum(isinstance(outcome, str) for outcome in outcomes) == 10
    assert sum(isinstance(outcome, KeyLimitError) for outcome in outcomes) == 6


async def test_create_first_account_when_the_database_is_empty_then_an_owner_with_everything(database):
    account_id, raw = await service.create_first_account(database)
    async with database.connection() as connection:
        account = await store.fetch_account(connection, account_id)
    assert (account["plan_key"], account["workspaces"], account["is_admin"]) == ("premium", True, True)
    [row] = await key_rows(database)
    assert (row["account_id"], row["prefix"]) == (account_id, keys.split(raw))


async def test_create_first_account_when_anybody_is_there_then_none(database):
    await make_account(database)
    assert await service.create_first_account(database) is None


async def test_authenticate_when_successful_then_it_says_whose_things_are_touched_and_who_pays(api):
    managed = await make_account(api.database, email="m@example.org", plan=None, parent_id=api.account_id)
    own_key = await make_key(api.database, managed)
    await run_sql(api.database, "UPDATE accounts SET workspaces = true WHERE id = $1", api.account_id)
    for key, acting, expected in (
        (api.key, None, (api.account_id, api.account_id, api.account_id)),
        (api.key, managed, (api.account_id, api.account_id, managed)),
        (own_key, None, (managed, api.account_id, managed)),
        (own_key, managed, (managed, api.account_id, managed)),
    ):
        caller = await authenticate(api, key, user_id=acting)
        assert (caller.owner_id, caller.billing_id, caller.account_id) == expected
        assert caller.plan.key == "premium"


async def test_authenticate_when_successful_then_last_used_at_is_set_and_at_most_once_a_minute(api):
    await authenticate(api, api.key)
    [row] = await key_rows(api.database)
    first = row["last_used_at"]
    assert abs(first - datetime.now(UTC)) < timedelta(seconds=10)
    for _ in range(3):
        await authenticate(api, api.key)
    [row] = await key_rows(api.database)
    assert row["last_used_at"] == first


async def test_authenticate_when_last_used_more_than_a_minute_ago_then_set_again(api):
    await run_sql(api.database, "UPDATE api_keys SET last_used_at = now() - interval '61 seconds'")
    await authenticate(api, api.key)
    [row] = await key_rows(api.database)
    assert close_to(row["last_used_at"].isoformat(), datetime.now(UTC))


async def test_authenticate_when_the_key_was_revoked_then_last_used_at_stays(api):
    await run_sql(api.database, "UPDATE api_keys SET revoked_at = now()")
    with pytest.raises(ApiError, match="A2"):
        await authenticate(api, api.key)
    [row] = await key_rows(api.database)
    assert row["last_used_at"] is None


async def test_authenticate_when_a_key_is_overlong_or_odd_then_a2_without_asking_the_database(api):
    async with api.database.transaction() as connection:
        await connection.execute("LOCK api_keys IN ACCESS EXCLUSIVE MODE")
        for key in ("x" * 201 + ".y", "no-dot", ".y", "\0.x", "\udcff.x"):
            with pytest.raises(ApiError, match="A2"):
                await asyncio.wait_for(authenticate(api, key), 2)


async def test_show_usage_when_some_are_used_and_some_wait_then_both_by_platform_id(api):
    managed = await make_account(api.database, email="m@example.org", plan=None, parent_id=api.account_id)
    await api.connect("twitter-1", "bluesky-b")
    await api.create("twitter-1", "bluesky-b", at=in_future())
    await use(api.database, api.account_id, "twitter-1", 7)
    for account_id in (api.account_id, managed):
        async with api.database.connection() as connection:
            account = await store.fetch_account(connection, account_id)
        (start, end), lines = await service.show_usage(api.database, account)
        assert start <= datetime.now(UTC) < end
        assert [(line.platform_id, line.used, line.pending) for line in lines] == [
            ("bluesky-b", 1, 1),
            ("twitter-1", 7, 1),
        ]
