"""A platform that answers what a test scripted, in order, and keeps what it was asked."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

DATE = {"Date": "Mon, 04 May 2026 12:00:00 GMT"}
"""The platform's own time, a fraction of a second before the journal's."""


@dataclass(frozen=True)
class Answer:
    """One scripted answer; `drops` hangs up instead."""

    status: int = 200
    json: Any = None
    text: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    drops: bool = False

    def response(self) -> web.Response:
        headers = {**DATE, **self.headers}
        if self.json is not None:
            body = msgspec.json.encode(self.json)
            return web.Response(status=self.status, headers=headers, body=body, content_type="application/json")
        return web.Response(status=self.status, headers=headers, text=self.text or "")


@dataclass(frozen=True)
class Seen:
    """One request as it arrived; `path` is still percent-encoded."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode()))


class Scripted:
    def __init__(self) -> None:
        self.url = ""
        self.seen: list[Seen] = []
        self._script: list[Answer] = []

    def will(self, *answers: Answer) -> None:
        self._script += answers

    @property
    def last(self) -> Seen:
        return self.seen[-1]

    async def handle(self, request: web.Request) -> web.Response:
        path = request.raw_path.partition("?")[0]
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(Seen(request.method, path, dict(request.query), headers, await request.read()))
        answer = self._script.pop(0) if self._script else Answer(599, {"message": "nothing scripted"})
        if answer.drops:
            assert request.transport is not None
            request.transport.close()
        return answer.response()


@asynccontextmanager
async def scripted() -> AsyncIterator[Scripted]:
    platform = Scripted()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", platform.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    platform.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield platform
    await runner.cleanup()
