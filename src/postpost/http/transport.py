"""The outermost layer of the application: request ids, the access log, and the rendering of every error."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from time import perf_counter
from typing import Any, Final, cast

import asyncpg
import msgspec
import structlog
from litestar import Request
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.types import ASGIApp, ExceptionHandlersMap, HTTPScope, Message, Receive, Scope, Send

from postpost.errors import A11, T1, T2, T3, T5, T6, T8, ApiError, ErrorRow, Refusal
from postpost.ids import new_id

JSON_TYPE: Final = "application/json; charset=utf-8"
API_ROOT: Final = "/api/"
"""Below this path OPTIONS is a method like any other that a route may lack: servers call this API, not browsers."""

_BARE_JSON: Final = b"application/json"
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_CLOSED = re.compile(r"(?:connection|pool) is clos(?:ed|ing)")
_DATABASE_AWAY: Final = ("08", "57P0", "53300", "55P03", "40P01")
"""Beginnings of SQLSTATEs: connection lost, server stopping or starting, too many connections; and what only load
brings about, a lock that did not come free in time or a deadlock."""

_log = structlog.get_logger("postpost.http")
_encoder = msgspec.json.Encoder()
_JSON_TYPE_BYTES: Final = JSON_TYPE.encode()

Observer = Callable[[str | None, str, int, timedelta], None]
"""Told of every answer: route template, method, status (0 when none was sent), duration."""


class Transport:
    """ASGI middleware around the whole application (rest-api.md 1.2, errors.md section 1).

    Every answer gets an `x-request-id` (the client's own, if it is 1 to 128 visible ASCII characters) and every
    JSON answer its charset. One `request` event is logged for each: method, route template, status, duration;
    never a path, a query, a header or a body. What escapes the application becomes A11.
    """

    def __init__(self, app: ASGIApp, observe: Observer | None = None) -> None:
        self.app = app
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other kinds of scope go through untouched."""
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        await self._answer(scope, receive, send)

    async def _answer(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        began = perf_counter()
        method: str = scope["method"]
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        if method == "OPTIONS" and scope["path"].startswith(API_ROOT):
            # Litestar adds an OPTIONS handler, guards included, to every route; the contract has none (T2).
            scope["method"] = cast("Any", "X-OPTIONS")
        id_header = (b"x-request-id", request_id.encode())
        status: int | None = None

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*_with_charset(message["headers"]), id_header]}
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, send_marked)
            except Exception as error:
                _log.error("unexpected_error", request_id=request_id, route=_route(scope), exc_info=error)
                if status is not None:
                    raise  # Half an answer is out; only closing the connection tells the client.
                await _send_json(ApiError(A11), send_marked)
            finally:
                route, seconds = _route(scope), perf_counter() - began
                _log.info("request", method=method, route=route, status=status, duration_seconds=round(seconds, 6))
                if self._observe is not None:
                    self._observe(route, method, status or 0, timedelta(seconds=seconds))


class JsonAnswer:
    """A JSON answer as the ASGI application that Litestar takes for one: half the cost of its own response class."""

    __slots__ = ("_body", "_headers", "_status")

    def __init__(self, body: bytes, status: int, headers: Mapping[str, str] | None) -> None:
        self._body = body
        self._status = status
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's names
        """Send the answer."""
        length = str(len(self._body)).encode()
        headers: list[tuple[bytes, bytes]] = [(b"content-type", _JSON_TYPE_BYTES), (b"content-length", length)]
        if self._headers:
            headers += [(name.lower().encode(), value.encode()) for name, value in self._headers.items()]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        await send({"type": "http.response.body", "body": self._body, "more_body": False})

    def to_asgi_response(self, **_: Any) -> "JsonAnswer":
        """Return itself: what Litestar asks of an exception handler's answer."""
        return self


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> JsonAnswer:
    """Return an answer with `body` (dicts, lists, msgspec structs) as JSON. Times must be texts already."""
    return JsonAnswer(_encoder.encode(body), status, headers)


def render_error(request: Request[Any, Any, Any], exc: Exception) -> JsonAnswer:
    """Turn whatever a route or the router raised into an answer of errors.md.

    A failure that nothing names is logged and answered with the route's own 500, `opt["unexpected"]`, or with A11
    where there is none or the caller was not yet identified (see `early_stages`).
    """
    refusal = _refusal_for(request, exc)
    return json_response(refusal.body(), refusal.status, refusal.headers)


EXCEPTION_HANDLERS: Final[ExceptionHandlersMap] = {Exception: cast("Any", render_error)}
"""For Litestar's `exception_handlers`: one handler for everything."""


@contextmanager
def early_stages(request: Request[Any, Any, Any]) -> Iterator[None]:
    """Mark stages 1 to 5 of errors.md section 2: an unexpected failure within answers A11, not the route's own 500."""
    state = request.scope["state"]
    state["early"] = True
    yield
    # Not in a finally: after a failure the mark has to be there still when the error is rendered.
    state["early"] = False


def is_database_away(exc: BaseException) -> bool:
    """Say whether `exc` means that the database cannot be reached or is overloaded at the moment (errors.md T6).

    Network errors and time-outs count only when they come out of asyncpg: a missing file is an OSError too.
    """
    if isinstance(exc, asyncpg.PostgresError):
        return (exc.sqlstate or "").startswith(_DATABASE_AWAY)
    if isinstance(exc, asyncpg.InterfaceError):
        return _CLOSED.search(str(exc)) is not None
    if isinstance(exc, asyncpg.InternalClientError):
        return True  # A statement was begun just as the server ended the connection.
    return isinstance(exc, OSError | TimeoutError) and _came_from_asyncpg(exc)


def _refusal_for(request: Request[Any, Any, Any], exc: Exception) -> Refusal:
    if isinstance(exc, Refusal):
        return exc
    if isinstance(exc, NotFoundException):
        return ApiError(T1)
    if isinstance(exc, MethodNotAllowedException):
        return ApiError(T2, headers={"Allow": _allow(request, exc)})
    request_id = request.scope["state"].get("request_id")
    route = _route(request.scope)
    if is_database_away(exc):
        _log.warning("database_unavailable", request_id=request_id, route=route, error=type(exc).__name__)
        return ApiError(T6)
    if isinstance(exc, HTTPException) and 400 <= exc.status_code < 500:
        # Litestar's own findings, such as a Host header that is none.
        return ApiError({413: T3, 415: T5}.get(exc.status_code, T8))
    _log.error("unexpected_error", request_id=request_id, route=route, exc_info=exc)
    return ApiError(_unexpected_row(request))


def _unexpected_row(request: Request[Any, Any, Any]) -> ErrorRow:
    handler = request.scope.get("route_handler")
    if handler is None or request.scope["state"].get("early"):
        return A11
    row = handler.opt.get("unexpected", A11)
    return row if isinstance(row, ErrorRow) else A11


def _allow(request: Request[Any, Any, Any], exc: MethodNotAllowedException) -> str:
    methods = {method.strip() for method in (exc.headers or {}).get("allow", "").split(",")}
    if request.scope["path"].startswith(API_ROOT):
        methods.discard("OPTIONS")
    return ", ".join(sorted(methods))


def _came_from_asyncpg(exc: BaseException) -> bool:
    trace = exc.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0] == "asyncpg":
            return True
        trace = trace.tb_next
    return False


def _request_id(scope: HTTPScope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            return value.decode("ascii") if _REQUEST_ID.fullmatch(value) else new_id()
    return new_id()


def _route(scope: Mapping[str, Any]) -> str | None:
    """Return the template of the route (`/get-post/{id}`), which unlike the path holds nothing of the client's."""
    return scope.get("path_template")


def _with_charset(headers: Any) -> Iterator[tuple[bytes, bytes]]:
    for name, value in headers:
        if value == _BARE_JSON and name.lower() == b"content-type":
            yield name, JSON_TYPE.encode()
        else:
            yield name, value


async def _send_json(refusal: Refusal, send: Send) -> None:
    """Send an error without the framework, which may be what failed."""
    content = _encoder.encode(refusal.body())
    headers = [(b"content-type", JSON_TYPE.encode()), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": False})
