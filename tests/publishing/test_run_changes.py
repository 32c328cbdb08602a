"""Changing one's mind: updates and deletes before, at and after the moment of dispatch, and what a client sees."""

import asyncio
import itertools

import pytest

from tests.eventually import eventually
from tests.factories import FOUR, in_future, now
from tests.publishing import looking

pytestmark = pytest.mark.anyio

WAITING = {"draft", "scheduled", "pending", "processing"}


async def change(system, group, **body):
    return await system.call("PUT", f"/update-post/{group}", json=body)


async def delete(system, group):
    return await system.call("DELETE", f"/delete-post/{group}")


async def barrier(system):
    """Return once the worker has published something that was created after everything else."""
    await system.connect("mastodon-99999")
    await system.ended(await system.create("mastodon-99999", content=now(), at=now()))


async def test_delete_when_right_before_its_time_then_it_does_not_go_out(system):
    await system.connect("twitter-1")
    group = await system.create("twitter-1", at=in_future(seconds=0.4))
    assert (await delete(system, group)).status == 200
    later = await system.create("twitter-1", content="Later", at=in_future(seconds=0.4))
    await system.ended(later)
    assert [post["text"] for post in await system.posted("twitter-1")] == ["Later"]


async def test_draft_when_right_before_its_time_then_it_does_not_go_out(system):
    await system.connect("twitter-1")
    group = await system.create("twitter-1", at=in_future(seconds=0.4))
    assert (await change(system, group, status="draft")).status == 200
    later = await system.create("twitter-1", content="Later", at=in_future(seconds=0.4))
    await system.ended(later)
    assert [post["text"] for post in await system.posted("twitter-1")] == ["Later"]
    assert await system.status(group) == "draft"


async def test_reschedule_when_to_an_earlier_time_then_it_goes_out_then(system):
    await system.connect("twitter-1")
    group = await system.create("twitter-1", at=in_future())
    assert (await change(system, group, scheduledTime=in_future(seconds=0.3))).status == 200
    assert [entry["status"] for entry in await system.ended(group)] == ["published"]


async def test_reschedule_when_to_a_later_time_then_it_does_not_go_out_at_the_old_one(system):
    await system.connect("twitter-1")
    group = await system.create("twitter-1", at=in_future(seconds=0.4))
    assert (await change(system, group, scheduledTime=in_future())).status == 200
    await system.ended(await system.create("twitter-1", content="Later", at=in_future(seconds=0.4)))
    assert [post["text"] for post in await system.posted("twitter-1")] == ["Later"]
    assert await system.status(group) == "scheduled"


async def test_update_when_many_race_with_dispatch_then_what_was_promised_is_kept(system):
    await system.connect("twitter-1", "mastodon-2")
    groups = [
        await system.create("twitter-1", "mastodon-2", content=f"Race {number}", at=in_future(seconds=0.5))
        for number in range(30)
    ]

    async def redraft(group):
        answer = await change(system, group, status="draft")
        if answer.status == 200:
            assert {entry["status"] for entry in await system.entries(group)} == {"draft"}
        return answer.status == 200

    async def at_its_time(number, group):
        """Change one's mind at times around the one at which all are due."""
        due = looking.moment(in_future(seconds=0.02 * number))

        async def is_past():
            return looking.moment(now()) >= due

        await eventually(is_past)
        return await redraft(group)

    drafted = await asyncio.gather(*(at_its_time(number, group) for number, group in enumerate(groups)))
    await asyncio.gather(*(system.ended(group) for group, kept in zip(groups, drafted, strict=True) if not kept))
    await barrier(system)
    sent = {f"Race {number}" for number, kept in enumerate(drafted) if not kept}
    for platform_id in ("twitter-1", "mastodon-2"):
        assert {post["text"] for post in await system.posted(platform_id)} == sent


@pytest.mark.parametrize("body", [{"status": "draft"}, {"status": "scheduled"}, {"scheduledTime": in_future(days=1)}])
async def test_update_when_being_processed_then_refused_as_u6(system, body):
    await system.connect("twitter-1")
    await system.fault("twitter-1", "slow", delay=0.6)
    group = await system.create("twitter-1", at=now())
    await looking.until_posts(system, group, lambda row: row["status"] == "processing")
    answer = await change(system, group, **body)
    assert (answer.status, answer.body) == (
        400,
        {"error": "Cannot update post: post is currently in processing status"},
    )
    assert [entry["status"] for entry in await system.ended(group)] == ["published"]


@pytest.mark.parametrize("kind", ["slow", "slow_after_accept"])
async def test_delete_when_being_sent_then_gone_at_once_and_the_connection_goes_on(system, kind):
    await system.connect("mastodon-2")
    await system.fault("mastodon-2", kind, delay=0.6)
    group = await system.create("mastodon-2", content="Deleted", at=now())
    await looking.until_posts(system, group, lambda row: row["intent"] is not None)
    waiting = await system.create("mastodon-2", content="Waiting", at=now())
    await looking.until_posts(system, waiting, lambda row: row["status"] == "pending")
    assert (await delete(system, group)).status == 200
    assert (await system.call("GET", f"/get-post/{group}")).status == 404
    assert [entry["status"] for entry in await system.ended(waiting, within=4)] == ["published"]
    assert (await delete(system, group)).status == 404
    assert [post["text"] for post in await system.posted("mastodon-2")] == ["Deleted", "Waiting"]


async def test_delete_when_the_public_call_has_not_begun_then_nothing_is_sent_and_the_connection_goes_on(system):
    await system.connect("twitter-1")
    # The thread's second part is refused by its lease: the post is gone when it wants to write its intent.
    await system.fault("twitter-1", "slow", delay=0.6)
    group = await system.create("twitter-1", content="One\n---\nTwo", at=now())
    await looking.until_posts(system, group, lambda row: row["intent"] is not None)
    waiting = await system.create("twitter-1", content="Waiting", at=now())
    await looking.until_posts(system, waiting, lambda row: row["status"] == "pending")
    await delete(system, group)
    assert [entry["status"] for entry in await system.ended(waiting, within=4)] == ["published"]
    assert [post["text"] for post in await system.posted("twitter-1")] == ["One (1/2)", "Waiting"]


async def test_delete_when_waiting_for_another_attempt_then_it_is_not_made(system):
    await system.connect("mastodon-2")
    await system.fault("mastodon-2", "reset_before_accept")
    group = await system.create("mastodon-2", at=now())
    await looking.until_posts(system, group, lambda row: row["failures"] == 1)
    await delete(system, group)
    await system.ended(await system.create("mastodon-2", content="Later", at=in_future(seconds=2)))
    assert [post["text"] for post in await system.posted("mastodon-2")] == ["Later"]


async def test_delete_when_many_race_with_publishing_then_no_answer_is_an_error_and_nothing_hangs(system):
    targets = [f"mastodon-{number}" for number in range(1, 5)]
    await system.connect(*targets)
    groups = [
        await system.create(*targets, content=f"Race {number}", at=in_future(seconds=0.3)) for number in range(40)
    ]

    async def hunt(group):
        """Delete the group as soon as one of its posts moves."""
        while True:
            entries = await system.entries(group)
            if {entry["status"] for entry in entries} != {"scheduled"}:
                return (await delete(system, group)).status

    hunted = await asyncio.gather(*(hunt(group) for group in groups[::2]))
    assert hunted == [200] * 20
    for group in groups[1::2]:
        assert [entry["status"] for entry in await system.ended(group)] == ["published"] * 4
    for platform_id in targets:
        texts = [post["text"] for post in await system.posted(platform_id)]
        assert len(texts) == len(set(texts))


async def test_client_when_it_polls_while_publishing_then_group_and_entries_never_contradict_each_other(system):
    await system.connect(*FOUR)
    for platform_id, kind in zip(FOUR, ("slow", "server_error", "reset_after_accept", "reject"), strict=True):
        await system.fault(platform_id, kind, **({"delay": 0.3} if kind == "slow" else {}))
    group = await system.create(*FOUR, content="Watched", at=in_future(seconds=0.2))
    seen: list[list[str]] = []
    while True:
        [listed] = (await system.call("GET", "/list-posts")).body["posts"]
        of_list = [target["status"] for target in listed["platforms"]]
        entries = await system.entries(group)
        statuses = [entry["status"] for entry in entries]
        assert (listed["status"] == "scheduled") == bool(WAITING & set(of_list)), listed
        for entry in entries:
            assert ("postedId" in entry) == (entry["status"] == "published"), entry
            assert ("error" in entry) == (entry["status"] == "failed"), entry
        if not seen or seen[-1] != statuses:
            seen.append(statuses)
        if not WAITING & set(of_list):
            break
    assert listed["status"] == "partially_published"
    assert statuses == ["published", "published", "published", "failed"]
    # What has ended stays as it ended.
    for before, after in itertools.pairwise(seen):
        assert all(old == new for old, new in zip(before, after, strict=True) if old in ("published", "failed"))


async def test_charges_when_deleted_before_the_first_attempt_then_given_back_and_not_after(system):
    async def used():
        rows = await looking.execute(system, "SELECT coalesce(sum(used), 0) AS used FROM usage_counters")
        return rows[0]["used"]

    await system.connect("mastodon-2")
    waiting = await system.create("mastodon-2", at=in_future())
    sent = await system.create("mastodon-2", content="Sent", at=now())
    await system.ended(sent)
    assert await used() == 2
    await delete(system, waiting)
    await delete(system, sent)
    assert await used() == 1
