"""delete-post over HTTP: rows D1 and D2, and what goes with a group."""

import asyncio
import io

import pytest

from tests.factories import in_future, make_account, make_key
from tests.web.support import (
    MALFORMED_IDS,
    NO_GROUP,
    UNKNOWN_ID,
    broken,
    fail,
    refused,
    run_sql,
    set_group,
    set_post,
    unchanged,
    used,
)

pytestmark = pytest.mark.anyio


async def delete(api, group_id, **options):
    return await api.call("DELETE", f"/delete-post/{group_id}", **options)


async def test_d1_when_the_id_is_malformed_or_unknown_or_foreign_then_404(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    stranger = await make_key(api.database, await make_account(api.database, email="stranger@example.org"))
    async with unchanged(api.database):
        for group_id in (*MALFORMED_IDS, UNKNOWN_ID):
            refused(await delete(api, group_id), 404, NO_GROUP)
        refused(await delete(api, group, key=stranger), 404, NO_GROUP)


async def test_d1_when_deleted_a_second_time_then_404(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1")
    assert (await delete(api, group)).status == 200
    refused(await delete(api, group), 404, NO_GROUP)


async def test_d2_when_it_fails_unexpectedly_then_500_and_nothing_is_deleted(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    for table in ("usage_counters", "platform_posts"):
        async with unchanged(api.database), broken(api.database, table):
            refused(await delete(api, group), 500, "Failed to delete post group")


async def test_delete_when_done_then_exactly_success_and_posts_and_log_are_gone(api):
    await api.connect("twitter-1", "bluesky-b")
    group = await api.create("twitter-1", "bluesky-b", at=in_future())
    answer = await delete(api, group.upper())
    assert (answer.status, answer.body) == (200, {"success": True})
    for table in ("post_groups", "platform_posts", "post_logs"):
        assert await run_sql(api.database, f"SELECT FROM {table}") == []


async def test_delete_when_not_begun_then_the_charge_is_given_back(api):
    await api.connect("twitter-1", "bluesky-b")
    await api.create("twitter-1", at=in_future())
    group = await api.create("twitter-1", "bluesky-b", at=in_future())
    await set_post(api.database, group, "bluesky-b", "pending", begun=False)
    assert await used(api.database, api.account_id) == {"twitter-1": 2, "bluesky-b": 1}
    assert (await delete(api, group)).status == 200
    assert await used(api.database, api.account_id) == {"twitter-1": 1}


async def test_delete_when_an_attempt_has_begun_then_that_charge_stays(api):
    await api.connect("twitter-1", "bluesky-b")
    group = await api.create("twitter-1", "bluesky-b", at=in_future())
    await set_post(api.database, group, "bluesky-b", "processing", begun=True)
    await delete(api, group)
    assert await used(api.database, api.account_id) == {"bluesky-b": 1}


async def test_delete_when_a_draft_then_nothing_is_given_back(api):
    await api.connect("twitter-1")
    await api.create("twitter-1", at=in_future())
    await delete(api, await api.create("twitter-1"))
    assert await used(api.database, api.account_id) == {"twitter-1": 1}


async def test_delete_when_charged_last_month_then_this_month_is_not_touched(api):
    await api.connect("twitter-1")
    old = await api.create("twitter-1", at=in_future())
    await run_sql(api.database, "UPDATE platform_posts SET charged_period = charged_period - interval '1 month'")
    await api.create("twitter-1", at=in_future())
    await delete(api, old)
    assert await used(api.database, api.account_id) == {"twitter-1": 2}


async def test_delete_when_the_group_has_any_status_then_allowed(api):
    await api.connect("twitter-1")
    for status, processing in (
        ("published", "finished"),
        ("failed", "finished"),
        ("partially_published", "finished"),
        ("scheduled", "processing"),
    ):
        group = await api.create("twitter-1", at=in_future())
        await set_group(api.database, group, status, processing=processing)
        assert (await delete(api, group)).status == 200


async def test_delete_when_under_retry_then_the_charge_stays(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    await fail(api.database, group, twitter_1="RATE_LIMITED")
    await api.call("POST", f"/retry-post/{group}")
    await delete(api, group)
    assert await used(api.database, api.account_id) == {"twitter-1": 1}


async def test_delete_when_a_body_is_sent_then_it_is_ignored_whatever_it_is(api):
    await api.connect("twitter-1")
    for data, kind in ((b"{", "application/json"), (b"\xff" * 10, "text/plain"), (b"x" * 2_000_000, "image/png")):
        group = await api.create("twitter-1")
        answer = await delete(api, group, data=io.BytesIO(data), headers={"Content-Type": kind})
        assert answer.status == 200, answer


async def test_delete_when_eight_delete_at_once_then_one_succeeds(api):
    await api.connect("twitter-1")
    await api.create("twitter-1", at=in_future())
    group = await api.create("twitter-1", at=in_future())
    answers = await asyncio.gather(*(delete(api, group) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [200] + [404] * 7
    assert await used(api.database, api.account_id) == {"twitter-1": 1}


async def test_delete_when_many_accounts_are_charged_and_given_back_at_once_then_no_deadlock(api):
    names = [f"twitter-{n}" for n in range(12)]
    await api.connect(*names)
    groups = [await api.create(*names[shift:], *names[:shift], at=in_future()) for shift in range(12)]
    works = [delete(api, group) for group in groups]
    works += [
        api.call(
            "POST",
            "/create-post",
            json={"content": "x", "platforms": names[shift:] + names[:shift], "scheduledTime": in_future()},
        )
        for shift in range(12)
    ]
    works[::2], works[1::2] = works[:12], works[12:]
    answers = await asyncio.gather(*works)
    assert {answer.status for answer in answers} == {200}
    assert await used(api.database, api.account_id) == dict.fromkeys(names, 12)


async def test_delete_when_scheduled_then_it_is_never_sent(system):
    await system.connect("twitter-1")
    doomed = await system.create("twitter-1", content="doomed", at=in_future(seconds=1))
    await delete(system, doomed)
    after = await system.create("twitter-1", content="after", at=in_future(seconds=1.2))
    await system.ended(after)
    assert [post["text"] for post in await system.posted("twitter-1")] == ["after"]
