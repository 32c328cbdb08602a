import asyncio
import math
import time
from datetime import datetime, timedelta

import aiohttp
import pytest

from postpost.sandbox.app import PLATFORMS
from tests.sandbox.support import LINKEDIN_HEADERS, PUBLISH, new_account

KEYS = [platform.key for platform in PLATFORMS]
ACCEPTED = {"twitter": 201, "linkedin": 201, "bluesky": 200, "mastodon": 200}
EXPIRED = {"twitter": 401, "linkedin": 401, "bluesky": 400, "mastodon": 401}
REJECTED = {"twitter": 403, "linkedin": 422, "bluesky": 400, "mastodon": 422}
BROKEN = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)

pytestmark = pytest.mark.anyio


async def publish(client, platform, account, text="hello"):
    return await PUBLISH[platform](client, account, text)


@pytest.mark.parametrize("platform", KEYS)
async def test_publish_when_nothing_is_wrong_then_the_post_is_kept(client, platform):
    account = new_account(platform)
    answer = await publish(client, platform, account, "a first post")
    assert answer.status == ACCEPTED[platform]
    assert await client.texts(platform, account) == ["a first post"]


@pytest.mark.parametrize("platform", KEYS)
async def test_rate_limited_when_asked_for_then_the_next_call_succeeds(client, platform):
    account = new_account(platform)
    await client.fault(platform, account, "rate_limited")
    first, second = await publish(client, platform, account), await publish(client, platform, account)
    assert (first.status, second.status) == (429, ACCEPTED[platform])


@pytest.mark.parametrize(
    ("platform", "header", "read"),
    [
        ("twitter", "x-rate-limit-reset", float),
        ("bluesky", "RateLimit-Reset", float),
        ("mastodon", "X-RateLimit-Reset", lambda text: datetime.fromisoformat(text).timestamp()),
    ],
)
async def test_rate_limited_when_it_names_a_reset_then_it_is_retry_after_away(client, platform, header, read):
    account = new_account(platform)
    await client.fault(platform, account, "rate_limited", retryAfter=30)
    before = client.clock().timestamp()
    answer = await publish(client, platform, account)
    assert before + 29 <= read(answer.headers[header]) <= math.ceil(client.clock().timestamp()) + 30


@pytest.mark.parametrize("header", ["x-rate-limit-remaining", "RateLimit-Remaining", "X-RateLimit-Remaining"])
async def test_rate_limited_when_headers_count_calls_then_none_remains(client, header):
    platform = {"x-rate-limit-remaining": "twitter", "RateLimit-Remaining": "bluesky"}.get(header, "mastodon")
    account = new_account(platform)
    await client.fault(platform, account, "rate_limited")
    assert (await publish(client, platform, account)).headers[header] == "0"


@pytest.mark.parametrize("platform", ["linkedin", "bluesky"])
async def test_rate_limited_when_the_platform_sends_retry_after_then_it_is_in_seconds(client, platform):
    account = new_account(platform)
    await client.fault(platform, account, "rate_limited", retryAfter=7)
    assert (await publish(client, platform, account)).headers["Retry-After"] == "7"


@pytest.mark.parametrize("platform", ["twitter", "mastodon"])
async def test_rate_limited_when_the_platform_sends_no_retry_after_then_there_is_none(client, platform):
    account = new_account(platform)
    await client.fault(platform, account, "rate_limited")
    assert "Retry-After" not in (await publish(client, platform, account)).headers


@pytest.mark.parametrize("platform", KEYS)
async def test_server_error_when_asked_for_then_nothing_is_kept(client, platform):
    account = new_account(platform)
    await client.fault(platform, account, "server_error")
    answer = await publish(client, platform, account)
    assert (answer.status, await client.posts(platform, account)) == (503, [])


@pytest.mark.parametrize("platform", KEYS)
async def test_reject_when_asked_for_then_nothing_is_kept(client, platform):
    account = new_account(platform)
    await client.fault(platform, account, "reject")
    answer = await publish(client, platform, account)
    assert (answer.status, await client.posts(platform, account)) == (REJECTED[platform], [])


@pytest.mark.parametrize("platform", KEYS)
async def test_reset_before_accept_when_asked_for_then_no_answer_and_nothing_kept(client, platform):
    account = new_account(platform)
    await client.fault(platform, account, "reset_before_accept")
    with pytest.raises(BROKEN):
        await publish(client, platform, account)
    assert await client.posts(platform, account) == []


@pytest.mark.parametrize("platform", KEYS)
async def test_reset_after_accept_when_asked_for_then_no_answer_but_the_post_kept(client, platform):
    account = new_account(platform)
    await client.fault(platform, account, "reset_after_accept")
    with pytest.raises(BROKEN):
        await publish(client, platform, account, "kept")
    assert await client.texts(platform, account) == ["kept"]


async def test_reset_after_accept_when_the_post_is_refused_then_the_refusal_is_answered(client, account):
    await client.fault("twitter", account, "reset_after_accept")
    assert (await client.tweet(account, " ")).status == 400


@pytest.mark.parametrize("platform", KEYS)
async def test_timeout_when_asked_for_then_the_connection_is_held_and_closed(client, platform):
    account = new_account(platform)
    await client.fault(platform, account, "timeout", delay=0.2)
    began = time.monotonic()
    with pytest.raises(BROKEN):
        await publish(client, platform, account)
    assert 0.2 <= time.monotonic() - began < 3
    assert await client.posts(platform, account) == []


async def test_timeout_when_the_client_gives_up_then_nothing_is_kept(client, account):
    await client.fault("twitter", account, "timeout", delay=60)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.tweet(account), 0.1)
    assert await client.posts("twitter", account) == []


@pytest.mark.parametrize("platform", KEYS)
async def test_slow_when_asked_for_then_it_succeeds_later(client, platform):
    account = new_account(platform)
    await client.fault(platform, account, "slow", delay=0.2)
    began = time.monotonic()
    answer = await publish(client, platform, account)
    assert (answer.status, time.monotonic() - began >= 0.2) == (ACCEPTED[platform], True)


async def test_slow_after_accept_when_the_client_gives_up_then_the_post_is_there_already(client, account):
    await client.fault("twitter", account, "slow_after_accept", delay=60)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.tweet(account, "kept"), 0.2)
    assert await client.texts("twitter", account) == ["kept"]


async def test_slow_when_the_client_gives_up_then_the_post_is_still_made(client, account):
    await client.fault("twitter", account, "slow", delay=0.2)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.tweet(account), 0.05)
    deadline = time.monotonic() + 5
    while not await client.posts("twitter", account):
        assert time.monotonic() < deadline


@pytest.mark.parametrize("platform", KEYS)
async def test_auth_expired_when_asked_for_then_the_platform_says_so_once(client, platform):
    account = new_account(platform)
    await client.fault(platform, account, "auth_expired")
    first, second = await publish(client, platform, account), await publish(client, platform, account)
    assert first.status == EXPIRED[platform]
    # The next call of the Bluesky helper logs in again; X's plain token stays dead until it is renewed.
    assert second.status == (401 if platform == "twitter" else ACCEPTED[platform])


async def test_auth_expired_when_a_read_comes_first_then_it_strikes_the_read(client, account):
    await client.fault("mastodon", account, "auth_expired")
    path, token = "/mastodon/api/v1/accounts/verify_credentials", f"sandbox-{account}"
    assert (await client.call("GET", path, token=token)).status == 401
    assert (await client.toot(account)).status == 200


@pytest.mark.parametrize("kind", ["rate_limited", "server_error", "reject", "reset_before_accept"])
async def test_publishing_fault_when_a_read_comes_first_then_it_waits(client, account, kind):
    await client.fault("twitter", account, kind)
    assert (await client.call("GET", "/twitter/2/users/me", token=f"sandbox-{account}")).status == 200
    assert [fault["kind"] for fault in await client.faults("twitter", account)] == [kind]


async def test_fault_when_it_has_several_times_then_it_strikes_so_often(client, account):
    await client.fault("mastodon", account, "server_error", times=3)
    statuses = [(await client.toot(account)).status for _ in range(4)]
    assert statuses == [503, 503, 503, 200]


async def test_fault_when_another_account_posts_then_it_is_spared(client, account):
    await client.fault("twitter", account, "server_error")
    assert (await client.tweet(new_account())).status == 201


@pytest.mark.parametrize(
    ("platform", "path", "status"),
    [
        ("twitter", "/2/nothing", 404),
        ("linkedin", "/rest/nothing", 404),
        ("mastodon", "/api/v1/nothing", 404),
        ("bluesky", "/xrpc/com.atproto.nothing", 501),
        ("bluesky", "/xrpc/app.bsky.actor.getProfile", 400),
        ("bluesky", "/nothing", 404),
        ("friendster", "/", 404),
    ],
)
async def test_call_when_the_path_is_unknown_then_the_answer_is_json(client, platform, path, status):
    answer = await client.call("GET", f"/{platform}{path}")
    assert (answer.status, isinstance(answer.data, dict)) == (status, True)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/twitter/2/tweets", 405),
        ("PATCH", "/linkedin/rest/posts", 405),
        ("GET", "/bluesky/xrpc/com.atproto.repo.putRecord", 400),
        ("GET", "/mastodon/api/v1/statuses", 405),
    ],
)
async def test_call_when_the_method_is_wrong_then_it_is_refused(client, method, path, status):
    assert (await client.call(method, path)).status == status


@pytest.mark.parametrize("platform", KEYS)
async def test_call_when_the_body_is_too_large_then_413(client, platform):
    account = new_account(platform)
    answer = await PUBLISH[platform](client, account, "x" * 1_000_001)
    assert answer.status == 413


async def test_call_when_a_chunked_body_is_too_large_then_413(client):
    async def chunks():
        for _ in range(20):
            yield b"x" * 100_000

    assert (await client.call("POST", "/twitter/2/tweets", token="sandbox-1", data=chunks())).status == 413


@pytest.mark.parametrize(
    "path",
    [
        "/twitter/2/tweets",
        "/linkedin/rest/posts",
        "/bluesky/xrpc/com.atproto.server.createSession",
        "/mastodon/api/v1/statuses",
        "/_sandbox/twitter/1/faults",
    ],
)
async def test_call_when_the_json_is_nested_too_deeply_then_it_is_refused(client, path):
    headers = LINKEDIN_HEADERS | {"Content-Type": "application/json"}
    answer = await client.call("POST", path, token="sandbox-1", headers=headers, data=b'{"text":' + b"[" * 5000)
    assert answer.status in (400, 422)


@pytest.mark.parametrize(
    ("platform", "prefix"), [("twitter", "x-rate-limit-"), ("bluesky", "RateLimit-"), ("mastodon", "X-RateLimit-")]
)
async def test_answer_when_a_call_is_authorised_then_it_counts_the_calls_left(client, platform, prefix):
    account = new_account(platform)
    first, second = await publish(client, platform, account), await publish(client, platform, account, "other")
    left = [int(answer.headers[f"{prefix}Remaining"]) for answer in (first, second)]
    assert left[0] - left[1] == 1
    assert int(first.headers[f"{prefix}Limit"]) >= left[0]


async def test_call_count_when_the_window_is_over_then_it_starts_again(client, account):
    first = await client.toot(account)
    client.clock.advance(timedelta(minutes=16))
    assert (await client.toot(account)).headers["X-RateLimit-Remaining"] == first.headers["X-RateLimit-Remaining"]


async def test_root_when_opened_then_it_leads_to_the_pages(client):
    answer = await client.call("GET", "/")
    assert (answer.status, answer.headers["Location"]) == (303, "/_sandbox/")
