"""What every connector promises, tried on the sandbox's look-alike of its platform."""

import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
import uvicorn

from postpost.outgoing import HttpClient
from postpost.platforms import CONNECTORS
from postpost.platforms.base import (
    Account,
    App,
    Connector,
    ErrorCode,
    NotPublished,
    PlatformError,
    Published,
    Retry,
    Scope,
    Undecided,
)
from postpost.sandbox.app import create_app
from tests.platforms.journal import Journal, make_account, make_post

TEXT = "Héllo #wörld & <all> (1) @nobody.invalid a_b https://example.com/a_(b)?c=1&d=2, \\o/ C# 👩‍👩‍👧‍👦 end."
IDS = {"twitter": "1985855679454986200", "linkedin": "Tz9W5i6ZYG", "bluesky": "did:plc:abc123xyz"}
CHAINS = ("twitter", "bluesky", "mastodon")


@dataclass
class Stage:
    """One connector, an account on the sandbox, and a look behind the scenes."""

    connector: Connector
    account: Account
    root: str
    http: HttpClient

    @property
    def _control(self) -> str:
        return f"{self.root}/_sandbox/{self.connector.platform.key}/{self.account.id}"

    async def misbehave(self, kind: str, **more: Any) -> None:
        response = await self.http.request("POST", f"{self._control}/faults", json={"kind": kind, **more})
        assert response.status < 300, response.text()

    async def posts(self) -> list[dict[str, Any]]:
        posts: list[dict[str, Any]] = (await self.http.request("GET", f"{self._control}/posts")).json()
        return posts

    async def publish(self, journal: Journal, *parts: str) -> None:
        post = make_post(self.account, *parts)
        try:
            await self.connector.publish(post, journal, self.http)
        except PlatformError as error:
            if error.retry is not Retry.REFRESH:
                raise
            await self.refresh()
            await self.connector.publish(replace(post, account=self.account), journal, self.http)

    async def refresh(self) -> None:
        grant = await self.connector.refresh(self.account, App(), self.http)
        self.account = replace(self.account, credentials=grant.credentials)

    async def settle(self, journal: Journal, *parts: str) -> None:
        """Do what the engine does about an intent without a result, then go on publishing."""
        assert journal.intent is not None
        outcome: object = Undecided()
        for asked in range(5):
            intent = replace(journal.intent, asked=asked)
            outcome = await self.connector.reconcile(make_post(self.account, *parts), intent, journal, self.http)
            if not isinstance(outcome, Undecided):
                break
        assert isinstance(outcome, Published | NotPublished)
        if isinstance(outcome, Published):
            journal.published[journal.intent.part] = outcome
        await self.publish(journal, *parts)


@pytest.fixture
async def sandbox() -> AsyncIterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(create_app(), log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            with anyio.fail_after(10):
                while not server.started:
                    await anyio.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            server.should_exit = True


@pytest.fixture(params=CONNECTORS, ids=lambda connector: connector.platform.key)
async def stage(request: pytest.FixtureRequest, sandbox: str, http: HttpClient) -> Stage:
    connector: Connector = request.param
    key = connector.platform.key
    account_id = IDS.get(key, "1001")
    account = make_account(
        f"{sandbox}/{key}", account_id, credentials=dict(connector.sandbox_credentials(account_id)), username="ann"
    )
    stage = Stage(connector, account, sandbox, http)
    if key == "bluesky":
        await stage.refresh()
    return stage


@pytest.fixture
def journal() -> Journal:
    return Journal(datetime.now(UTC))


async def failure(stage: Stage, journal: Journal) -> PlatformError:
    with pytest.raises(PlatformError) as caught:
        await stage.publish(journal, TEXT)
    return caught.value


async def test_connect_when_credentials_are_good_then_says_whose_they_are(stage: Stage) -> None:
    credentials = stage.connector.sandbox_credentials(stage.account.id)
    connected = await stage.connector.connect(stage.account.base_url, credentials, App(), stage.http)
    assert connected.identity.id == stage.account.id
    assert connected.identity.username


async def test_identify_when_credentials_are_bad_then_says_that_they_are_over(stage: Stage) -> None:
    bad = dict.fromkeys((*stage.account.credentials, "accessJwt"), "canary-bad")
    account = replace(stage.account, credentials=bad)
    with pytest.raises(PlatformError) as caught:
        await stage.connector.identify(account, stage.http)
    assert caught.value.code is ErrorCode.PLATFORM_AUTH_EXPIRED
    assert "canary" not in f"{caught.value.raw}{caught.value.message}"


async def test_refresh_when_credentials_are_bad_then_connection_is_over(stage: Stage) -> None:
    bad = dict.fromkeys((*stage.account.credentials, "refresh_token"), "canary-bad")
    account = replace(stage.account, credentials=bad)
    with pytest.raises(PlatformError) as caught:
        await stage.connector.refresh(account, App("id", "secret"), stage.http)
    assert (caught.value.code, caught.value.retry) == (ErrorCode.PLATFORM_AUTH_EXPIRED, Retry.NEVER)
    assert caught.value.scope is Scope.CONNECTION


async def test_publish_when_accepted_then_text_stands_there_as_written(stage: Stage, journal: Journal) -> None:
    await stage.publish(journal, TEXT)
    [post] = await stage.posts()
    assert (post["text"], post["id"]) == (TEXT, journal.published[0].posted_id)
    assert (journal.published[0].url or "").startswith("http")


async def test_publish_when_run_twice_then_makes_one_post(stage: Stage, journal: Journal) -> None:
    await stage.publish(journal, TEXT)
    await stage.publish(journal, TEXT)
    assert len(await stage.posts()) == 1


async def test_publish_when_there_are_parts_then_they_form_a_chain(stage: Stage, journal: Journal) -> None:
    if stage.connector.platform.key not in CHAINS:
        pytest.skip("this platform has no chains of one's own posts")
    await stage.publish(journal, "one", "two", "three")
    posts = await stage.posts()
    ids = [post["id"] for post in posts]
    assert [post["text"] for post in posts] == ["one", "two", "three"]
    assert [post["replyTo"] for post in posts] == [None, *ids[:-1]]


async def test_publish_when_rate_limited_then_waits_as_the_platform_says(stage: Stage, journal: Journal) -> None:
    await stage.misbehave("rate_limited", retryAfter=90)
    error = await failure(stage, journal)
    assert (error.code, error.retry, error.refused) == (ErrorCode.RATE_LIMITED, Retry.WAIT, True)
    assert error.wait is not None
    assert timedelta(seconds=88) <= error.wait <= timedelta(seconds=93)


async def test_publish_when_content_is_rejected_then_fails_with_the_platforms_words(
    stage: Stage, journal: Journal
) -> None:
    await stage.misbehave("reject")
    error = await failure(stage, journal)
    assert (error.code, error.retry, error.refused) == (ErrorCode.INVALID_CONTENT, Retry.NEVER, True)
    assert error.raw
    assert error.message in error.raw


async def test_publish_when_token_expires_then_goes_on_with_a_new_one(stage: Stage, journal: Journal) -> None:
    await stage.misbehave("auth_expired")
    with suppress(PlatformError):
        await stage.publish(journal, TEXT)
    # Platforms without refresh tokens end here, with the user asked to connect again.
    renews = "refresh_token" in stage.account.credentials or "refreshJwt" in stage.account.credentials
    assert len(await stage.posts()) == int(renews)


@pytest.mark.parametrize("kind", ["server_error", "reset_before_accept", "reset_after_accept"])
async def test_reconcile_when_the_answer_is_lost_then_there_is_exactly_one_post(
    stage: Stage, journal: Journal, kind: str
) -> None:
    await stage.misbehave(kind)
    error = await failure(stage, journal)
    assert not error.refused
    assert len(await stage.posts()) == (1 if kind == "reset_after_accept" else 0)
    await stage.settle(journal, TEXT)
    [post] = await stage.posts()
    assert journal.published[0].posted_id == post["id"]


async def test_reconcile_when_a_later_part_is_lost_then_chain_has_each_part_once(
    stage: Stage, journal: Journal
) -> None:
    if stage.connector.platform.key not in CHAINS:
        pytest.skip("this platform has no chains of one's own posts")
    parts = ("one", "two", "three")
    await stage.publish(journal, *parts[:1])
    await stage.misbehave("reset_after_accept")
    with pytest.raises(PlatformError):
        await stage.publish(journal, *parts)
    await stage.settle(journal, *parts)
    assert [post["text"] for post in await stage.posts()] == list(parts)
