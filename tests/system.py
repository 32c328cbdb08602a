"""A running PostPost in the test's own event loop, and a client that speaks to it over HTTP."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp

from postpost import runtime
from postpost.config import Settings
from postpost.services import Services
from tests import factories
from tests.eventually import eventually


@dataclass
class Answer:
    """An HTTP answer: status, decoded JSON body (None when it is none), text and headers."""

    status: int
    body: Any
    text: str
    headers: Any = field(repr=False)


@dataclass
class System:
    """What a test may touch: the API by HTTP, the sandbox's control calls, and the services for arranging things."""

    services: Services
    url: str
    sandbox_url: str | None
    session: aiohttp.ClientSession
    account_id: str
    key: str

    @property
    def database(self):
        return self.services.database

    async def call(self, method, path, *, key="", headers=None, **options) -> Answer:
        """Call `/api/v1{path}` (or an absolute path below `/`, with `path="//..."`) with the account's key.

        `key=None` sends none, another string sends that one. `options` go to aiohttp (`json=`, `data=`, `params=`).
        """
        sent = dict(headers or {})
        if key is not None:
            sent["x-api-key"] = key or self.key
        url = self.url + (path[1:] if path.startswith("//") else f"/api/v1{path}")
        async with self.session.request(method, url, headers=sent, **options) as response:
            text = await response.text()
            try:
                body = json.loads(text)
            except ValueError:
                body = None
            return Answer(response.status, body, text, response.headers)

    async def connect(self, *platform_ids, account_id=None, **more) -> None:
        """Connect sandbox accounts to the account (or another one)."""
        for platform_id in platform_ids:
            await factories.make_connection(self.services, account_id or self.account_id, platform_id, **more)

    async def create(self, *platform_ids, content="Hello", at=None, **body) -> str:
        """Create a post group (a draft without `at`) and return its id; fails when it is refused."""
        payload = {"content": content, "platforms": list(platform_ids), **body}
        if at is not None:
            payload["scheduledTime"] = at
        answer = await self.call("POST", "/create-post", json=payload)
        assert answer.status == 200, answer
        return answer.body["postGroupId"]

    async def entries(self, group_id) -> list[dict[str, Any]]:
        """Return the entries of get-post."""
        answer = await self.call("GET", f"/get-post/{group_id}")
        assert answer.status == 200, answer
        return answer.body["posts"]

    async def ended(self, group_id, *, within=15.0) -> list[dict[str, Any]]:
        """Return the entries once every one of them is published or failed."""

        async def over():
            entries = await self.entries(group_id)
            assert all(entry["status"] in ("published", "failed") for entry in entries), entries
            return entries

        return await eventually(over, within=within)

    async def status(self, group_id) -> str:
        """Return the group's status as list-posts shows it."""
        answer = await self.call("GET", "/list-posts", params={"limit": "100"})
        return next(post["status"] for post in answer.body["posts"] if post["postGroupId"] == group_id)

    async def logs(self, group_id) -> list[dict[str, Any]]:
        """Return post-logs."""
        return (await self.call("GET", f"/post-logs/{group_id}")).body["logs"]

    async def fault(self, platform_id, kind, **more) -> None:
        """Tell the sandbox to misbehave towards this account; `times`, `retryAfter`, `delay` as needed."""
        platform, _, account = platform_id.partition("-")
        url = f"{self.sandbox_url}/_sandbox/{platform}/{account}/faults"
        async with self.session.post(url, json={"kind": kind, **more}) as response:
            assert response.status < 300, await response.text()

    async def posted(self, platform_id) -> list[dict[str, Any]]:
        """Return what the sandbox holds of this account, oldest first."""
        platform, _, account = platform_id.partition("-")
        async with self.session.get(f"{self.sandbox_url}/_sandbox/{platform}/{account}/posts") as response:
            return await response.json()


@asynccontextmanager
async def open_system(
    dsn: str, *, worker: bool = False, sandbox: bool = False, workers: int = 1, **changes: Any
) -> AsyncIterator[System]:
    """Start what a test needs; `changes` are settings. Platform time-outs are short, so crashes resolve fast."""
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="postpost-home-")))
        settings = Settings(
            **{
                "home": home,
                "database_url": dsn,
                "database_pool_size": 8,
                "platform_timeout_seconds": 1.0,
                "retry_base_seconds": 0.05,
                "shutdown_seconds": 5.0,
                **changes,
            }
        )
        parts = runtime.Parts([], [])
        if sandbox:
            listening = runtime.listen("127.0.0.1", 0)
            settings = replace(settings, sandbox_url=f"http://127.0.0.1:{listening.getsockname()[1]}")
            await runtime.start_sandbox(parts, settings, listening)
        services = await stack.enter_async_context(runtime.open_process(settings, migrated=False))
        stack.push_async_callback(_stop, parts)
        api = runtime.listen("127.0.0.1", 0)
        port = await runtime.start_api(parts, services, api)
        for _ in range(workers if worker else 0):
            runtime.start_worker(parts, services)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)))
        account_id = await factories.make_account(services.database)
        yield System(
            services,
            f"http://127.0.0.1:{port}",
            settings.sandbox_url if sandbox else None,
            session,
            account_id,
            await factories.make_key(services.database, account_id),
        )


async def _stop(parts: runtime.Parts) -> None:
    for stop in parts.stops:
        stop()
    done, late = await asyncio.wait(parts.running, timeout=10)
    assert not late, f"did not stop: {[task.get_name() for task in late]}"
    for task in done:
        task.result()
