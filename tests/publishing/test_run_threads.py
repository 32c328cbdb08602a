"""Threads: parts in order, broken in the middle, taken up again (threading.md 7 and 8)."""

import pytest

from tests.eventually import eventually
from tests.factories import now
from tests.publishing import looking
from tests.publishing.looking import events

pytestmark = pytest.mark.anyio

X = "twitter-101"
THREE = "One\n---\nTwo\n---\nThree"
PARTS = ["One (1/3)", "Two (2/3)", "Three (3/3)"]


async def break_at(system, part, kind, **more):
    """Let part `part` (from 1) meet a fault; the parts before it are merely slow."""
    for _ in range(part - 1):
        await system.fault(X, "slow", delay=0.01)
    await system.fault(X, kind, **more)


async def online(system):
    """Return the parts that X has, in order, each with the text of the part it answers."""
    posts = await system.posted(X)
    texts = {post["id"]: post["text"] for post in posts}
    return [(post["text"], texts.get(post["replyTo"])) for post in posts]


COMPLETE = [(PARTS[0], None), (PARTS[1], PARTS[0]), (PARTS[2], PARTS[1])]


async def test_thread_when_published_then_each_part_answers_the_one_before(system):
    await system.connect(X)
    group = await system.create(X, content=THREE, at=now())
    entries = await system.ended(group)
    assert await online(system) == COMPLETE
    assert [(entry["content"], entry["status"], entry["postedId"]) for entry in entries] == [
        (post["text"], "published", post["id"]) for post in await system.posted(X)
    ]
    assert {(entry["platform"], entry["platformId"]) for entry in entries} == {("twitter", "101")}
    assert await system.status(group) == "published"


async def test_thread_when_not_begun_then_one_entry_with_the_whole_content_whose_id_part_one_keeps(system):
    await system.connect(X)
    group = await system.create(X, content=THREE)
    [whole] = await system.entries(group)
    assert (whole["content"], whole["status"]) == (THREE, "draft")
    await system.call("PUT", f"/update-post/{group}", json={"status": "scheduled", "scheduledTime": now()})
    parts = await system.ended(group)
    assert (len(parts), parts[0]["_id"]) == (3, whole["_id"])
    assert len({part["_id"] for part in parts}) == 3


async def test_thread_when_it_breaks_in_the_middle_then_the_rest_fails_with_the_same_error(system):
    await system.connect(X)
    await break_at(system, 2, "reject")
    group = await system.create(X, content=THREE, at=now())
    first, second, third = await system.ended(group)
    assert (first["status"], "error" in first) == ("published", False)
    assert (second["status"], second["error"]["code"]) == ("failed", "INVALID_CONTENT")
    assert (third["status"], third["error"]) == ("failed", second["error"])
    assert "postedId" not in second
    assert await online(system) == COMPLETE[:1]
    assert await system.status(group) == "partially_published"


async def test_thread_when_part_one_fails_then_all_fail(system):
    await system.connect(X)
    await system.fault(X, "reject")
    group = await system.create(X, content=THREE, at=now())
    assert {entry["status"] for entry in await system.ended(group)} == {"failed"}
    assert await system.status(group) == "failed"


@pytest.mark.parametrize("part", [1, 2, 3])
async def test_thread_when_retried_after_a_break_then_it_goes_on_after_the_last_published_part(system, part):
    await system.connect(X)
    await break_at(system, part, "reject")
    group = await system.create(X, content=THREE, at=now())
    before = await system.ended(group)
    assert len(await system.posted(X)) == part - 1
    assert (await system.call("POST", f"/retry-post/{group}")).body["retried"] == [X]
    after = await system.ended(group)
    assert await online(system) == COMPLETE
    assert [entry["_id"] for entry in after] == [entry["_id"] for entry in before]
    assert after[: part - 1] == before[: part - 1]
    assert await system.status(group) == "published"


async def test_thread_when_retry_is_queued_then_only_the_failed_parts_are_scheduled(dsn, system):
    await system.connect(X)
    await break_at(system, 2, "reject")
    group = await system.create(X, content=THREE, at=now())
    await system.ended(group)
    # The connection is held, so that the parts stay as the retry left them for a while.
    await looking.execute(system, "UPDATE connections SET held_until = now() + interval '1 hour'")
    await system.call("POST", f"/retry-post/{group}")
    await looking.until_posts(system, group, lambda row: row["status"] == "pending")
    first, second, third = await system.entries(group)
    assert [first["status"], second["status"], third["status"]] == ["published", "pending", "pending"]
    assert "error" not in second | third
    assert await system.status(group) == "scheduled"
    refused = await system.call("PUT", f"/update-post/{group}", json={"status": "draft"})
    assert refused.status == 400


@pytest.mark.parametrize("kind", ["rate_limited", "reset_before_accept", "reset_after_accept"])
async def test_thread_when_a_passing_fault_strikes_the_middle_then_it_goes_on_there_by_itself(system, kind):
    await system.connect(X)
    await break_at(system, 2, kind)
    group = await system.create(X, content=THREE, at=now())
    assert [entry["status"] for entry in await system.ended(group)] == ["published"] * 3
    assert await online(system) == COMPLETE


async def test_thread_when_the_token_expires_in_the_middle_then_it_is_renewed_and_goes_on(system):
    await system.connect(X)
    await system.fault(X, "slow", delay=0.4)
    group = await system.create(X, content=THREE, at=now())
    await looking.until_posts(system, group, lambda row: row["status"] == "processing" and row["intent"] is not None)
    await system.fault(X, "auth_expired")
    assert [entry["status"] for entry in await system.ended(group)] == ["published"] * 3
    assert await online(system) == COMPLETE


async def test_thread_when_a_part_waits_for_its_next_attempt_then_the_entries_say_so(system):
    await system.connect(X)
    await break_at(system, 2, "reset_before_accept")
    group = await system.create(X, content=THREE, at=now())
    await looking.until_posts(system, group, lambda row: row["status"] == "pending" and row["failures"] == 1)
    entries = await system.entries(group)
    assert [entry["status"] for entry in entries] == ["published", "pending", "pending"]
    assert [("postedId" in entry, "error" in entry) for entry in entries] == [
        (True, False),
        (False, False),
        (False, False),
    ]


async def test_thread_when_logged_then_attempts_and_failures_name_the_part(system):
    await system.connect(X)
    await break_at(system, 2, "reject")
    group = await system.create(X, content=THREE, at=now())
    entries = await system.ended(group)
    log = await events(system, group, entries[0]["_id"])
    assert [(event, said.get("metadata")) for event, said in log[2:]] == [
        ("publish_attempted", {"part": 1, "parts": 3}),
        ("publish_attempted", {"part": 2, "parts": 3}),
        ("publish_failed", {"errorCode": "INVALID_CONTENT", "retryable": False, "part": 2, "parts": 3}),
    ]


async def test_thread_when_some_parts_are_out_then_list_posts_shows_the_least_advanced(system):
    await system.connect(X)
    await break_at(system, 2, "slow", delay=0.8)
    group = await system.create(X, content=THREE, at=now())

    async def second_is_sent():
        return [entry["status"] for entry in await system.entries(group)] == ["published", "processing", "pending"]

    await eventually(second_is_sent)
    listed = (await system.call("GET", "/list-posts")).body["posts"]
    assert [target["status"] for target in listed[0]["platforms"]] == ["pending"]
    await system.ended(group)


async def test_reply_chain_platforms_when_the_content_has_separators_then_one_post_as_written(system):
    await system.connect("linkedin-Lin1", "mastodon-404", "bluesky-did:plc:abc")
    group = await system.create("linkedin-Lin1", "mastodon-404", "bluesky-did:plc:abc", content=THREE, at=now())
    assert [(entry["status"], entry["content"]) for entry in await system.ended(group)] == [("published", THREE)] * 3
