"""retry-post over HTTP: rows R1 to R3, its limits, and what is queued again."""

import asyncio

import pytest

from tests.factories import in_future, make_account, make_key
from tests.web.support import (
    MALFORMED_IDS,
    NO_GROUP,
    STARTER_WITH_API,
    UNKNOWN_ID,
    broken,
    fail,
    limit_body,
    put_on,
    refused,
    run_sql,
    set_group,
    unchanged,
    use,
    used,
)

pytestmark = pytest.mark.anyio

NOTHING = "Post group has no failed posts to retry"


async def retry(api, group_id, **options):
    return await api.call("POST", f"/retry-post/{group_id}", **options)


async def test_r1_when_the_id_is_malformed_or_unknown_or_foreign_then_404(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    await fail(api.database, group, twitter_1="RATE_LIMITED")
    stranger = await make_key(api.database, await make_account(api.database, email="stranger@example.org"))
    async with unchanged(api.database):
        for group_id in (*MALFORMED_IDS, UNKNOWN_ID):
            refused(await retry(api, group_id), 404, NO_GROUP)
        refused(await retry(api, group, key=stranger), 404, NO_GROUP)


async def test_r2_when_the_group_is_not_failed_then_409(api):
    await api.connect("twitter-1")
    draft, scheduled = await api.create("twitter-1"), await api.create("twitter-1", at=in_future())
    published = await api.create("twitter-1", at=in_future())
    await fail(api.database, published)
    await set_group(api.database, published, "published", processing="finished")
    async with unchanged(api.database):
        for group in (draft, scheduled, published):
            refused(await retry(api, group), 409, NOTHING)


async def test_r2_when_one_has_failed_and_another_is_being_sent_then_409(api):
    await api.connect("twitter-1", "bluesky-b")
    group = await api.create("twitter-1", "bluesky-b", at=in_future())
    await fail(api.database, group, twitter_1="RATE_LIMITED")
    await set_group(api.database, group, "scheduled", processing="processing")
    async with unchanged(api.database):
        refused(await retry(api, group), 409, NOTHING)


async def test_r2_when_only_unknown_outcomes_failed_and_the_body_does_not_ask_then_409(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    await fail(api.database, group, twitter_1="PUBLISH_OUTCOME_UNKNOWN")
    async with unchanged(api.database):
        refused(await retry(api, group), 409, NOTHING)
        for value in (False, 1, "true", None, [True]):
            refused(await retry(api, group, json={"includeUnknownOutcome": value}), 409, NOTHING)


async def test_r2_when_retried_twice_then_409(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    await fail(api.database, group, twitter_1="RATE_LIMITED")
    answers = await asyncio.gather(*(retry(api, group) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]


async def test_r3_when_it_fails_unexpectedly_then_500_and_nothing_is_queued(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    await fail(api.database, group, twitter_1="RATE_LIMITED")
    async with unchanged(api.database), broken(api.database, "post_logs"):
        refused(await retry(api, group), 500, "Failed to retry post")


async def test_retry_when_the_plan_lacks_the_platform_then_403(api):
    await api.connect("twitter-1", "bluesky-b")
    group = await api.create("twitter-1", "bluesky-b", at=in_future())
    await fail(api.database, group, twitter_1="RATE_LIMITED", bluesky_b="RATE_LIMITED")
    await put_on(api, STARTER_WITH_API)
    async with unchanged(api.database):
        answer = await retry(api, group)
    assert (answer.status, answer.body["code"]) == (403, "PLATFORM_NOT_AVAILABLE")
    assert answer.body["disallowedPlatforms"] == ["twitter"]


async def test_retry_when_the_lacking_platform_is_published_already_then_only_the_failed_ones_count(api):
    await api.connect("twitter-1", "bluesky-b")
    group = await api.create("twitter-1", "bluesky-b", at=in_future())
    await fail(api.database, group, bluesky_b="RATE_LIMITED")
    await put_on(api, STARTER_WITH_API)
    assert (await retry(api, group)).status == 200


async def test_retry_when_too_many_are_connected_then_403(api):
    await api.connect(*(f"bluesky-{n}" for n in range(4)))
    group = await api.create("bluesky-1", at=in_future())
    await fail(api.database, group, bluesky_1="RATE_LIMITED")
    await put_on(api, STARTER_WITH_API)
    async with unchanged(api.database):
        answer = await retry(api, group)
    message = "Account over channel limit. Your Starter plan allows 3 connected channels and 4 are connected."
    more = {"limit": 3, "used": 4, "requested": 0, "remaining": 0, "planName": "Starter", "scope": "account"}
    assert (answer.status, answer.body) == (
        403,
        limit_body(
            "CONNECTIONS_OVER_LIMIT",
            "Account over channel limit",
            message,
            "connections.total",
            **more,
            overLimitBy=1,
        ),
    )


async def test_retry_when_the_month_is_used_up_then_allowed_and_nothing_is_counted(api):
    await api.connect("bluesky-b")
    group = await api.create("bluesky-b", at=in_future())
    await fail(api.database, group, bluesky_b="RATE_LIMITED")
    await put_on(api, STARTER_WITH_API)
    await use(api.database, api.account_id, "bluesky-b", 15)
    assert (await retry(api, group)).status == 200
    assert await used(api.database, api.account_id) == {"bluesky-b": 15}


async def test_retry_when_some_failed_then_those_are_queued_in_group_order_and_the_others_untouched(api):
    names = ("bluesky-b", "twitter-1", "linkedin-L")
    await api.connect(*names)
    group = await api.create(*names, at=in_future())
    await fail(api.database, group, twitter_1="INVALID_CONTENT", bluesky_b="RATE_LIMITED")
    before = await api.entries(group)
    answer = await retry(api, group.upper())
    assert (answer.status, answer.body) == (
        200,
        {"success": True, "postGroupId": group, "retried": ["bluesky-b", "twitter-1"]},
    )
    after = await api.entries(group)
    assert [entry["_id"] for entry in after] == [entry["_id"] for entry in before]
    assert [(entry["status"], "error" in entry) for entry in after] == [
        ("scheduled", False),
        ("scheduled", False),
        ("published", False),
    ]
    assert await api.status(group) == "scheduled"
    last = (await api.logs(group))[-1]
    assert (last["event"], last["metadata"]) == (
        "status_changed",
        {"from": "partially_published", "to": "scheduled"},
    )


async def test_retry_when_unknown_outcomes_are_asked_for_then_they_are_queued_too(api):
    await api.connect("bluesky-b", "twitter-1")
    group = await api.create("bluesky-b", "twitter-1", at=in_future())
    await fail(api.database, group, twitter_1="PUBLISH_OUTCOME_UNKNOWN", bluesky_b="RATE_LIMITED")
    answer = await retry(api, group, json={"includeUnknownOutcome": True})
    assert answer.body["retried"] == ["bluesky-b", "twitter-1"]


async def test_retry_when_unknown_outcomes_are_not_asked_for_then_they_stay_failed(api):
    await api.connect("bluesky-b", "twitter-1")
    group = await api.create("bluesky-b", "twitter-1", at=in_future())
    await fail(api.database, group, twitter_1="PUBLISH_OUTCOME_UNKNOWN", bluesky_b="RATE_LIMITED")
    assert (await retry(api, group)).body["retried"] == ["bluesky-b"]
    assert [entry["status"] for entry in await api.entries(group)] == ["scheduled", "failed"]


async def test_retry_when_parts_are_out_already_then_only_the_failed_parts_are_queued(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    await fail(api.database, group, twitter_1="RATE_LIMITED")
    parts = [
        {"id": "a" * 24, "content": "1", "status": "published", "postedId": "7"},
        {"id": "b" * 24, "content": "2", "status": "failed", "error": {"code": "RATE_LIMITED"}},
    ]
    await run_sql(api.database, "UPDATE platform_posts SET parts = $1", parts)
    assert (await retry(api, group)).status == 200
    entries = await api.entries(group)
    assert [(entry["status"], entry.get("postedId"), "error" in entry) for entry in entries] == [
        ("published", "7", False),
        ("scheduled", None, False),
    ]


async def test_retry_when_the_body_is_empty_then_it_is_read_as_an_object(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    await fail(api.database, group, twitter_1="RATE_LIMITED")
    answer = await retry(api, group, data=b"", headers={"Content-Type": "text/plain"})
    assert answer.status == 200, answer


async def test_retry_when_the_post_failed_for_real_then_it_is_published(system):
    await system.connect("twitter-1", "mastodon-4")
    await system.fault("twitter-1", "reject")
    group = await system.create("twitter-1", "mastodon-4", at=in_future(seconds=-1))
    assert [entry["status"] for entry in await system.ended(group)] == ["failed", "published"]
    assert await system.status(group) == "partially_published"
    assert (await retry(system, group)).body["retried"] == ["twitter-1"]

    entries = await system.ended(group)
    assert [entry["status"] for entry in entries] == ["published", "published"]
    assert await system.status(group) == "published"
    assert len(await system.posted("mastodon-4")) == 1
    assert await used(system.database, system.account_id) == {"twitter-1": 1, "mastodon-4": 1}
