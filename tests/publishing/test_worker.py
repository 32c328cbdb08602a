"""A worker among others, through shutdowns and through a database that goes away."""

import asyncio
import itertools

import pytest

from postpost import runtime
from tests.eventually import eventually
from tests.factories import FOUR, now
from tests.publishing import looking

pytestmark = pytest.mark.anyio


async def create_many(system, targets, each):
    """Create `each` posts for every target, all due now, and return the group ids."""
    wanted = [(target, f"{target} {number}") for number in range(each) for target in targets]
    return await asyncio.gather(*(system.create(target, content=content, at=now()) for target, content in wanted))


async def none_is_open(system):
    open_posts = "SELECT status, count(*) FROM platform_posts WHERE status NOT IN ('published', 'failed') GROUP BY 1"
    assert [tuple(row) for row in await looking.execute(system, open_posts)] == []
    return True


async def published_once(system, targets, each):
    found = await looking.execute(system, "SELECT status, error FROM platform_posts WHERE status <> 'published'")
    assert [tuple(row) for row in found] == []
    for target in targets:
        texts = [post["text"] for post in await system.posted(target)]
        assert sorted(texts) == sorted(f"{target} {number}" for number in range(each))


def accounts(number):
    """Name accounts, over all four platforms in turn."""
    return [
        (f"twitter-{n}", f"linkedin-L{n}", f"bluesky-did:plc:b{n}", f"mastodon-{n}")[n % 4]
        for n in range(1, number + 1)
    ]


async def terminate_backends(system):
    """Cut every connection to the test's database but the one that says so."""
    async with system.database.connection() as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def test_worker_when_every_database_connection_is_cut_then_it_recovers_and_publishes_once(open_watched):
    targets = accounts(8)
    async with open_watched(worker=True, sandbox=True) as system:
        await system.connect(*targets)
        for target in targets:
            await system.fault(target, "slow", delay=0.1, times=5)
        await create_many(system, targets, 5)
        for _ in range(2):
            before = await looking.execute(
                system, "SELECT count(*) AS n FROM platform_posts WHERE status = 'published'"
            )

            async def some_more_are_out(before=before[0]["n"]):
                rows = await looking.execute(
                    system, "SELECT count(*) AS n FROM platform_posts WHERE status = 'published'"
                )
                return rows[0]["n"] > before

            await eventually(some_more_are_out, within=20)
            await terminate_backends(system)
        await eventually(lambda: none_is_open(system), within=40)
        await published_once(system, targets, 5)


async def test_worker_when_its_listeners_are_cut_while_idle_then_the_next_post_goes_out(system):
    await system.connect("mastodon-2")
    await system.ended(await system.create("mastodon-2", content="Before", at=now()))
    await terminate_backends(system)
    group = await system.create("mastodon-2", content="After", at=now())
    assert [entry["status"] for entry in await system.ended(group, within=12)] == ["published"]


async def test_worker_when_stopped_then_it_finishes_what_is_in_hand_and_leaves_the_rest_to_others(open_watched):
    targets = accounts(8)
    async with open_watched(sandbox=True) as system:
        await system.connect(*targets)
        for target in targets:
            await system.fault(target, "slow", delay=0.2, times=4)
        parts = runtime.Parts([], [])
        worker = runtime.start_worker(parts, system.services)
        await create_many(system, targets, 4)

        async def first_ones_are_out():
            rows = await looking.execute(system, "SELECT count(*) AS n FROM platform_posts WHERE status = 'published'")
            return rows[0]["n"] >= 8

        await eventually(first_ones_are_out)
        worker.stop()
        await asyncio.wait_for(asyncio.gather(*parts.running), 5)
        left = await looking.execute(
            system, "SELECT status, lease_id, intent FROM platform_posts WHERE status <> 'published'"
        )
        assert left
        assert {tuple(row) for row in left} == {("pending", None, None)}
        other = runtime.Parts([], [])
        successor = runtime.start_worker(other, system.services)
        await eventually(lambda: none_is_open(system), within=8)
        successor.stop()
        await asyncio.gather(*other.running)
        await published_once(system, targets, 4)


async def test_workers_when_three_share_a_database_then_each_of_hundreds_is_published_once(open_watched):
    targets = accounts(24)
    async with open_watched(worker=True, sandbox=True, workers=3, database_pool_size=16) as system:
        await system.connect(*targets)
        await create_many(system, targets, 10)
        await eventually(lambda: none_is_open(system), within=30)
        await published_once(system, targets, 10)


async def test_workers_when_one_connection_has_many_posts_then_never_two_of_them_in_flight(open_watched):
    targets = FOUR
    async with open_watched(worker=True, sandbox=True, workers=3, database_pool_size=16) as system:
        await system.connect(*targets)
        for target in targets:
            await system.fault(target, "slow", delay=0.3, times=5)
        start = looking.moment(now())
        await create_many(system, targets, 5)
        await eventually(lambda: none_is_open(system), within=20)
        ends = []
        for target in targets:
            made = [looking.moment(post["createdAt"]) for post in await system.posted(target)]
            # Each is made at the end of its own 0.3 s, so two at once would be less than that apart.
            assert all((after - before).total_seconds() >= 0.3 for before, after in itertools.pairwise(made))
            ends.append((made[-1] - start).total_seconds())
        assert max(ends) < 4 * 5 * 0.3  # the connections did not wait for one another


async def test_worker_when_the_queue_repeats_itself_then_each_post_is_published_once(system):
    await system.connect("mastodon-2", "mastodon-3")
    await system.fault("mastodon-2", "slow", delay=0.3)
    groups = [
        await system.create("mastodon-2", "mastodon-3", content=f"Post {number}", at=now()) for number in range(5)
    ]
    ids = [one for group in groups for one in await looking.post_ids(system, group)]
    await looking.enqueue(system, *(ids * 5))
    for group in groups:
        await system.ended(group)
    await looking.enqueue(system, *(ids * 5), "f" * 24)

    async def queue_is_empty():
        return await looking.queued_jobs(system) == 0

    await eventually(queue_is_empty)
    for platform_id in ("mastodon-2", "mastodon-3"):
        texts = [post["text"] for post in await system.posted(platform_id)]
        assert sorted(texts) == [f"Post {number}" for number in range(5)]
    for group in groups:
        assert [event for event, _ in await looking.events(system, group)].count("publish_attempted") == 2
