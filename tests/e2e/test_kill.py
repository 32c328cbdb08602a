"""kill -9 on a worker, at the worst moments: nothing is lost and nothing goes out twice."""

import asyncio

import pytest

from tests.eventually import eventually
from tests.factories import FOUR, now
from tests.publishing import looking

pytestmark = pytest.mark.anyio

HELD_SECONDS = 30
"""Longer than any worker waits for an answer."""


async def faults_left(system, platform_id):
    platform, _, account = platform_id.partition("-")
    async with system.session.get(f"{system.sandbox_url}/_sandbox/{platform}/{account}/faults") as response:
        return await response.json()


async def in_flight(system, targets):
    """Wait until every target's fault holds a call."""

    async def all_struck():
        return [await faults_left(system, target) for target in targets] == [[]] * len(targets)

    await eventually(all_struck)


async def texts(system, platform_id):
    return [post["text"] for post in await system.posted(platform_id)]


async def attempts(system, group, post_id):
    names = [event for event, _ in await looking.events(system, group, post_id)]
    return names[names.index("publish_attempted") :]


async def test_worker_when_killed_before_the_platforms_accepted_then_each_post_goes_out_once(outside):
    system = outside.system
    await system.connect(*FOUR)
    for target in FOUR:
        await system.fault(target, "timeout", delay=HELD_SECONDS)
    worker = await outside.start_worker()
    group = await system.create(*FOUR, content="Killed before", at=now())
    await in_flight(system, FOUR)
    outside.kill(worker)
    assert [await texts(system, target) for target in FOUR] == [[]] * 4
    assert all(row["intent"] is not None for row in await looking.rows(system, group))
    await outside.start_worker()
    entries = await system.ended(group, within=30)
    assert [entry["status"] for entry in entries] == ["published"] * 4
    assert [await texts(system, target) for target in FOUR] == [["Killed before"]] * 4


async def test_worker_when_killed_after_the_platforms_accepted_then_each_post_is_found_and_not_sent_again(outside):
    system = outside.system
    await system.connect(*FOUR)
    for target in FOUR:
        await system.fault(target, "slow_after_accept", delay=HELD_SECONDS)
    worker = await outside.start_worker()
    group = await system.create(*FOUR, content="Killed after", at=now())
    await in_flight(system, FOUR)
    outside.kill(worker)
    assert [await texts(system, target) for target in FOUR] == [["Killed after"]] * 4
    assert [row["status"] for row in await looking.rows(system, group)] == ["processing"] * 4
    await outside.start_worker()
    entries = await system.ended(group, within=30)
    assert [entry["status"] for entry in entries] == ["published"] * 4
    for target, entry in zip(FOUR, entries, strict=True):
        assert [(post["text"], post["id"]) for post in await system.posted(target)] == [
            ("Killed after", entry["postedId"])
        ]
        # Nobody failed: the first attempt was cut off, and its outcome was found.
        assert await attempts(system, group, entry["_id"]) == ["publish_attempted", "publish_succeeded"]


async def test_worker_when_killed_in_the_middle_of_a_thread_then_it_is_whole_and_no_part_is_there_twice(outside):
    system = outside.system
    await system.connect("twitter-101")
    await system.fault("twitter-101", "slow", delay=0)
    await system.fault("twitter-101", "slow_after_accept", delay=HELD_SECONDS)
    worker = await outside.start_worker()
    group = await system.create("twitter-101", content="One\n---\nTwo\n---\nThree", at=now())
    await in_flight(system, ["twitter-101"])
    outside.kill(worker)
    await outside.start_worker()
    entries = await system.ended(group, within=30)
    assert [entry["status"] for entry in entries] == ["published"] * 3
    posts = await system.posted("twitter-101")
    assert [post["text"] for post in posts] == ["One (1/3)", "Two (2/3)", "Three (3/3)"]
    assert [post["replyTo"] for post in posts] == [None, posts[0]["id"], posts[1]["id"]]


async def test_workers_when_killed_again_and_again_under_load_then_every_post_is_out_once(outside):
    system = outside.system
    targets = [
        (f"twitter-{n}", f"linkedin-L{n}", f"bluesky-did:plc:b{n}", f"mastodon-{n}")[n % 4] for n in range(1, 25)
    ]
    each = 6
    await system.connect(*targets)
    for target in targets:
        await system.fault(target, "slow", delay=0.3, times=each)

    async def published():
        rows = await looking.execute(system, "SELECT count(*) AS n FROM platform_posts WHERE status = 'published'")
        return rows[0]["n"]

    workers = await asyncio.gather(outside.start_worker(), outside.start_worker())
    await asyncio.gather(
        *(system.create(target, content=f"{target} {number}", at=now()) for number in range(each) for target in targets)
    )
    for _ in range(2):
        before = await published()

        async def went_on(before=before):
            return await published() > before

        await eventually(went_on, within=20)
        for worker in workers:
            outside.kill(worker)
        assert await published() < each * len(targets)
        workers = [await outside.start_worker()]

    async def all_ended():
        left = await looking.execute(
            system, "SELECT status, error FROM platform_posts WHERE status NOT IN ('published', 'failed')"
        )
        assert [tuple(row) for row in left] == []
        return True

    await eventually(all_ended, within=60)
    assert await published() == each * len(targets)
    for target in targets:
        assert sorted(await texts(system, target)) == [f"{target} {number}" for number in range(each)]
