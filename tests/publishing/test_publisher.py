"""Leases: who may run a post, what a run writes whose lease was taken over, and posts that nobody runs any more."""

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from postpost import runtime
from postpost.clock import utc_now
from postpost.ids import new_id
from postpost.posts.store import LogEntry
from postpost.publishing import store
from postpost.publishing.dispatcher import Dispatcher
from postpost.publishing.publisher import Publisher
from postpost.publishing.steps import LeaseLostError
from postpost.publishing.store import Claim, Ending, StepWrite
from postpost.publishing.timing import Timing
from tests.eventually import eventually
from tests.factories import in_future, now
from tests.publishing import looking
from tests.publishing.odd_platform import open_odd_platform

pytestmark = pytest.mark.anyio

LEASE = timedelta(seconds=30)
TIMING = Timing(timedelta(seconds=10), 5, timedelta(seconds=1), timedelta(days=1))


def new_publisher(system):
    services = system.services
    return Publisher(services.database, TIMING, services.outside.account, services.metrics)


async def dispatch(system, *targets, **more):
    """Create a group that is due, dispatch it and return the ids of its posts; their jobs are thrown away."""
    group = await system.create(*targets, at=now(), **more)
    await Dispatcher(system.database, system.services.metrics).dispatch()
    await looking.execute(system, "DELETE FROM pgqueuer")
    return group, await looking.post_ids(system, group)


@asynccontextmanager
async def working(system):
    """Run a worker beside the test."""
    parts = runtime.Parts([], [])
    worker = runtime.start_worker(parts, system.services)
    try:
        yield
    finally:
        worker.stop()
        await asyncio.gather(*parts.running)


async def connection_id(system, platform_id):
    [row] = await looking.execute(system, "SELECT id FROM connections WHERE platform_id = $1", platform_id)
    return row["id"]


async def claim(system, post_id, *, at=None, connection=None):
    """Take a post as a worker whose clock shows `at` would; returns its lease, None when it could not be taken."""
    at = at or utc_now()
    async with system.database.transaction() as database_connection:
        held = await store.lock_connections_of_posts(database_connection, [post_id], at)
        connection = connection or next((row["connection_id"] for row in held), None)
        rows = await store.claim_posts(database_connection, [Claim(post_id, new_id(), connection)], at, at + LEASE)
    return rows[0]["lease_id"] if rows else None


async def end(system, *endings):
    async with system.database.transaction() as connection:
        await store.lock_for_endings(connection, endings)
        return await store.write_endings(connection, endings, utc_now())


def ending(post_id, lease_id, group_id, connection, **changes):
    fields = {"status": "published", "posted_id": "7", **changes}
    return Ending(post_id, lease_id, group_id, "twitter", connection_id=connection, **fields)


async def later(system):
    """Return a time at which every lease of this test is over."""
    return utc_now() + LEASE + timedelta(seconds=1)


async def test_claim_when_a_post_is_held_then_nobody_else_gets_it_until_the_lease_is_over(idle):
    await idle.connect("twitter-1")
    _, [post] = await dispatch(idle, "twitter-1")
    first = await claim(idle, post)
    assert first is not None
    assert await claim(idle, post) is None
    assert await claim(idle, post, at=await later(idle)) not in (None, first)


@pytest.mark.parametrize("status", ["draft", "scheduled", "published", "failed"])
async def test_claim_when_the_post_is_not_taken_up_or_has_ended_then_a_stale_job_finds_nothing(idle, status):
    await idle.connect("twitter-1")
    group = await idle.create("twitter-1", at=in_future())
    [post] = await looking.post_ids(idle, group)
    async with idle.database.transaction() as connection:
        await connection.execute("UPDATE platform_posts SET status = $1", status)
        assert await store.claim_posts(connection, [Claim(post, new_id(), None)], utc_now(), utc_now()) == []
        await connection.execute("UPDATE platform_posts SET status = 'scheduled'")
    await looking.execute(idle, "DELETE FROM noted_steps")


async def test_step_when_the_lease_was_taken_over_then_nothing_is_written(idle):
    await idle.connect("twitter-1")
    group, [post] = await dispatch(idle, "twitter-1")
    late = await claim(idle, post)
    present = await claim(idle, post, at=await later(idle))
    with pytest.raises(LeaseLostError):
        await new_publisher(idle).write(
            StepWrite(
                post,
                late,
                None,
                steps={"upload": 1},
                intent={"part": 0},
                attempted=True,
                log=LogEntry(group, "publish_attempted", post_id=post, platform="twitter"),
            )
        )
    [row] = await looking.rows(idle, group)
    assert (row["lease_id"], row["steps"], row["intent"], row["tries"]) == (present, {}, None, 0)
    assert "publish_attempted" not in [event for event, _ in await looking.events(idle, group)]


async def test_step_when_the_late_and_the_present_run_share_a_batch_then_only_the_present_one_writes(idle):
    await idle.connect("twitter-1", "mastodon-2")
    group, [post, _] = await dispatch(idle, "twitter-1", "mastodon-2")
    late = await claim(idle, post)
    present = await claim(idle, post, at=await later(idle))
    publisher = new_publisher(idle)

    def write(lease):
        log = LogEntry(group, "publish_attempted", post_id=post, platform="twitter")
        return publisher.write(StepWrite(post, lease, None, steps={lease: True}, log=log, attempted=True))

    # The first keeps the batcher busy, so that the two that matter are flushed together.
    outcomes = await asyncio.gather(write("nobody"), write(late), write(present), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LeaseLostError, LeaseLostError, type(None)]
    row = (await looking.rows(idle, group))[0]
    assert (row["steps"], row["tries"]) == ({present: True}, 1)
    assert [event for event, _ in await looking.events(idle, group)].count("publish_attempted") == 1


async def test_steps_when_several_threads_write_in_one_batch_then_each_keeps_its_own_parts(idle):
    await idle.connect("twitter-1", "twitter-2", "twitter-3")
    group, posts = await dispatch(idle, "twitter-1", "twitter-2", "twitter-3")
    leases = [await claim(idle, post) for post in posts]
    parts = [
        None,
        [{"id": "a", "status": "pending"}, {"id": "b", "status": "pending"}],
        [{"id": "c", "status": "pending"}],
    ]
    writes = [StepWrite(post, lease, None, parts=own) for post, lease, own in zip(posts, leases, parts, strict=True)]
    async with idle.database.connection() as connection:
        assert await store.write_steps(connection, writes, utc_now(), utc_now(), utc_now()) == set(leases)
    assert [row["parts"] for row in await looking.rows(idle, group)] == parts
    endings = [
        ending(post, lease, group, None, status="pending", parts=own)
        for post, lease, own in zip(posts, leases, parts[::-1], strict=True)
    ]
    await end(idle, *endings)
    assert [row["parts"] for row in await looking.rows(idle, group)] == [parts[2], parts[1], parts[2]]


async def test_ending_when_the_lease_was_taken_over_then_nothing_is_written(idle):
    await idle.connect("twitter-1")
    group, [post] = await dispatch(idle, "twitter-1")
    own = await connection_id(idle, "twitter-1")
    late = await claim(idle, post, connection=own)
    present = await claim(idle, post, at=await later(idle), connection=own)
    assert await end(idle, ending(post, late, group, own)) == set()
    [row] = await looking.rows(idle, group)
    assert (row["status"], row["lease_id"], row["posted_id"]) == ("processing", present, None)
    [connection] = await looking.execute(idle, "SELECT busy_lease, last_successful_post_at FROM connections")
    assert tuple(connection) == (present, None)


async def test_ending_when_the_late_and_the_present_run_share_a_batch_then_the_present_one_decides(idle):
    await idle.connect("twitter-1")
    group, [post] = await dispatch(idle, "twitter-1")
    own = await connection_id(idle, "twitter-1")
    late = await claim(idle, post, connection=own)
    present = await claim(idle, post, at=await later(idle), connection=own)
    stored = await end(
        idle,
        ending(post, late, group, own, posted_id="late"),
        ending(post, present, group, own, status="pending", posted_id=None, not_before=await later(idle)),
    )
    [row] = await looking.rows(idle, group)
    assert (stored, row["status"], row["posted_id"], row["lease_id"]) == ({present}, "pending", None, None)


async def test_ending_when_the_post_was_deleted_then_its_connection_is_given_back(idle):
    await idle.connect("twitter-1")
    group, [post] = await dispatch(idle, "twitter-1")
    own = await connection_id(idle, "twitter-1")
    lease = await claim(idle, post, connection=own)
    await idle.call("DELETE", f"/delete-post/{group}")
    assert await end(idle, ending(post, lease, group, own)) == set()
    [connection] = await looking.execute(idle, "SELECT busy_lease, busy_until FROM connections")
    assert tuple(connection) == (None, None)


async def test_publish_when_a_stale_job_comes_beside_a_real_one_then_the_real_one_is_not_lost(idle):
    """Once a post that may not run yet took its connection out of the batch from under a waiting one."""
    await idle.connect("twitter-1")
    _, [waiting_for_its_time] = await dispatch(idle, "twitter-1", content="One")
    _, [ready] = await dispatch(idle, "twitter-1", content="Two")
    await looking.execute(
        idle, "UPDATE platform_posts SET not_before = now() + interval '1 hour' WHERE id = $1", waiting_for_its_time
    )
    async with idle.database.transaction() as connection:
        at = utc_now()
        held = await store.lock_connections_of_posts(connection, [waiting_for_its_time, ready], at)
    assert {row["post_id"]: row["can_run"] for row in held} == {waiting_for_its_time: False, ready: True}
    await looking.enqueue(idle, waiting_for_its_time, ready)

    async def second_is_out():
        return [post["text"] for post in await idle.posted("twitter-1")] == ["Two"]

    async with working(idle):
        await eventually(second_is_out, within=5)


async def test_sweep_when_a_job_was_lost_then_its_post_is_found_and_published(idle):
    await idle.connect("twitter-1")
    group, _ = await dispatch(idle, "twitter-1")
    await looking.execute(idle, "UPDATE platform_posts SET updated_at = now() - interval '1 minute'")
    async with working(idle):
        assert [entry["status"] for entry in await idle.ended(group)] == ["published"]


async def test_sweep_when_a_run_died_then_its_post_is_found_after_its_lease_and_not_before(idle):
    await idle.connect("twitter-1")
    _, [post] = await dispatch(idle, "twitter-1")
    await claim(idle, post, connection=await connection_id(idle, "twitter-1"))
    publisher = new_publisher(idle)
    assert await publisher.sweep(timedelta(0)) == 0
    await looking.execute(idle, "UPDATE platform_posts SET lease_until = now() - interval '1 second'")
    await looking.execute(idle, "UPDATE connections SET busy_until = now() - interval '1 second'")
    assert await publisher.sweep(timedelta(0)) == 1


async def die(system, post_id, connection, **columns):
    """Leave a post as a run does that was killed a while ago."""
    await claim(system, post_id, connection=connection)
    await looking.execute(
        system,
        "UPDATE platform_posts SET lease_until = now() - interval '1 second', intent = $2, failures = $3 WHERE id = $1",
        post_id,
        columns.get("intent"),
        columns.get("failures", 0),
    )
    await looking.execute(system, "UPDATE connections SET busy_until = now() - interval '1 second'")


async def test_run_when_the_one_before_died_without_an_intent_then_the_post_is_sent(idle):
    await idle.connect("mastodon-2")
    group, [post] = await dispatch(idle, "mastodon-2")
    await die(idle, post, await connection_id(idle, "mastodon-2"))
    async with working(idle):
        assert [entry["status"] for entry in await idle.ended(group)] == ["published"]


@pytest.mark.parametrize(("failures", "status"), [(0, "published"), (4, "failed")])
async def test_run_when_attempts_die_again_and_again_then_they_are_counted(idle, failures, status):
    await idle.connect("mastodon-2")
    group, [post] = await dispatch(idle, "mastodon-2")
    intent = {"part": 0, "key": {"text": "Hello", "parent": None}, "beganAt": "2026-01-01T00:00:00+00:00", "asked": 0}
    await die(idle, post, await connection_id(idle, "mastodon-2"), intent=intent, failures=failures)
    async with working(idle):
        [entry] = await idle.ended(group)
    assert entry["status"] == status
    assert len(await idle.posted("mastodon-2")) == (status == "published")
    if status == "failed":
        assert (entry["error"]["code"], entry["error"]["retryable"]) == ("TIMEOUT_ERROR", True)


async def test_run_when_the_rules_changed_since_its_call_died_then_the_post_is_still_asked_about(idle):
    """It must neither be refused by today's rules nor be forgotten: it may be live."""
    content = "x" * 600
    live = {"id": "9", "created_at": now(), "in_reply_to_id": None, "content": content}
    async with open_odd_platform(idle, listing=[live]) as odd:
        group, [post] = await dispatch(idle, "mastodon-7", content=content)
        intent = {
            "part": 0,
            "key": {"text": content, "parent": None},
            "beganAt": "2026-01-01T00:00:00+00:00",
            "asked": 0,
        }
        await die(idle, post, await connection_id(idle, "mastodon-7"), intent=intent)
        async with working(idle):
            [entry] = await idle.ended(group)
        assert (entry["status"], entry.get("postedId"), odd.attempts) == ("published", "9", 0)


async def test_sweep_when_it_finds_a_post_again_then_no_second_job(idle):
    await idle.connect("twitter-1")
    await dispatch(idle, "twitter-1")
    await looking.execute(idle, "UPDATE platform_posts SET updated_at = now() - interval '1 minute'")
    publisher = new_publisher(idle)
    for _ in range(3):
        await publisher.sweep(timedelta(seconds=10))
    assert await looking.queued_jobs(idle) == 1


@pytest.mark.parametrize(
    "holds",
    [
        "UPDATE platform_posts SET not_before = now() + interval '1 minute'",
        "UPDATE connections SET held_until = now() + interval '1 minute'",
        "UPDATE connections SET busy_until = now() + interval '1 minute'",
        "UPDATE platform_posts SET updated_at = now()",
    ],
)
async def test_sweep_when_something_holds_a_post_back_then_it_is_left_alone(idle, holds):
    await idle.connect("twitter-1")
    await dispatch(idle, "twitter-1")
    await looking.execute(idle, "UPDATE platform_posts SET updated_at = now() - interval '1 minute'")
    await looking.execute(idle, holds)
    assert await new_publisher(idle).sweep(timedelta(seconds=10)) == 0


async def test_depth_when_posts_are_taken_up_then_they_are_counted_until_they_end(idle):
    await idle.connect("twitter-1", "mastodon-2")
    await idle.create("twitter-1", at=in_future())
    await dispatch(idle, "twitter-1", "mastodon-2")
    assert await new_publisher(idle).depth() == 2


async def test_claim_when_a_post_was_abandoned_then_that_counts_as_a_failure(idle):
    await idle.connect("twitter-1")
    _, [post] = await dispatch(idle, "twitter-1")
    await claim(idle, post)
    await claim(idle, post, at=await later(idle))
    [row] = await looking.fetch(idle, "SELECT failures FROM platform_posts")
    assert row["failures"] == 1


async def test_claim_when_its_connection_was_not_seen_though_there_is_one_then_the_post_is_left_alone(idle):
    await idle.connect("twitter-1")
    _, [post] = await dispatch(idle, "twitter-1")
    async with idle.database.transaction() as connection:
        rows = await store.claim_posts(connection, [Claim(post, new_id(), None)], utc_now(), utc_now() + LEASE)
    assert rows == []


async def test_ending_when_the_account_was_reconnected_meanwhile_then_its_new_credentials_stay_alive(idle):
    await idle.connect("twitter-1")
    group, [post] = await dispatch(idle, "twitter-1")
    lease = await claim(idle, post)
    [before] = await looking.fetch(idle, "SELECT id, connected_at FROM connections")
    await idle.connect("twitter-1")
    await end(
        idle,
        ending(post, lease, group, before["id"], status="pending", posted_id=None, refused=before["connected_at"]),
    )
    [after] = await looking.fetch(idle, "SELECT refused_at FROM connections")
    assert after["refused_at"] is None


async def test_ending_when_it_holds_a_character_that_no_text_can_then_stored_without_it(idle):
    await idle.connect("twitter-1")
    group, [post] = await dispatch(idle, "twitter-1")
    lease = await claim(idle, post)
    [connection] = await looking.fetch(idle, "SELECT id FROM connections")
    await new_publisher(idle)._store_ending(ending(post, lease, group, connection["id"], posted_id="7\0"))
    assert (await idle.entries(group))[0]["postedId"] == "7"
