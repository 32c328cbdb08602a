"""What the engine makes of a platform that misbehaves, on each of the platforms of the sandbox."""

import asyncio
from datetime import timedelta

import pytest

from postpost.publishing.timing import MAX_QUESTIONS
from tests.eventually import eventually
from tests.factories import FOUR, now
from tests.publishing import looking
from tests.publishing.looking import events
from tests.publishing.odd_platform import open_odd_platform
from tests.system import open_system

pytestmark = pytest.mark.anyio

NO_REFRESH = ("linkedin-Lin1", "mastodon-404")
"""Platforms whose sandbox tokens cannot be renewed."""

REFRESH = ("twitter-101", "bluesky-did:plc:abc")


async def fault_everywhere(system, kind, *, on=FOUR, **more):
    for platform_id in on:
        await system.fault(platform_id, kind, **more)


async def texts(system, platform_id):
    return [post["text"] for post in await system.posted(platform_id)]


async def published_once_everywhere(system, group, content, *, within=15.0):
    entries = await system.ended(group, within=within)
    assert [(entry["status"], entry.get("error")) for entry in entries] == [("published", None)] * len(entries)
    for entry in entries:
        platform_id = f"{entry['platform']}-{entry['platformId']}"
        assert await texts(system, platform_id) == [content]
        assert [post["id"] for post in await system.posted(platform_id)] == [entry["postedId"]]


async def test_rate_limit_when_short_then_it_is_waited_out_and_uses_no_attempt(open_watched):
    async with open_watched(worker=True, sandbox=True, publish_attempts=1) as system:
        await system.connect(*FOUR)
        await fault_everywhere(system, "rate_limited", retryAfter=1)
        start = looking.moment(now())
        group = await system.create(*FOUR, content="Patience", at=now())
        await published_once_everywhere(system, group, "Patience")
        for platform_id, row in zip(FOUR, await looking.rows(system, group), strict=True):
            [posted] = await system.posted(platform_id)
            assert (looking.moment(posted["createdAt"]) - start).total_seconds() >= 1
            assert row["failures"] == 0
            names = [event for event, _ in await events(system, group, row["id"])]
            assert names.count("publish_attempted") == 2


async def test_rate_limit_when_a_connection_is_held_then_its_other_posts_wait_and_other_connections_do_not(system):
    await system.connect("mastodon-1", "mastodon-2")
    await system.fault("mastodon-1", "rate_limited", retryAfter=2)
    limited = await system.create("mastodon-1", content="Limited", at=now())
    [row] = await looking.until_posts(system, limited, lambda row: row["not_before"] is not None)
    waiting = await system.create("mastodon-1", content="Waiting", at=now())
    free = await system.create("mastodon-2", content="Free", at=now())
    await system.ended(free)
    await looking.until_posts(system, waiting, lambda row: row["status"] == "pending")
    assert await texts(system, "mastodon-1") == []
    await asyncio.gather(system.ended(limited), system.ended(waiting))
    posted = await system.posted("mastodon-1")
    assert sorted(post["text"] for post in posted) == ["Limited", "Waiting"]
    assert all(looking.moment(post["createdAt"]) >= row["not_before"] for post in posted)
    assert len(await events(system, waiting)) == 6  # it was not tried while it waited


async def test_rate_limit_when_longer_than_the_bound_then_it_fails_at_once_and_may_be_retried(open_watched):
    async with open_watched(worker=True, sandbox=True, max_rate_limit_wait_seconds=10) as system:
        await system.connect(*FOUR)
        await fault_everywhere(system, "rate_limited", retryAfter=600)
        group = await system.create(*FOUR, at=now())
        for entry in await system.ended(group):
            error = entry["error"]
            assert (error["code"], error["retryable"], error["platformStatusCode"]) == ("RATE_LIMITED", True, 429)


async def test_rate_limit_when_exactly_the_bound_then_it_is_waited_out(open_watched):
    async with open_watched(worker=True, sandbox=True, max_rate_limit_wait_seconds=1) as system:
        await system.connect("linkedin-Lin1")
        await system.fault("linkedin-Lin1", "rate_limited", retryAfter=1)
        await published_once_everywhere(system, await system.create("linkedin-Lin1", at=now()), "Hello")


async def test_server_error_when_it_passes_then_published_once(system):
    await system.connect(*FOUR)
    await fault_everywhere(system, "server_error")
    await published_once_everywhere(system, await system.create(*FOUR, content="Again", at=now()), "Again")


async def test_server_error_when_it_lasts_longer_than_the_attempts_then_platform_server_error(open_watched):
    # LinkedIn's question about an attempt is the attempt once more, so that it meets the errors meant for the others.
    three = tuple(one for one in FOUR if not one.startswith("linkedin"))
    async with open_watched(worker=True, sandbox=True, publish_attempts=1) as system:
        await system.connect(*three)
        await fault_everywhere(system, "server_error", on=three)
        group = await system.create(*three, at=now())
        for entry in await system.ended(group):
            error = entry["error"]
            assert (error["code"], error["platformStatusCode"]) == ("PLATFORM_SERVER_ERROR", 503)
            assert error["retryable"]
            assert error["platformError"]
        assert [await system.posted(one) for one in three] == [[], [], []]


async def test_timeout_when_it_passes_then_published_once(system):
    await system.connect(*FOUR)
    await fault_everywhere(system, "timeout")
    await published_once_everywhere(system, await system.create(*FOUR, content="Again", at=now()), "Again")


async def test_timeout_when_it_lasts_longer_than_the_attempts_then_timeout_error(system):
    await system.connect("mastodon-404", "bluesky-did:plc:abc")
    await fault_everywhere(system, "timeout", on=("mastodon-404", "bluesky-did:plc:abc"), times=2)
    group = await system.create("mastodon-404", "bluesky-did:plc:abc", at=now())
    for entry in await system.ended(group):
        error = entry["error"]
        assert (error["code"], error["platformStatusCode"], error["platformError"], error["retryable"]) == (
            "TIMEOUT_ERROR",
            None,
            None,
            True,
        )


async def test_reset_before_accept_when_it_passes_then_published_once(system):
    await system.connect(*FOUR)
    await fault_everywhere(system, "reset_before_accept")
    await published_once_everywhere(system, await system.create(*FOUR, content="Again", at=now()), "Again")


async def test_reset_after_accept_when_asked_then_found_and_not_sent_twice(system):
    await system.connect(*FOUR)
    await fault_everywhere(system, "reset_after_accept")
    group = await system.create(*FOUR, content="Once", at=now())
    await published_once_everywhere(system, group, "Once")
    for row in await looking.rows(system, group):
        names = [event for event, _ in await events(system, group, row["id"])]
        assert names == ["scheduled", "processing", "publish_attempted", "publish_failed", "publish_succeeded"]


async def test_slow_when_within_the_time_out_then_published_at_the_first_attempt(system):
    await system.connect(*FOUR)
    await fault_everywhere(system, "slow", delay=0.5)
    group = await system.create(*FOUR, content="Slow", at=now())
    await published_once_everywhere(system, group, "Slow")
    assert [row["failures"] for row in await looking.rows(system, group)] == [0] * 4


@pytest.mark.parametrize("kind", ["slow", "slow_after_accept"])
async def test_slow_when_beyond_the_time_out_then_published_once(system, kind):
    await system.connect(*FOUR)
    await fault_everywhere(system, kind, delay=1.8)
    group = await system.create(*FOUR, content="Very slow", at=now())
    await published_once_everywhere(system, group, "Very slow")


async def test_auth_expired_when_the_token_can_be_renewed_then_published_without_an_attempt_used(open_watched):
    async with open_watched(worker=True, sandbox=True, publish_attempts=1) as system:
        await system.connect(*REFRESH)
        await system.ended(await system.create(*REFRESH, content="First", at=now()))
        await fault_everywhere(system, "auth_expired", on=REFRESH)
        group = await system.create(*REFRESH, content="Second", at=now())
        assert [entry["status"] for entry in await system.ended(group)] == ["published", "published"]
        for platform_id in REFRESH:
            assert await texts(system, platform_id) == ["First", "Second"]
            assert (await looking.connection_of(system, platform_id))["tokenStatus"] != "expired"


async def test_auth_expired_when_it_cannot_be_renewed_then_the_connection_is_dead_and_nothing_more_is_called(system):
    await system.connect(*NO_REFRESH)
    await fault_everywhere(system, "auth_expired", on=NO_REFRESH)
    first = await system.ended(await system.create(*NO_REFRESH, content="First", at=now()))
    second = await system.ended(await system.create(*NO_REFRESH, content="Second", at=now()))
    for platform_id, refused, known in zip(NO_REFRESH, first, second, strict=True):
        assert (refused["error"]["code"], refused["error"]["platformStatusCode"]) == ("PLATFORM_AUTH_EXPIRED", 401)
        assert refused["error"]["platformError"]
        error = known["error"]
        assert (error["code"], error["platformStatusCode"], error["platformError"], error["retryable"]) == (
            "PLATFORM_AUTH_EXPIRED",
            None,
            None,
            False,
        )
        connection = await looking.connection_of(system, platform_id)
        assert (connection["tokenStatus"], connection["lastError"]["message"]) == ("expired", error["message"])
        # The sandbox accepts the token again, so a call would have been seen.
        assert await system.posted(platform_id) == []


async def test_auth_expired_when_reconnected_then_posts_go_out_again(system):
    await system.connect("mastodon-404")
    await system.fault("mastodon-404", "auth_expired")
    group = await system.create("mastodon-404", at=now())
    await system.ended(group)
    await system.connect("mastodon-404")
    assert (await looking.connection_of(system, "mastodon-404"))["tokenStatus"] != "expired"
    await system.call("POST", f"/retry-post/{group}")
    await published_once_everywhere(system, group, "Hello")


async def test_reject_when_the_platform_refuses_the_content_then_it_fails_at_once_with_its_words(system):
    await system.connect(*FOUR)
    await fault_everywhere(system, "reject")
    group = await system.create(*FOUR, at=now())
    for entry in await system.ended(group):
        error = entry["error"]
        assert (error["code"], error["retryable"]) == ("INVALID_CONTENT", False)
        assert 400 <= error["platformStatusCode"] < 500
        assert error["message"] in error["platformError"]
    for row in await looking.rows(system, group):
        names = [event for event, _ in await events(system, group, row["id"])]
        assert names.count("publish_attempted") == 1


async def test_fault_on_one_platform_when_the_others_are_well_then_they_do_not_wait(system):
    await system.connect(*FOUR)
    await system.fault("twitter-101", "timeout")
    group = await system.create(*FOUR, at=now())

    async def others_are_out():
        return [entry["status"] for entry in (await system.entries(group))[1:]] == ["published"] * 3

    await eventually(others_are_out)
    assert (await system.entries(group))[0]["status"] in ("pending", "processing")
    assert await system.status(group) == "scheduled"
    await published_once_everywhere(system, group, "Hello")


async def test_question_when_the_platform_is_away_then_asked_again_and_not_counted_as_a_look(system):
    async with open_odd_platform(system, break_connection=True) as odd:
        group = await system.create("mastodon-7", at=now())
        await looking.until_posts(system, group, lambda row: row["failures"] == 1)
        odd.listing_status = 503
        [row] = await looking.until_posts(system, group, lambda row: (row["intent"] or {}).get("unanswered") == 1)
        assert (row["intent"]["asked"], odd.attempts) == (0, 1)
        odd.listing_status, odd.break_connection = 200, False
        assert [entry["status"] for entry in await system.ended(group)] == ["published"]
        assert odd.attempts == 2


async def test_question_when_never_answered_then_the_outcome_is_unknown_after_the_last_one(system):
    async with open_odd_platform(system, break_connection=True) as odd:
        group = await system.create("mastodon-7", at=now())
        await looking.until_posts(system, group, lambda row: row["failures"] == 1)
        odd.listing_status = 503
        all_but_one = MAX_QUESTIONS - 1
        await looking.execute(
            system, "UPDATE platform_posts SET intent = intent || $1", {"asked": 3, "unanswered": all_but_one - 3}
        )
        [entry] = await system.ended(group)
        assert (entry["error"]["code"], odd.attempts) == ("PUBLISH_OUTCOME_UNKNOWN", 1)


async def test_token_when_about_to_expire_then_renewed_before_the_first_call(system):
    soon = looking.moment(now()) + timedelta(minutes=1)
    await system.connect("twitter-101", token_expires_at=soon)
    await published_once_everywhere(system, await system.create("twitter-101", at=now()), "Hello")
    connection = await looking.connection_of(system, "twitter-101")
    assert looking.moment(connection["accessTokenExpiresAt"]) > soon + timedelta(hours=1)


async def test_token_when_it_is_over_and_its_renewal_fails_for_a_while_then_tried_again_until_it_works(open_watched):
    over = looking.moment(now()) - timedelta(minutes=1)
    async with (
        open_watched(worker=True, sandbox=True, publish_attempts=12) as system,
        open_odd_platform(system, token_expires_at=over, token_status=503) as odd,
    ):
        group = await system.create("mastodon-7", at=now())
        await looking.until_posts(system, group, lambda row: row["failures"] >= 2)
        assert odd.attempts == 0
        odd.token_status = 200
        assert [entry["status"] for entry in await system.ended(group)] == ["published"]
        # A failure that passes is no reason to give a connection up.
        assert (await looking.connection_of(system, "mastodon-7"))["tokenStatus"] != "expired"


async def test_token_when_it_is_over_and_its_renewal_is_refused_for_good_then_the_connection_is_dead(system):
    over = looking.moment(now()) - timedelta(minutes=1)
    refusal = {"error": "invalid_grant", "error_description": "The grant was revoked"}
    async with open_odd_platform(system, token_expires_at=over, token_status=400, token_body=refusal) as odd:
        [entry] = await system.ended(await system.create("mastodon-7", at=now()))
        error = entry["error"]
        assert (error["code"], error["message"], error["platformStatusCode"]) == (
            "PLATFORM_AUTH_EXPIRED",
            "The grant was revoked",
            400,
        )
        assert (await looking.connection_of(system, "mastodon-7"))["tokenStatus"] == "expired"
        assert odd.attempts == 0


async def test_rate_limited_again_and_again_when_the_whole_wait_passes_the_bound_then_failed(dsn):
    async with open_system(dsn, worker=True, sandbox=True, max_rate_limit_wait_seconds=3) as system:
        await system.connect("mastodon-1")
        await system.fault("mastodon-1", "rate_limited", times=50, retryAfter=0)
        [entry] = await system.ended(await system.create("mastodon-1", at=now()))
        assert entry["error"]["code"] == "RATE_LIMITED"
        assert entry["error"]["retryable"] is True
