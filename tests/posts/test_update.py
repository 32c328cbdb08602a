"""update-post over HTTP: every row of errors.md 3.5, and the table of rest-api.md 3.3."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.factories import in_future, iso, make_account, make_key
from tests.posts.test_create import BAD_TIMES
from tests.system import open_system
from tests.web.support import (
    MALFORMED_IDS,
    NO_GROUP,
    STARTER_WITH_API,
    UNKNOWN_ID,
    ago,
    broken,
    close_to,
    fail,
    put_on,
    refused,
    run_sql,
    set_group,
    set_post,
    unchanged,
    used,
)

pytestmark = pytest.mark.anyio

MESSAGE = "Post updated successfully"


async def put(api, group_id, **body):
    return await api.call("PUT", f"/update-post/{group_id}", json=body)


async def group_row(api, group_id):
    [row] = await run_sql(api.database, "SELECT * FROM post_groups WHERE id = $1", group_id)
    return row


def updated(answer, group_id, status, time=None):
    """Assert that this is exactly the answer to a change."""
    group = {"_id": group_id, "status": status, **({} if time is None else {"scheduledTime": time})}
    assert (answer.status, answer.body) == (200, {"success": True, "message": MESSAGE, "postGroup": group})


async def stale(api, group_id, **past):
    """Let a group's stored time lie in the past."""
    moment = datetime.now(UTC) - timedelta(**past)
    await run_sql(api.database, "UPDATE post_groups SET scheduled_at = $2 WHERE id = $1", group_id, moment)


# Errors


async def test_u1_when_status_and_time_are_absent_or_falsy_then_400(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    falsy = (None, "", 0, False, 0.0)
    bodies = [{}, {"content": "x"}, *({"status": value, "scheduledTime": value} for value in falsy)]
    async with unchanged(api.database):
        for body in bodies:
            refused(await put(api, group, **body), 400, "Either status or scheduledTime must be provided")


async def test_u1_when_the_body_is_empty_then_400(api):
    answer = await api.call("PUT", f"/update-post/{UNKNOWN_ID}")
    refused(answer, 400, "Either status or scheduledTime must be provided")


async def test_u2_when_status_is_another_truthy_value_then_400(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    async with unchanged(api.database):
        for status in ("published", "Draft", "scheduled ", "pending", 1, True, ["draft"], [], {}, {"draft": 1}):
            answer = await put(api, group, status=status, scheduledTime="nonsense")
            refused(answer, 400, "Status must be either 'draft' or 'scheduled'")


async def test_u3_when_the_time_has_another_form_then_400(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1")
    async with unchanged(api.database):
        for time in (*BAD_TIMES, 1, True, [], {}):
            refused(await put(api, group, status="draft", scheduledTime=time), 400, "Invalid scheduled time format")


async def test_u4_when_the_time_is_past_then_400_whatever_the_status(api):
    await api.connect("twitter-1")
    groups = [await api.create("twitter-1"), await api.create("twitter-1", at=in_future())]
    async with unchanged(api.database):
        for group in groups:
            for body in ({}, {"status": "draft"}, {"status": "scheduled"}):
                answer = await put(api, group, scheduledTime=ago(minutes=5, seconds=1), **body)
                refused(answer, 400, "Scheduled time cannot be in the past")


async def test_u4_when_the_stored_time_of_a_draft_is_past_then_400(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future(), status="draft")
    await stale(api, group, minutes=5, seconds=1)
    async with unchanged(api.database):
        refused(await put(api, group, status="scheduled"), 400, "Scheduled time cannot be in the past")


async def test_u4_when_past_means_now_then_a_past_time_is_now(dsn):
    async with open_system(dsn, past_schedule="now") as api:
        await api.connect("twitter-1")
        group = await api.create("twitter-1", at=in_future(), status="draft")
        await stale(api, group, days=3)
        answer = await put(api, group, status="scheduled")
        assert close_to(answer.body["postGroup"]["scheduledTime"], datetime.now(UTC))


async def test_u5_when_the_id_is_malformed_or_unknown_or_foreign_then_404(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    stranger = await make_account(api.database, email="stranger@example.org")
    key = await make_key(api.database, stranger)
    async with unchanged(api.database):
        for group_id in (*MALFORMED_IDS, UNKNOWN_ID):
            refused(await put(api, group_id, status="draft"), 404, NO_GROUP)
        foreign = await api.call("PUT", f"/update-post/{group}", key=key, json={"status": "draft"})
        refused(foreign, 404, NO_GROUP)


async def test_u5_when_the_group_was_deleted_then_404(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1")
    await api.call("DELETE", f"/delete-post/{group}")
    refused(await put(api, group, status="draft"), 404, NO_GROUP)


async def test_u6_when_the_group_has_ended_then_400_naming_its_status(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    for status in ("published", "failed", "partially_published"):
        await set_group(api.database, group, status, processing="finished")
        async with unchanged(api.database):
            for body in ({"status": "draft"}, {"status": "scheduled"}, {"scheduledTime": in_future()}):
                answer = await put(api, group, **body)
                refused(answer, 400, f"Cannot update post: post is currently in {status} status")


async def test_u6_when_the_dispatcher_has_taken_the_group_then_400_processing(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    await set_group(api.database, group, "scheduled", processing="processing")
    async with unchanged(api.database):
        answer = await put(api, group, status="draft")
        refused(answer, 400, "Cannot update post: post is currently in processing status")


async def test_u6_when_under_retry_with_a_published_entry_then_400_partially_published(api):
    await api.connect("twitter-1", "bluesky-b")
    group = await api.create("twitter-1", "bluesky-b", at=in_future())
    await fail(api.database, group, twitter_1="RATE_LIMITED")
    assert (await api.call("POST", f"/retry-post/{group}")).status == 200
    answer = await put(api, group, status="draft")
    refused(answer, 400, "Cannot update post: post is currently in partially_published status")


async def test_u6_when_under_retry_with_a_published_part_then_400_partially_published(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    await fail(api.database, group, twitter_1="RATE_LIMITED")
    parts = [
        {"id": "a" * 24, "content": "1", "status": "published", "postedId": "7"},
        {"id": "b" * 24, "content": "2", "status": "failed", "error": {}},
    ]
    await run_sql(api.database, "UPDATE platform_posts SET parts = $1", parts)
    assert (await api.call("POST", f"/retry-post/{group}")).status == 200
    answer = await put(api, group, status="draft")
    refused(answer, 400, "Cannot update post: post is currently in partially_published status")


async def test_u7_when_it_fails_unexpectedly_then_500_and_nothing_is_changed(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    for table in ("platform_posts", "post_logs", "usage_counters"):
        async with unchanged(api.database), broken(api.database, table):
            refused(await put(api, group, status="draft"), 500, "Failed to update post")


# The table of rest-api.md 3.3


async def test_draft_when_given_a_time_then_it_stays_a_draft_and_stores_it(api):
    await api.connect("twitter-1")
    group, at = await api.create("twitter-1"), in_future(days=3)
    updated(await put(api, group, scheduledTime=at), group, "draft", at)
    assert (await group_row(api, group))["due_at"] is None
    assert await used(api.database, api.account_id) == {}
    assert await api.logs(group) == []


async def test_draft_when_set_to_draft_then_it_keeps_its_time_or_takes_the_new_one(api):
    await api.connect("twitter-1")
    group, at, later = await api.create("twitter-1"), in_future(days=3), in_future(days=4)
    updated(await put(api, group, status="draft"), group, "draft")
    updated(await put(api, group, status="draft", scheduledTime=at), group, "draft", at)
    updated(await put(api, group, status="draft"), group, "draft", at)
    updated(await put(api, group, status="draft", scheduledTime=later), group, "draft", later)
    assert await api.logs(group) == []


async def test_draft_when_scheduled_with_a_time_then_scheduled_charged_and_logged(api):
    await api.connect("twitter-1", "bluesky-b")
    group, at = await api.create("twitter-1", "bluesky-b"), in_future(days=3)
    updated(await put(api, group, status="scheduled", scheduledTime=at), group, "scheduled", at)
    assert {entry["status"] for entry in await api.entries(group)} == {"scheduled"}
    assert await used(api.database, api.account_id) == {"twitter-1": 1, "bluesky-b": 1}
    assert [(log["event"], log.get("platform"), log["metadata"]) for log in await api.logs(group)] == [
        ("scheduled", "twitter", {"scheduledTime": at}),
        ("scheduled", "bluesky", {"scheduledTime": at}),
        ("status_changed", None, {"from": "draft", "to": "scheduled"}),
    ]
    assert iso((await group_row(api, group))["due_at"]) == at


async def test_draft_when_scheduled_without_a_time_then_at_the_stored_one(api):
    await api.connect("twitter-1")
    at = in_future(days=3)
    group = await api.create("twitter-1", at=at, status="draft")
    updated(await put(api, group, status="scheduled"), group, "scheduled", at)


async def test_draft_when_scheduled_and_the_stored_time_is_just_past_then_now(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future(), status="draft")
    await stale(api, group, minutes=4)
    answer = await put(api, group, status="scheduled")
    assert close_to(answer.body["postGroup"]["scheduledTime"], datetime.now(UTC))


async def test_draft_when_scheduled_and_no_time_is_stored_then_now(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1")
    answer = await put(api, group, status="scheduled")
    assert answer.body["postGroup"]["status"] == "scheduled"
    assert close_to(answer.body["postGroup"]["scheduledTime"], datetime.now(UTC))


async def test_scheduled_when_given_a_time_then_rescheduled_logged_and_not_charged_again(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    first, second = in_future(days=3), in_future(days=4)
    updated(await put(api, group, scheduledTime=first), group, "scheduled", first)
    updated(await put(api, group, status="scheduled", scheduledTime=second), group, "scheduled", second)
    assert await used(api.database, api.account_id) == {"twitter-1": 1}
    assert [(log["event"], log["metadata"]["scheduledTime"]) for log in (await api.logs(group))[1:]] == [
        ("scheduled", first),
        ("scheduled", second),
    ]
    assert iso((await group_row(api, group))["due_at"]) == second


async def test_scheduled_when_set_to_scheduled_then_unchanged_and_no_limit_is_looked_at(api):
    await api.connect("twitter-1")
    at = in_future(days=300)
    group = await api.create("twitter-1", at=at)
    await put_on(api, STARTER_WITH_API)
    async with unchanged(api.database):
        updated(await put(api, group, status="scheduled"), group, "scheduled", at)


async def test_scheduled_when_set_to_draft_then_the_time_stays_and_the_charge_is_given_back(api):
    await api.connect("twitter-1", "bluesky-b")
    at = in_future(days=2)
    group = await api.create("twitter-1", "bluesky-b", at=at)
    updated(await put(api, group, status="draft"), group, "draft", at)
    assert await used(api.database, api.account_id) == {}
    assert (await group_row(api, group))["due_at"] is None
    assert {entry["status"] for entry in await api.entries(group)} == {"draft"}
    last = (await api.logs(group))[-1]
    assert (last["event"], last["metadata"]) == ("status_changed", {"from": "scheduled", "to": "draft"})


async def test_scheduled_when_set_to_draft_with_a_time_then_that_is_stored(api):
    await api.connect("twitter-1")
    group, at = await api.create("twitter-1", at=in_future()), in_future(days=9)
    updated(await put(api, group, status="draft", scheduledTime=at), group, "draft", at)


# Everything else


async def test_update_when_other_fields_are_sent_then_they_are_ignored(api):
    await api.connect("twitter-1", "bluesky-b")
    group = await api.create("twitter-1", content="First")
    more = {"content": "Second", "platforms": ["bluesky-b"], "platformSettings": 5}
    updated(await put(api, group, status="draft", **more), group, "draft")
    assert [(entry["platform"], entry["content"]) for entry in await api.entries(group)] == [("twitter", "First")]


async def test_update_when_one_of_the_two_is_falsy_then_it_counts_as_absent(api):
    await api.connect("twitter-1")
    group, at = await api.create("twitter-1"), in_future(days=1)
    updated(await put(api, group, status="draft", scheduledTime=0), group, "draft")
    updated(await put(api, group, status=False, scheduledTime=at), group, "draft", at)


async def test_update_when_the_id_is_in_upper_case_then_answered_in_lower_case(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1")
    updated(await put(api, group.upper(), status="draft"), group, "draft")


async def test_update_when_sent_as_a_form_then_415(api):
    answer = await api.call("PUT", f"/update-post/{UNKNOWN_ID}", data={"status": "draft"})
    refused(answer, 415, "Unsupported media type")


async def test_update_when_paused_and_resumed_often_then_charged_once(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    for _ in range(3):
        assert (await put(api, group, status="draft")).status == 200
        assert (await put(api, group, status="scheduled")).status == 200
    assert await used(api.database, api.account_id) == {"twitter-1": 1}


async def test_update_when_a_retried_post_is_paused_then_its_charge_stays(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    await fail(api.database, group, twitter_1="RATE_LIMITED")
    assert (await api.call("POST", f"/retry-post/{group}")).status == 200
    assert (await put(api, group, status="draft")).status == 200
    assert await used(api.database, api.account_id) == {"twitter-1": 1}
    assert (await put(api, group, status="scheduled", scheduledTime=in_future())).status == 200
    assert await used(api.database, api.account_id) == {"twitter-1": 1}


async def test_update_when_a_failed_post_of_the_group_was_left_out_of_the_retry_then_it_stays_failed(api):
    await api.connect("twitter-1", "bluesky-b")
    group = await api.create("twitter-1", "bluesky-b", at=in_future())
    await fail(api.database, group, twitter_1="RATE_LIMITED", bluesky_b="PUBLISH_OUTCOME_UNKNOWN")
    assert (await api.call("POST", f"/retry-post/{group}")).status == 200
    assert (await put(api, group, status="draft")).status == 200
    assert [entry["status"] for entry in await api.entries(group)] == ["draft", "failed"]


async def test_update_when_an_update_and_a_delete_meet_then_one_of_them_finds_the_other_done(api):
    await api.connect("twitter-1")
    for _ in range(5):
        group = await api.create("twitter-1", at=in_future())
        change, removal = await asyncio.gather(
            put(api, group, status="draft"), api.call("DELETE", f"/delete-post/{group}")
        )
        assert change.status in (200, 404)
        assert removal.status == 200
    assert await used(api.database, api.account_id) == {}


async def test_update_when_two_pause_at_once_then_the_charge_is_given_back_once(api):
    await api.connect("twitter-1")
    await api.create("twitter-1", at=in_future())
    group = await api.create("twitter-1", at=in_future())
    answers = await asyncio.gather(*(put(api, group, status="draft") for _ in range(8)))
    assert {answer.status for answer in answers} == {200}
    assert await used(api.database, api.account_id) == {"twitter-1": 1}


async def test_update_when_two_resume_at_once_then_charged_once(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1")
    answers = await asyncio.gather(*(put(api, group, status="scheduled", scheduledTime=in_future()) for _ in range(8)))
    assert {answer.status for answer in answers} == {200}
    assert await used(api.database, api.account_id) == {"twitter-1": 1}


async def test_update_when_the_group_changes_then_updated_at_moves_and_created_at_stays(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1")
    before = await group_row(api, group)
    await put(api, group, scheduledTime=in_future())
    after = await group_row(api, group)
    assert after["created_at"] == before["created_at"]
    assert after["updated_at"] > before["updated_at"]


async def test_update_when_an_entry_is_waiting_for_another_attempt_then_400_processing(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    await set_group(api.database, group, "scheduled", processing="processing")
    await set_post(api.database, group, "twitter-1", "pending")
    answer = await put(api, group, scheduledTime=in_future())
    refused(answer, 400, "Cannot update post: post is currently in processing status")
