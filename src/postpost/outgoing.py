"""Outgoing HTTP: one pooled aiohttp client behind the `Http` contract of the connectors.

It sends every request at most once and says of every failure whether anything can have left this machine, because
the engine repeats a call only when nothing did.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
import structlog
from yarl import URL

from postpost import __version__
from postpost.platforms.base import RAW_MESSAGES, ErrorCode, Json, PlatformError, Response, Retry

MAX_ANSWER_BYTES = 1024 * 1024
"""Longest answer body that is kept; what follows is cut off. Platforms answer a few kilobytes."""

KEEP_ALIVE_SECONDS = 4.0
"""How long an idle connection is kept. Less than the 5 s after which common servers drop theirs, so that a request
seldom meets a connection that is just being closed (its fate would have to be found out)."""

MAX_CONNECTIONS = 1000
"""Connections open at once. Bounded by what the workers run in parallel; this is the backstop."""

_log = structlog.get_logger()


@dataclass(slots=True)
class _Progress:
    """How far one request came: once it has a connection, some of it may have been sent."""

    connected: bool = False


class _BrokenOnceError(aiohttp.ClientError):
    """A kept connection broke under a request. No subclass of what aiohttp answers with a second attempt."""


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating a PUT or DELETE on a new connection after a kept one broke.

    aiohttp counts both as idempotent (`IDEMPOTENT_METHODS` in its client.py); a platform's PUT may be a post.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        if request.method == "GET" or isinstance(error, aiohttp.ClientConnectorError):
            raise
        raise _BrokenOnceError from error


async def _note_connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    context.trace_request_ctx.connected = True


def _tracing() -> aiohttp.TraceConfig:
    config = aiohttp.TraceConfig()
    config.on_connection_create_end.append(_note_connected)
    config.on_connection_reuseconn.append(_note_connected)
    return config


class HttpClient:
    """Outgoing HTTP for the connectors; implements `platforms.base.Http`.

    One session with pooled connections, opened by the first request. `timeout_seconds` bounds a whole request,
    from waiting for a connection to the last byte of the answer. Neither follows redirects nor keeps cookies.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, ceil_threshold=math.inf)
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        json: Json = None,
        form: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Response:
        """Send one request and return the answer, its body cut at MAX_ANSWER_BYTES.

        Raises PlatformError NETWORK_ERROR or TIMEOUT_ERROR (spec errors.md 5.1, F6 and F7) with `refused` true when
        no connection was made and nothing can have been sent, and UNKNOWN_ERROR for a header that HTTP cannot carry.
        """
        sent_headers = dict(headers or {})
        if any(character in value for value in sent_headers.values() for character in "\r\n\0"):
            # In practice a token that was pasted with a line break.
            raise PlatformError(ErrorCode.UNKNOWN_ERROR, "The request could not be written: a header is not valid")
        if json is not None:
            body = msgspec.json.encode(json)
            sent_headers.setdefault("Content-Type", "application/json")
        elif form is not None:
            body = urlencode(form).encode()
            sent_headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        if params:
            url = f"{url}{'&' if '?' in url else '?'}{urlencode(params, quote_via=quote, safe='')}"
        return await self._send(method, url, sent_headers, body)

    async def close(self) -> None:
        """Close the pooled connections. The client cannot be used afterwards."""
        if self._session is not None:
            await self._session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=KEEP_ALIVE_SECONDS),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"PostPost/{__version__}"},
                skip_auto_headers=("Content-Type",),
                trace_configs=[_tracing()],
                middlewares=(_send_once,),
            )
        return self._session

    async def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Response:
        progress = _Progress()
        begun = time.perf_counter()
        outcome: int | str = ""
        try:
            async with self._open_session().request(
                method,
                URL(url, encoded=True),
                headers=headers,
                data=body,
                allow_redirects=False,
                trace_request_ctx=progress,
            ) as answer:
                content = await _read(answer)
                outcome = answer.status
                lower = {name.lower(): _clean(value) for name, value in answer.headers.items()}
                return Response(answer.status, lower, content)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The cause is not chained: its text may show the address, and some platforms put a token there.
            outcome = type(error).__name__
            raise _failure(error, nothing_sent=not progress.connected) from None
        finally:
            # No path and no query: on some platforms they hold the token.
            seconds = round(time.perf_counter() - begun, 4)
            _log.debug("http_request", method=method, host=_host(url), outcome=outcome, seconds=seconds)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in answer.content.iter_any():
        content += chunk
        if len(content) >= MAX_ANSWER_BYTES:
            # The rest is not read, so the connection is of no further use.
            answer.close()
            break
    return bytes(content[:MAX_ANSWER_BYTES])


def _clean(value: str) -> str:
    """Return a header's value without the surrogates by which aiohttp passes on bytes that are no UTF-8."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _host(url: str) -> str:
    try:
        return URL(url, encoded=True).host or ""
    except ValueError:
        return ""


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (aiohttp.ClientConnectorDNSError, "its name was not found"),
    (aiohttp.ClientConnectorCertificateError, "its certificate is not valid"),
    (aiohttp.ClientSSLError, "no secure connection could be made"),
    (aiohttp.ClientConnectorError, "the connection was refused"),
    (ValueError, "its address is not valid"),
)
"""Why no connection was made, the special before the general."""


def _failure(error: Exception, *, nothing_sent: bool) -> PlatformError:
    # TimeoutError first: it is an OSError, and aiohttp's own kinds are ClientErrors besides.
    if isinstance(error, TimeoutError):
        return PlatformError(
            ErrorCode.TIMEOUT_ERROR,
            RAW_MESSAGES[ErrorCode.TIMEOUT_ERROR],
            retry=Retry.BACK_OFF,
            refused=nothing_sent,
        )
    message = RAW_MESSAGES[ErrorCode.NETWORK_ERROR]
    reason = next((reason for kind, reason in _REASONS if isinstance(error, kind)), "the connection broke")
    return PlatformError(
        ErrorCode.NETWORK_ERROR,
        f"{message}: {reason}",
        retry=Retry.NEVER if isinstance(error, ValueError) else Retry.BACK_OFF,
        refused=nothing_sent,
    )
