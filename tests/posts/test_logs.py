"""post-logs over HTTP: rows P1 and P2, the shape of lines and their order."""

import pytest

from tests.factories import in_future, make_account, make_key
from tests.web.support import MALFORMED_IDS, NO_GROUP, UNKNOWN_ID, broken, refused, run_sql

pytestmark = pytest.mark.anyio

ALWAYS = {"_id", "postGroupId", "event", "createdAt", "updatedAt"}


async def logs(api, group_id, **options):
    return await api.call("GET", f"/post-logs/{group_id}", **options)


async def test_p1_when_the_id_is_malformed_or_unknown_or_foreign_then_404(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    for group_id in (*MALFORMED_IDS, UNKNOWN_ID):
        refused(await logs(api, group_id), 404, NO_GROUP)
    stranger = await make_key(api.database, await make_account(api.database, email="stranger@example.org"))
    refused(await logs(api, group, key=stranger), 404, NO_GROUP)


async def test_p2_when_it_fails_unexpectedly_then_500(api):
    async with broken(api.database, "post_logs"):
        refused(await logs(api, UNKNOWN_ID), 500, "Failed to get post logs")


async def test_logs_when_a_draft_then_an_empty_list(api):
    await api.connect("twitter-1")
    answer = await logs(api, await api.create("twitter-1"))
    assert (answer.status, answer.body) == (200, {"success": True, "logs": []})


async def test_logs_when_scheduled_then_the_line_has_exactly_these_fields(api):
    await api.connect("twitter-1")
    at = in_future()
    group = await api.create("twitter-1", at=at)
    [entry] = await api.entries(group)
    answer = await logs(api, group.upper())
    [line] = answer.body["logs"]
    assert line == {
        "_id": line["_id"],
        "postGroupId": group,
        "event": "scheduled",
        "postId": entry["_id"],
        "platform": "twitter",
        "metadata": {"scheduledTime": at},
        "createdAt": line["createdAt"],
        "updatedAt": line["createdAt"],
    }
    assert len(line["_id"]) == 24
    assert line["createdAt"].endswith("Z")
    assert answer.body.keys() == {"success", "logs"}


async def test_logs_when_the_whole_group_is_meant_then_post_and_platform_are_absent(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    await api.call("PUT", f"/update-post/{group}", json={"status": "draft"})
    line = (await logs(api, group)).body["logs"][-1]
    assert line.keys() == ALWAYS | {"metadata"}


async def test_logs_when_many_then_the_first_hundred_oldest_first_and_ties_in_order_of_writing(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1")
    query = """
        INSERT INTO post_logs (group_id, event, metadata, created_at)
        SELECT $1, 'processing', jsonb_build_object('n', n), timestamptz '2026-01-01Z' + n / 10 * interval '1 s'
        FROM generate_series(0, 119) AS n
    """
    await run_sql(api.database, query, group)
    await run_sql(
        api.database,
        "INSERT INTO post_logs (group_id, event, created_at) VALUES ($1, 'scheduled', '2025-01-01Z')",
        group,
    )
    lines = (await logs(api, group)).body["logs"]
    assert len(lines) == 100
    assert lines[0]["event"] == "scheduled"
    assert [line["metadata"]["n"] for line in lines[1:]] == list(range(99))
    assert len({line["_id"] for line in lines}) == 100


async def test_logs_when_published_then_the_whole_story_in_order(system):
    await system.connect("twitter-1")
    group = await system.create("twitter-1", at=in_future(seconds=-1))
    await system.ended(group)
    lines = (await logs(system, group)).body["logs"]
    assert [line["event"] for line in lines] == [
        "scheduled",
        "processing",
        "processing",
        "publish_attempted",
        "publish_succeeded",
        "status_changed",
    ]
    assert "postId" not in lines[1]
    assert lines[2]["postId"] == lines[0]["postId"]
    assert lines[3].keys() == ALWAYS | {"postId", "platform"}
    assert lines[4].keys() == ALWAYS | {"postId", "platform"}
    assert lines[5]["metadata"] == {"from": "scheduled", "to": "published"}
    assert [line["createdAt"] for line in lines] == sorted(line["createdAt"] for line in lines)


async def test_logs_when_attempts_fail_then_error_status_and_count_stand_on_them(system):
    await system.connect("twitter-1")
    await system.fault("twitter-1", "server_error", times=1)
    group = await system.create("twitter-1", at=in_future(seconds=-1))
    await system.ended(group)
    lines = (await logs(system, group)).body["logs"]
    attempts = [line for line in lines if line["event"] == "publish_attempted"]
    assert ["retryCount" in line for line in attempts] == [False, True]
    assert attempts[1]["retryCount"] == 1
    [failure] = [line for line in lines if line["event"] == "publish_failed"]
    assert failure.keys() == ALWAYS | {"postId", "platform", "error", "httpStatus", "metadata"}
    assert failure["httpStatus"] in (500, 503)
    assert failure["metadata"] == {"errorCode": "PLATFORM_SERVER_ERROR", "retryable": True}


async def test_logs_when_it_fails_before_the_call_then_the_findings_stand_in_metadata(system):
    await system.connect("linkedin-L")
    group = await system.create("linkedin-L", content="x" * 6000, at=in_future(seconds=-1))
    [entry] = await system.ended(group)
    [failure] = [line for line in (await logs(system, group)).body["logs"] if line["event"] == "publish_failed"]
    assert failure["error"] == entry["error"]["message"]
    assert failure["metadata"]["errorCode"] == "PLATFORM_VALIDATION_ERROR"
    assert failure["metadata"]["retryable"] is False
    assert [item["code"] for item in failure["metadata"]["validation"]] == ["CONTENT_TOO_LONG"]
    assert "httpStatus" not in failure
