import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from postpost.publishing.dispatcher import POLL_INTERVAL, Dispatcher
from tests.eventually import eventually
from tests.factories import in_future, now
from tests.publishing import looking

pytestmark = pytest.mark.anyio

TARGETS = ("twitter-1", "mastodon-2")


def new_dispatcher(system):
    return Dispatcher(system.database, system.services.metrics)


@asynccontextmanager
async def running(system):
    """Run a dispatcher, and nothing that would publish what it dispatches."""
    dispatcher = new_dispatcher(system)
    task = asyncio.create_task(dispatcher.run())
    try:
        yield dispatcher
    finally:
        dispatcher.stop()
        await asyncio.wait_for(task, 5)


async def statuses(system, group):
    return [row["status"] for row in await looking.rows(system, group)]


async def dispatched(system, group, *, within):
    return await looking.until_posts(system, group, lambda row: row["status"] == "pending", within=within)


async def test_dispatch_when_some_are_due_then_only_those_are_taken_with_one_job_for_each_post(idle):
    await idle.connect(*TARGETS)
    due = await idle.create(*TARGETS, at=now())
    later = await idle.create(*TARGETS, at=in_future())
    draft = await idle.create(*TARGETS)
    assert await new_dispatcher(idle).dispatch() == 2
    assert [await statuses(idle, group) for group in (due, later, draft)] == [
        ["pending"] * 2,
        ["scheduled"] * 2,
        ["draft"] * 2,
    ]
    payloads = await looking.execute(idle, "SELECT payload FROM pgqueuer ORDER BY id")
    assert [bytes(row["payload"]).decode() for row in payloads] == await looking.post_ids(idle, due)


async def test_dispatch_when_repeated_then_nothing_is_taken_twice(idle):
    await idle.connect(*TARGETS)
    await idle.create(*TARGETS, at=now())
    assert [await new_dispatcher(idle).dispatch() for _ in range(2)] == [2, 0]
    assert await looking.queued_jobs(idle) == 2


async def test_dispatch_when_taken_then_the_group_counts_as_processing_and_is_logged_once(idle):
    await idle.connect(*TARGETS)
    group = await idle.create(*TARGETS, at=now())
    await new_dispatcher(idle).dispatch()
    [row] = await looking.execute(idle, "SELECT status, processing_status, due_at FROM post_groups")
    assert tuple(row) == ("scheduled", "processing", None)
    assert [event for event, _ in await looking.events(idle, group)].count("processing") == 1


async def test_dispatch_when_somebody_holds_a_group_then_the_others_are_taken_without_waiting(idle):
    await idle.connect(*TARGETS)
    held = await idle.create("twitter-1", at=now())
    free = await idle.create("mastodon-2", at=now())
    async with idle.database.transaction() as connection:
        await connection.execute("SELECT FROM post_groups WHERE id = $1 FOR UPDATE", held)
        assert await new_dispatcher(idle).dispatch() == 1
        assert await statuses(idle, free) == ["pending"]
    assert await new_dispatcher(idle).dispatch() == 1


async def test_dispatch_when_retried_then_only_the_failed_posts_are_taken(system):
    await system.connect(*TARGETS)
    await system.fault("twitter-1", "reject")
    group = await system.create(*TARGETS, at=now())
    await system.ended(group)
    await system.call("POST", f"/retry-post/{group}")
    await system.ended(group)
    posts = [log["platform"] for log in await system.logs(group) if log["event"] == "publish_attempted"]
    assert sorted(posts) == ["mastodon", "twitter", "twitter"]


async def test_dispatchers_when_several_run_at_once_then_each_post_gets_one_job(idle):
    await idle.connect(*TARGETS)
    await asyncio.gather(*(idle.create(*TARGETS, content=f"Post {number}", at=now()) for number in range(60)))

    async def take_all():
        taken = 0
        while one_batch := await new_dispatcher(idle).dispatch():
            taken += one_batch
        return taken

    assert sum(await asyncio.gather(*(take_all() for _ in range(4)))) == 120
    assert await looking.queued_jobs(idle) == 120


async def test_dispatcher_when_asleep_then_a_post_due_at_once_wakes_it(idle):
    await idle.connect(*TARGETS)
    async with running(idle):
        for number in range(3):
            group = await idle.create(*TARGETS, content=f"Post {number}", at=now())
            await dispatched(idle, group, within=POLL_INTERVAL.total_seconds() / 2)


async def test_dispatcher_when_a_time_is_moved_to_an_earlier_one_then_it_is_woken_for_it(idle):
    await idle.connect(*TARGETS)
    group = await idle.create(*TARGETS, at=in_future(hours=1))
    async with running(idle):
        await idle.call("PUT", f"/update-post/{group}", json={"scheduledTime": now()})
        await dispatched(idle, group, within=POLL_INTERVAL.total_seconds() / 2)


async def test_dispatcher_when_due_later_then_it_goes_to_sleep_until_then_and_not_before(idle):
    await idle.connect(*TARGETS)
    due = looking.moment(in_future(seconds=0.8))
    group = await idle.create(*TARGETS, at=due.isoformat())
    async with running(idle):
        rows = await dispatched(idle, group, within=3)
    assert all(timedelta(0) <= row["updated_at"] - due for row in rows)


async def test_dispatcher_when_its_listener_is_cut_then_it_listens_again(idle):
    await idle.connect(*TARGETS)
    async with running(idle):
        await dispatched(idle, await idle.create(*TARGETS, content="Before", at=now()), within=2)
        for number in range(2):
            await looking.execute(
                idle,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE 'LISTEN %'",
            )
            group = await idle.create(*TARGETS, content=f"After {number}", at=now())
            await dispatched(idle, group, within=POLL_INTERVAL.total_seconds() / 2)


async def test_dispatcher_when_the_database_refuses_a_statement_then_it_goes_on_once_it_does_not(idle):
    await idle.connect(*TARGETS)
    async with running(idle):
        # A failure that has nothing to do with the connection, as a full disk or a lock that is not given would be.
        await looking.execute(idle, "ALTER TABLE pgqueuer ADD CONSTRAINT closed CHECK (false) NOT VALID")
        group = await idle.create(*TARGETS, at=now())
        a_while = looking.moment(in_future(seconds=0.5))
        await eventually(lambda: is_past(a_while))
        assert await statuses(idle, group) == ["scheduled"] * 2
        await looking.execute(idle, "ALTER TABLE pgqueuer DROP CONSTRAINT closed")
        await dispatched(idle, group, within=3)


async def is_past(moment):
    return looking.moment(now()) >= moment


async def test_dispatcher_when_stopped_then_it_ends(idle):
    async with running(idle) as dispatcher:
        dispatcher.stop()
