"""Creating under load: limits hold to the post, whatever comes at once and wherever it arrives."""

import asyncio
from collections import Counter

import pytest

from postpost.accounts import store as accounts_store
from postpost.errors import ApiError
from postpost.posts.actor import Actor
from tests import factories
from tests.factories import in_future, make_account, make_key
from tests.system import open_system
from tests.web.support import broken, put_on, run_sql, use, used

pytestmark = pytest.mark.anyio

ACCOUNT_OF_100 = {
    "plan_key": "starter",
    "entitlements": {"apiAccess": True, "monthlyPosts": 100, "scheduledPosts": "unlimited"},
}
ACCOUNT_OF_100_PENDING = {
    "plan_key": "starter",
    "entitlements": {"apiAccess": True, "monthlyPosts": "unlimited", "scheduledPosts": 100},
}


async def create_many(systems, key, count, *platform_ids, **more):
    """Send creates at once, spread evenly over the systems; returns how many answers had which status."""
    body = {"content": "Hello", "platforms": list(platform_ids), "scheduledTime": in_future(), **more}
    calls = [systems[n % len(systems)].call("POST", "/create-post", json=body, key=key) for n in range(count)]
    answers = await asyncio.gather(*calls)
    refusals = {answer.body["code"] for answer in answers if answer.status == 403}
    return Counter(answer.status for answer in answers), refusals


async def row_count(system, table):
    [row] = await run_sql(system.database, f"SELECT count(*) AS n FROM {table}")
    return row["n"]


async def expect_exactly_100(system, platform_id):
    assert await row_count(system, "post_groups") == 100
    assert await row_count(system, "platform_posts") == 100
    assert await row_count(system, "post_logs") == 100
    assert await used(system.database, system.account_id) == {platform_id: 100}


@pytest.mark.parametrize("plan", [ACCOUNT_OF_100, ACCOUNT_OF_100_PENDING], ids=["month", "pending"])
async def test_creates_when_200_at_once_against_an_account_limit_of_100_then_exactly_100(api, plan):
    await api.connect("bluesky-1")
    await put_on(api, plan)
    statuses, refusals = await create_many([api], api.key, 200, "bluesky-1")
    assert statuses == {200: 100, 403: 100}
    assert len(refusals) == 1
    await expect_exactly_100(api, "bluesky-1")


async def test_creates_when_200_at_once_against_a_connection_limit_of_100_then_exactly_100(api):
    await api.connect("twitter-1")
    await put_on(api, "pro")
    statuses, refusals = await create_many([api], api.key, 200, "twitter-1")
    assert statuses == {200: 100, 403: 100}
    assert refusals == {"POST_LIMIT_REACHED"}
    await expect_exactly_100(api, "twitter-1")


@pytest.mark.parametrize("plan", [ACCOUNT_OF_100, {"plan_key": "pro"}], ids=["account", "connection"])
async def test_creates_when_200_at_once_over_two_servers_then_exactly_100(dsn, plan):
    async with open_system(dsn) as one, open_system(dsn) as two:
        await one.connect("bluesky-1")
        await put_on(one, plan)
        statuses, _ = await create_many([one, two], one.key, 200, "bluesky-1")
        assert statuses == {200: 100, 403: 100}
        await expect_exactly_100(one, "bluesky-1")


async def test_creates_when_each_asks_for_three_then_none_is_let_through_in_part(api):
    names = ("bluesky-1", "mastodon-2", "linkedin-3")
    await api.connect(*names)
    await put_on(api, ACCOUNT_OF_100)
    statuses, _ = await create_many([api], api.key, 60, *names)
    assert statuses == {200: 33, 403: 27}
    assert await used(api.database, api.account_id) == dict.fromkeys(names, 33)
    assert await row_count(api, "platform_posts") == 99


async def test_creates_when_connections_of_one_account_have_different_room_then_each_fills_its_own(api):
    await api.connect("twitter-1", "twitter-2")
    await put_on(api, "pro")
    await use(api.database, api.account_id, "twitter-1", 90)
    (first, _), (second, _) = await asyncio.gather(
        create_many([api], api.key, 30, "twitter-1"), create_many([api], api.key, 30, "twitter-2")
    )
    assert (first, second) == ({200: 10, 403: 20}, {200: 30})
    assert await used(api.database, api.account_id) == {"twitter-1": 100, "twitter-2": 30}


async def test_creates_when_owner_and_managed_user_race_then_they_share_the_limit(dsn):
    async with open_system(dsn) as one, open_system(dsn) as two:
        managed = await make_account(one.database, email="m@example.org", plan=None, parent_id=one.account_id)
        await one.connect("bluesky-1")
        await one.connect("bluesky-2", account_id=managed)
        await put_on(one, ACCOUNT_OF_100)
        managed_key = await make_key(one.database, managed)
        (first, _), (second, _) = await asyncio.gather(
            create_many([one, two], one.key, 75, "bluesky-1"), create_many([one, two], managed_key, 75, "bluesky-2")
        )
        assert first[200] + second[200] == 100
        assert sum((await used(one.database, one.account_id)).values()) == 100


async def test_creates_when_different_accounts_share_batches_then_one_account_does_not_pay_for_another(api):
    accounts = [await make_account(api.database, email=f"a{n}@example.org", plan="pro") for n in range(4)]
    for account in accounts:
        await api.connect("twitter-1", account_id=account)
    await use(api.database, accounts[0], "twitter-1", 100)
    keys = [await make_key(api.database, account) for account in accounts]
    results = await asyncio.gather(*(create_many([api], key, 20, "twitter-1") for key in keys))
    assert [statuses for statuses, _ in results] == [{403: 20}, {200: 20}, {200: 20}, {200: 20}]
    assert [await used(api.database, account) for account in accounts[1:]] == [{"twitter-1": 20}] * 3


async def test_drafts_when_200_at_once_then_all_pass_and_nothing_is_counted(api):
    await api.connect("bluesky-1")
    await put_on(api, {"plan_key": "starter", "entitlements": {"apiAccess": True, "monthlyPosts": 0}})
    statuses, _ = await create_many([api], api.key, 200, "bluesky-1", status="draft")
    assert statuses == {200: 200}
    assert await used(api.database, api.account_id) == {}


async def test_drafts_when_120_are_scheduled_at_once_against_a_limit_of_100_then_exactly_100(dsn):
    async with open_system(dsn) as one, open_system(dsn) as two:
        await one.connect("bluesky-1")
        await put_on(one, ACCOUNT_OF_100)
        groups = await asyncio.gather(*(one.create("bluesky-1") for _ in range(120)))
        body = {"status": "scheduled", "scheduledTime": in_future()}
        calls = [
            (one, two)[n % 2].call("PUT", f"/update-post/{group}", json=body, key=one.key)
            for n, group in enumerate(groups)
        ]
        answers = await asyncio.gather(*calls)
        assert Counter(answer.status for answer in answers) == {200: 100, 403: 20}
        assert await used(one.database, one.account_id) == {"bluesky-1": 100}
        assert await row_count(one, "platform_posts WHERE status = 'scheduled'") == 100


async def test_creates_and_deletes_when_mixed_then_the_count_is_that_of_what_is_left(api):
    await api.connect("bluesky-1")
    await put_on(api, ACCOUNT_OF_100)
    groups = [await api.create("bluesky-1", at=in_future()) for _ in range(40)]
    removals = [api.call("DELETE", f"/delete-post/{group}") for group in groups]
    (statuses, _), *removed = await asyncio.gather(create_many([api], api.key, 50, "bluesky-1"), *removals)
    assert statuses == {200: 50}
    assert {answer.status for answer in removed} == {200}
    assert await used(api.database, api.account_id) == {"bluesky-1": 50}


async def test_creates_when_one_of_a_batch_cannot_be_written_then_the_others_are(api):
    await api.connect("bluesky-1")
    query = "ALTER TABLE post_groups ADD CONSTRAINT no_poison CHECK (content <> 'poison')"
    await run_sql(api.database, query)
    bodies = [
        {"content": "poison" if n == 20 else "Hello", "platforms": ["bluesky-1"], "scheduledTime": in_future()}
        for n in range(40)
    ]
    answers = await asyncio.gather(*(api.call("POST", "/create-post", json=body) for body in bodies))
    assert Counter(answer.status for answer in answers) == {200: 39, 500: 1}
    assert await used(api.database, api.account_id) == {"bluesky-1": 39}


async def test_creates_when_all_of_a_batch_fail_then_each_gets_its_500_and_later_ones_pass(api):
    await api.connect("bluesky-1")
    async with broken(api.database, "idempotency_keys"):
        statuses, _ = await create_many([api], api.key, 30, "bluesky-1")
    assert statuses == {500: 30}
    statuses, _ = await create_many([api], api.key, 3, "bluesky-1")
    assert statuses == {200: 3}
    assert await used(api.database, api.account_id) == {"bluesky-1": 3}


async def test_create_when_the_account_is_deactivated_after_the_key_was_looked_up_then_a4_and_nothing_is_written(api):
    await api.connect("twitter-1")
    async with api.database.connection() as connection:
        row = await accounts_store.fetch_account(connection, api.account_id)
    actor = Actor(api.account_id, api.account_id, api.services.accounts.resolve_plan(row))
    await factories.change_account(api.database, api.account_id, active=False)
    with pytest.raises(ApiError, match="A4"):
        await api.services.posts.create(actor, {"content": "x", "platforms": ["twitter-1"]}, None)
    async with api.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM post_groups") == 0
