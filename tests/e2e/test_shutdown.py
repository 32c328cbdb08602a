"""SIGTERM: a worker finishes what is in hand, and others go on with the rest."""

import asyncio

import pytest

from tests.eventually import eventually
from tests.factories import now
from tests.publishing import looking

pytestmark = pytest.mark.anyio

TARGETS = ("twitter-1", "linkedin-L2", "bluesky-did:plc:b3", "mastodon-4")
EACH = 5


async def count(system, condition):
    rows = await looking.execute(system, f"SELECT count(*) AS n FROM platform_posts WHERE {condition}")
    return rows[0]["n"]


async def create_queues(system):
    """Give every connection several posts, each of which takes a while."""
    await system.connect(*TARGETS)
    for target in TARGETS:
        await system.fault(target, "slow", delay=0.3, times=EACH)
    return await asyncio.gather(
        *(system.create(target, content=f"{target} {number}", at=now()) for number in range(EACH) for target in TARGETS)
    )


async def test_worker_when_terminated_then_exit_code_0_nothing_in_hand_and_the_next_one_goes_on(outside):
    system = outside.system
    first = await outside.start_worker()
    groups = await create_queues(system)

    async def under_way():
        return await count(system, "status = 'published'") > 0 and await count(system, "status = 'processing'") > 0

    await eventually(under_way)
    assert await outside.stop(first) == 0
    assert await count(system, "status = 'processing' OR intent IS NOT NULL OR lease_id IS NOT NULL") == 0
    left = await count(system, "status = 'pending'")
    assert left > 0
    second = await outside.start_worker()
    for group in groups:
        assert [entry["status"] for entry in await system.ended(group)] == ["published"]
    assert await outside.stop(second) == 0
    for target in TARGETS:
        posts = await system.posted(target)
        assert sorted(post["text"] for post in posts) == [f"{target} {number}" for number in range(EACH)]
    attempted = await looking.execute(system, "SELECT count(*) AS n FROM post_logs WHERE event = 'publish_attempted'")
    assert attempted[0]["n"] == EACH * len(TARGETS)


async def test_workers_when_in_two_processes_then_each_of_hundreds_is_published_once(outside):
    system = outside.system
    targets = [
        (f"twitter-{n}", f"linkedin-L{n}", f"bluesky-did:plc:b{n}", f"mastodon-{n}")[n % 4] for n in range(1, 31)
    ]
    each = 10
    await system.connect(*targets)
    await asyncio.gather(outside.start_worker(), outside.start_worker())
    await asyncio.gather(
        *(system.create(target, content=f"{target} {number}", at=now()) for number in range(each) for target in targets)
    )

    async def all_out():
        return await count(system, "status = 'published'") == each * len(targets)

    await eventually(all_out, within=30)
    for target in targets:
        texts = [post["text"] for post in await system.posted(target)]
        assert sorted(texts) == sorted(f"{target} {number}" for number in range(each))
