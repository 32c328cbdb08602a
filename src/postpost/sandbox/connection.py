"""The client's end of a call, at the level of ASGI: reading a body, answering, and breaking the connection."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

from postpost.sandbox.wire import Reply

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete."""


class TooLargeError(Exception):
    """The body is over the limit."""


def encoded_path(scope: Scope) -> str:
    """Return the request's path as the client sent it, so that encoded slashes stay apart from real ones."""
    raw: bytes | None = scope.get("raw_path")
    return raw.decode("latin-1") if raw else quote(scope["path"])


async def read_body(scope: Scope, receive: Receive, limit_bytes: int) -> bytes:
    """Return the whole body. Raises TooLargeError and ClientGoneError."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit_bytes:
            raise TooLargeError
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
        if len(body) > limit_bytes:
            raise TooLargeError
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    return body


async def send_reply(send: Send, reply: Reply) -> None:
    """Answer the client."""
    headers = [(b"content-length", b"%d" % len(reply.body))]
    if reply.body:
        headers.append((b"content-type", reply.content_type.encode("latin-1")))
    headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def wait_while_connected(receive: Receive, seconds: float) -> None:
    """Hold the connection for some time, or until the client gives up."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await _closed(receive)


async def drop(receive: Receive, send: Send) -> None:
    """Close the client's connection without an answer.

    ASGI has no word for it. uvicorn's `send` belongs to an object that knows the transport; once that is closed,
    uvicorn takes the call as ended by the client and does not complain of the missing answer.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionAbortedError("the sandbox can break connections only when uvicorn serves it, unwrapped")
    transport.abort()
    await _closed(receive)


async def _closed(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
