"""A platform post's life as the API shows it: states, entries, log and connection."""

import asyncio

import pytest

from postpost.posts.rules import TRANSITIONS
from tests.factories import FOUR, in_future, now
from tests.publishing import looking
from tests.publishing.looking import events
from tests.publishing.watching import noted_steps

pytestmark = pytest.mark.anyio


async def change(system, group, **body):
    return await system.call("PUT", f"/update-post/{group}", json=body)


async def retry(system, group, **body):
    answer = await system.call("POST", f"/retry-post/{group}", json=body)
    assert answer.status == 200, answer
    return answer.body


async def test_life_when_every_road_is_taken_then_the_table_of_transitions_holds_and_nothing_else(system):
    await system.connect("twitter-1", "mastodon-2")
    going_back = await system.create("twitter-1", content="There and back", at=in_future())
    await change(system, going_back, status="draft")
    await change(system, going_back, status="scheduled", scheduledTime=now())
    await system.fault("mastodon-2", "rate_limited", retryAfter=0)
    await system.fault("mastodon-2", "reject")
    failing = await system.create("mastodon-2", content="Second time lucky", at=now())
    await asyncio.gather(system.ended(going_back), system.ended(failing))
    await retry(system, failing)
    assert [entry["status"] for entry in await system.ended(failing)] == ["published"]
    assert await noted_steps(system.database) == {
        (before, after) for before, following in TRANSITIONS.items() for after in following
    }


async def test_entries_when_published_then_they_carry_the_posted_id_and_no_error(system):
    await system.connect(*FOUR)
    group = await system.create(*FOUR, content="Hello world", at=now())
    entries = await system.ended(group)
    for entry, platform_id in zip(entries, FOUR, strict=True):
        [posted] = await system.posted(platform_id)
        platform, _, account = platform_id.partition("-")
        assert entry == {
            "_id": entry["_id"],
            "platform": platform,
            "platformId": account,
            "content": "Hello world",
            "status": "published",
            "postedId": posted["id"],
        }
    assert await system.status(group) == "published"


async def test_entries_when_scheduled_or_draft_then_they_have_neither_posted_id_nor_error(system):
    await system.connect("twitter-1")
    for at, status in ((None, "draft"), (in_future(), "scheduled")):
        [entry] = await system.entries(await system.create("twitter-1", at=at))
        assert entry == {
            "_id": entry["_id"],
            "platform": "twitter",
            "platformId": "1",
            "content": "Hello",
            "status": status,
        }


async def test_entries_when_being_sent_then_processing_and_the_group_scheduled(system):
    await system.connect("twitter-1", "mastodon-2")
    await system.fault("twitter-1", "slow", delay=0.7)
    group = await system.create("twitter-1", "mastodon-2", at=now())
    await looking.until_posts(system, group, lambda row: row["status"] in ("processing", "published"))
    first = (await system.entries(group))[0]
    assert (first["status"], "postedId" in first, "error" in first) == ("processing", False, False)
    assert await system.status(group) == "scheduled"
    await system.ended(group)


async def test_entries_when_waiting_for_the_next_attempt_then_pending_without_error(system):
    await system.connect("twitter-1")
    await system.fault("twitter-1", "reset_before_accept")
    group = await system.create("twitter-1", at=now())
    await looking.until_posts(system, group, lambda row: row["status"] == "pending" and row["failures"] == 1)
    [entry] = await system.entries(group)
    assert (entry["status"], "error" in entry) == ("pending", False)


@pytest.mark.parametrize(("rejected", "status"), [((), "published"), ((0,), "partially_published"), ((0, 1), "failed")])
async def test_group_when_some_entries_fail_then_its_status_is_rolled_up(system, rejected, status):
    targets = ("twitter-1", "mastodon-2")
    await system.connect(*targets)
    for index in rejected:
        await system.fault(targets[index], "reject")
    group = await system.create(*targets, at=now())
    entries = await system.ended(group)
    assert [entry["status"] == "failed" for entry in entries] == [index in rejected for index in range(2)]
    assert await system.status(group) == status


async def test_logs_when_published_at_once_then_one_line_for_each_stage(system):
    await system.connect("twitter-1")
    at = in_future(seconds=0.3)
    group = await system.create("twitter-1", at=at)
    [entry] = await system.ended(group)
    assert await events(system, group) == [
        ("scheduled", {"metadata": {"scheduledTime": at}}),
        ("processing", {}),
        ("processing", {}),
        ("publish_attempted", {}),
        ("publish_succeeded", {}),
        ("status_changed", {"metadata": {"from": "scheduled", "to": "published"}}),
    ]
    logs = await system.logs(group)
    of_the_group = [log["event"] for log in logs if "postId" not in log]
    assert of_the_group == ["processing", "status_changed"]
    assert {(log["postId"], log["platform"]) for log in logs if "postId" in log} == {(entry["_id"], "twitter")}
    assert all(log["postGroupId"] == group and log["createdAt"] == log["updatedAt"] for log in logs)
    assert len({log["_id"] for log in logs}) == len(logs)


async def test_logs_when_rejected_then_the_failure_says_what_the_platform_said(system):
    await system.connect("mastodon-2")
    await system.fault("mastodon-2", "reject")
    group = await system.create("mastodon-2", at=now())
    [entry] = await system.ended(group)
    assert (await events(system, group))[3:] == [
        ("publish_attempted", {}),
        (
            "publish_failed",
            {
                "error": entry["error"]["message"],
                "httpStatus": 422,
                "metadata": {"errorCode": "INVALID_CONTENT", "retryable": False},
            },
        ),
        ("status_changed", {"metadata": {"from": "scheduled", "to": "failed"}}),
    ]


async def test_logs_when_attempts_fail_then_each_has_its_two_lines_and_its_retry_count(system):
    await system.connect("mastodon-2")
    await system.fault("mastodon-2", "server_error", times=2)
    group = await system.create("mastodon-2", at=now())
    [entry] = await system.ended(group)
    failed = {
        "error": entry["error"]["message"],
        "httpStatus": 503,
        "metadata": {"errorCode": "PLATFORM_SERVER_ERROR", "retryable": True},
    }
    assert (await events(system, group))[3:] == [
        ("publish_attempted", {}),
        ("publish_failed", failed),
        ("publish_attempted", {"retryCount": 1}),
        ("publish_failed", {"retryCount": 1, **failed}),
        ("status_changed", {"metadata": {"from": "scheduled", "to": "failed"}}),
    ]


async def test_logs_when_found_wrong_before_the_call_then_no_attempt_and_the_items(system):
    await system.connect("bluesky-did:plc:abc")
    group = await system.create("bluesky-did:plc:abc", content="x" * 301, at=now())
    [entry] = await system.ended(group)
    [failure, _] = (await events(system, group))[3:]
    items = failure[1]["metadata"].pop("validation")
    assert failure == (
        "publish_failed",
        {
            "error": entry["error"]["message"],
            "metadata": {"errorCode": "PLATFORM_VALIDATION_ERROR", "retryable": False},
        },
    )
    assert [(item["code"], item["currentValue"], item["maxValue"]) for item in items] == [
        ("CONTENT_TOO_LONG", 301, 300)
    ]


async def test_logs_when_rescheduled_and_redrafted_then_each_change_is_noted(idle):
    await idle.connect("twitter-1")
    first, second = in_future(hours=1), in_future(hours=2)
    group = await idle.create("twitter-1", at=first)
    await change(idle, group, scheduledTime=second)
    await change(idle, group, status="draft")
    assert await events(idle, group) == [
        ("scheduled", {"metadata": {"scheduledTime": first}}),
        ("scheduled", {"metadata": {"scheduledTime": second}}),
        ("status_changed", {"metadata": {"from": "scheduled", "to": "draft"}}),
    ]


async def test_retry_when_one_of_two_failed_then_only_that_one_is_sent_again(system):
    await system.connect("twitter-1", "mastodon-2")
    await system.fault("twitter-1", "reject")
    group = await system.create("twitter-1", "mastodon-2", at=now())
    before = await system.ended(group)
    answer = await retry(system, group)
    after = await system.ended(group)
    assert answer == {"success": True, "postGroupId": group, "retried": ["twitter-1"]}
    assert [entry["status"] for entry in after] == ["published", "published"]
    assert after[1] == before[1]
    assert [entry["_id"] for entry in after] == [entry["_id"] for entry in before]
    assert [len(await system.posted(one)) for one in ("twitter-1", "mastodon-2")] == [1, 1]
    changes = [said["metadata"] for event, said in await events(system, group) if event == "status_changed"]
    assert changes == [
        {"from": "scheduled", "to": "partially_published"},
        {"from": "partially_published", "to": "scheduled"},
        {"from": "scheduled", "to": "published"},
    ]


async def test_retry_when_queued_then_the_failed_entry_is_scheduled_without_error(idle):
    await idle.connect("twitter-1")
    group = await idle.create("twitter-1", at=now())
    error = {"code": "INVALID_CONTENT", "message": "No", "platformStatusCode": 400, "platformError": "No"}
    error |= {"failedAt": now(), "retryable": False}
    [post] = await looking.rows(idle, group)
    async with idle.database.transaction() as connection:
        await connection.execute(
            "UPDATE platform_posts SET status = 'failed', error = $2 WHERE id = $1", post["id"], error
        )
        await connection.execute(
            "UPDATE post_groups SET status = 'failed', processing_status = 'finished', due_at = NULL WHERE id = $1",
            group,
        )
    await retry(idle, group)
    [entry] = await idle.entries(group)
    assert (entry["status"], "error" in entry) == ("scheduled", False)
    assert await idle.status(group) == "scheduled"
    # The test itself went from scheduled to failed in one leap.
    await looking.execute(idle, "DELETE FROM noted_steps WHERE after = 'failed'")


async def test_connection_when_a_post_succeeds_then_it_remembers_when_and_no_error(system):
    await system.connect("twitter-1")
    before = await looking.connection_of(system, "twitter-1")
    assert (before["lastSuccessfulPost"], before["lastError"]) == (None, None)
    start = looking.moment(now())
    await system.ended(await system.create("twitter-1", at=now()))
    after = await looking.connection_of(system, "twitter-1")
    assert looking.moment(after["lastSuccessfulPost"]) >= start
    assert after["lastError"] is None


async def test_connection_when_a_post_fails_then_last_error_until_the_next_success(system):
    await system.connect("twitter-1")
    await system.fault("twitter-1", "reject")
    [entry] = await system.ended(await system.create("twitter-1", content="One", at=now()))
    failed = await looking.connection_of(system, "twitter-1")
    assert failed["lastError"]["message"] == entry["error"]["message"]
    assert looking.moment(failed["lastError"]["occurredAt"]) >= looking.moment(entry["error"]["failedAt"])
    assert failed["lastSuccessfulPost"] is None
    await system.ended(await system.create("twitter-1", content="Two", at=now()))
    assert (await looking.connection_of(system, "twitter-1"))["lastError"] is None


async def test_connection_when_another_attempt_is_due_then_last_error_is_not_set_yet(system):
    await system.connect("twitter-1")
    await system.fault("twitter-1", "reset_before_accept")
    group = await system.create("twitter-1", at=now())
    await looking.until_posts(system, group, lambda row: row["failures"] == 1)
    assert (await looking.connection_of(system, "twitter-1"))["lastError"] is None
