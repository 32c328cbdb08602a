"""The small HTTP layer of the look-alikes: a call, an answer, a route, and what a platform has to provide."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from postpost.sandbox.state import Account, PlatformState

Json = Any
"""A value that JSON can hold."""

JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a body that is no JSON, not UTF-8, nested too deeply or not of the type asked for."""

MAX_BODY_BYTES = 1_000_000
"""Largest body of a call that carries no media; Bluesky's own limit for a record write is the largest needed."""


class Reply(msgspec.Struct, frozen=True):
    """An HTTP answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}
    content_type: str = JSON_TYPE + "; charset=utf-8"

    def with_headers(self, headers: Mapping[str, str]) -> "Reply":
        """Return the same answer with more headers."""
        return Reply(self.status, self.body, {**self.headers, **headers}, self.content_type)


def json_reply(status: int, data: Json, headers: Mapping[str, str] | None = None) -> Reply:
    """Return an answer whose body is `data` as JSON."""
    return Reply(status, msgspec.json.encode(data), headers or {})


class RefusalError(Exception):
    """A call that a platform does not accept; `reply` says so in the platform's own words."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status, reply.body)
        self.reply = reply


class Call:
    """One request to a look-alike, with everything its handler may know.

    `path` is below the platform's base address and still encoded; `params` are the decoded placeholders of its route.
    `account` and `scopes` are set for routes that need a credential.
    """

    __slots__ = ("_query", "_scope", "account", "body", "headers", "now", "params", "path", "platform", "scopes")

    def __init__(self, scope: Mapping[str, Any], path: str, params: Mapping[str, str], platform: PlatformState) -> None:
        self._scope = scope
        self._query: dict[str, str] | None = None
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.params = params
        self.path = path
        self.body = b""
        self.platform = platform
        self.now = platform.clock()
        self.account: Account = NOBODY
        self.scopes: frozenset[str] = frozenset()

    @property
    def method(self) -> str:
        """The request's method."""
        return str(self._scope["method"])

    @property
    def origin(self) -> str:
        """The platform's base address as the client wrote it."""
        host = self.header("host") or "localhost"
        return f"{self._scope.get('scheme', 'http')}://{host}/{self.platform.key}"

    @property
    def query(self) -> dict[str, str]:
        """The query parameters; of a repeated one the last value counts."""
        if self._query is None:
            raw = self._scope.get("query_string", b"").decode("latin-1")
            self._query = dict(parse_qsl(raw, keep_blank_values=True)) if raw else {}
        return self._query

    def header(self, name: str) -> str | None:
        """Return a request header by its lower-case name, or None."""
        value = self.headers.get(name.encode())
        return None if value is None else value.decode("latin-1")

    @property
    def media_type(self) -> str:
        """The body's type without parameters, in lower case; empty when none was sent."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    @property
    def bearer(self) -> str | None:
        """The bearer token, or None."""
        kind, _, token = (self.header("authorization") or "").partition(" ")
        return token.strip() or None if kind.lower() == "bearer" else None

    async def wait(self, seconds: float) -> None:
        """Let time pass before the call is handled."""
        await asyncio.sleep(seconds)
        self.now = self.platform.clock()

    def form_pairs(self) -> list[tuple[str, str]]:
        """Return the fields of a form body in order; broken UTF-8 is replaced."""
        return parse_qsl(self.body.decode("latin-1"), keep_blank_values=True)

    def form(self) -> dict[str, str]:
        """Return the fields of a form body; of a repeated one the last value counts."""
        return dict(self.form_pairs())


NOBODY = Account("", "")
"""Stands for the caller of a route that needs no credential."""

Handler = Callable[[Call], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """One call of a platform. `publishes` marks the one that makes a post public: faults strike there."""

    method: str
    path: str
    handler: Handler
    needs_token: bool = True
    publishes: bool = False
    max_body_bytes: int = MAX_BODY_BYTES


@dataclass(frozen=True, slots=True)
class Token:
    """What an access token says. A token of a generation up to `Account.dead_up_to` is expired."""

    account: str
    generation: int = 0
    scopes: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Node:
    methods: dict[str, Route] = field(default_factory=dict)
    segments: tuple[str, ...] = ()


class Routes:
    """A platform's calls by path. A segment such as `{id}` matches any one segment."""

    def __init__(self, *routes: Route) -> None:
        self._fixed: dict[str, _Node] = {}
        self._patterns: dict[str, _Node] = {}
        for route in routes:
            table = self._patterns if "{" in route.path else self._fixed
            node = table.setdefault(route.path, _Node(segments=tuple(route.path.split("/"))))
            node.methods[route.method] = route

    def find(self, path: str) -> tuple[Mapping[str, Route], Mapping[str, str]]:
        """Return the routes of a raw (still encoded) path by method, and its placeholders; no routes: unknown path."""
        node = self._fixed.get(path)
        if node is not None:
            return node.methods, {}
        segments = path.split("/")
        for pattern in self._patterns.values():
            params = _match(pattern.segments, segments)
            if params is not None:
                return pattern.methods, params
        return {}, {}


def _match(pattern: tuple[str, ...], segments: list[str]) -> dict[str, str] | None:
    if len(pattern) != len(segments):
        return None
    params: dict[str, str] = {}
    for expected, actual in zip(pattern, segments, strict=True):
        if expected.startswith("{"):
            if not actual:
                return None
            params[expected[1:-1]] = unquote(actual)
        elif expected != unquote(actual):
            return None
    return params


@dataclass(frozen=True, slots=True)
class LookAlike:
    """What a platform's module provides. Every reply is in the platform's own error shape.

    `username` makes up the handle of a new account. `renews` says that clients can renew an expired token: a token
    that a fault expired then stays dead. `read_token` raises RefusalError when the credential is missing or not one
    of ours. `expired` refuses an expired token, `rejected` the content of a post; `rate_limited` takes the seconds to
    wait; `plain` answers 404 (no such address), 405 (other methods
    only), 413 (body over the route's limit) and 503 (overloaded).
    """

    key: str
    name: str
    renews: bool
    routes: Routes
    username: Callable[[str], str]
    read_token: Callable[[Call], Token]
    limit_headers: Callable[[Account], Mapping[str, str]]
    expired: Reply
    rate_limited: Callable[[Call, float], Reply]
    rejected: Reply
    plain: Callable[[Call, HTTPStatus], Reply]


def pick(source: Mapping[str, str], name: str, default: int, allowed: range) -> int:
    """Return a whole number from query or form values. Raises ValueError when it is none, or outside `allowed`."""
    text = source.get(name)
    if text is None:
        return default
    number = int(text)
    if number not in allowed:
        raise ValueError(f"{name} must be from {allowed.start} to {allowed.stop - 1}")
    return number


def millis(moment: datetime) -> str:
    """Return a time as the platforms write it: RFC 3339 in UTC with milliseconds and a Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
