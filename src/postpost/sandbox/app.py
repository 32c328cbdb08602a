"""The sandbox as an ASGI application: finds the platform's call, checks its token, and applies the account's faults."""

from http import HTTPStatus
from typing import assert_never
from urllib.parse import unquote

from postpost.sandbox.bluesky import BLUESKY
from postpost.sandbox.connection import (
    ClientGoneError,
    Receive,
    Scope,
    Send,
    TooLargeError,
    drop,
    encoded_path,
    read_body,
    send_reply,
    wait_while_connected,
)
from postpost.sandbox.control import MAX_CONTROL_BYTES, Control
from postpost.sandbox.faults import Fault, Kind
from postpost.sandbox.linkedin import LINKEDIN
from postpost.sandbox.mastodon import MASTODON
from postpost.sandbox.state import Clock, State, utc_now
from postpost.sandbox.twitter import TWITTER
from postpost.sandbox.wire import Call, LookAlike, RefusalError, Reply, Route, json_reply

PLATFORMS: tuple[LookAlike, ...] = (TWITTER, LINKEDIN, BLUESKY, MASTODON)
"""Every look-alike; each is served below `/{key}`."""

CONTROL_ROOT = "_sandbox"

_DROPPED = Reply(0)
"""Stands for no answer: the connection is closed instead."""


class Sandbox:
    """The application. Its state lives as long as it does."""

    def __init__(self, clock: Clock, *, allow_remote: bool) -> None:
        self._platforms = {platform.key: platform for platform in PLATFORMS}
        self._state = State({platform.key: platform.username for platform in PLATFORMS}, clock)
        self._control = Control(self._state, self._platforms, allow_remote=allow_remote)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI has it."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            try:
                reply = await self._answer(scope, receive)
            except ClientGoneError:
                return
            if reply is _DROPPED:
                await drop(receive, send)
            else:
                await send_reply(send, reply)

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        root, _, rest = encoded_path(scope).removeprefix("/").partition("/")
        platform = self._platforms.get(root)
        if platform is not None:
            return await self._call(platform, f"/{rest}", scope, receive)
        if root == CONTROL_ROOT:
            try:
                body = await read_body(scope, receive, MAX_CONTROL_BYTES)
            except TooLargeError:
                return json_reply(413, {"error": "the body is too large"})
            return self._control.answer(scope, [unquote(segment) for segment in rest.split("/")], body)
        if not root:
            return Reply(303, headers={"location": f"/{CONTROL_ROOT}/"})
        return json_reply(404, {"error": f"the sandbox has no platform {unquote(root)}"})

    async def _call(self, platform: LookAlike, path: str, scope: Scope, receive: Receive) -> Reply:
        routes, params = platform.routes.find(path)
        call = Call(scope, path, params, self._state.platforms[platform.key])
        if not routes:
            return platform.plain(call, HTTPStatus.NOT_FOUND)
        route = routes.get(call.method)
        if route is None:
            return platform.plain(call, HTTPStatus.METHOD_NOT_ALLOWED).with_headers({"allow": ", ".join(routes)})
        try:
            call.body = await read_body(scope, receive, route.max_body_bytes)
        except TooLargeError:
            return platform.plain(call, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if not route.needs_token:
            return _handle(route, call)
        refusal = _authorise(platform, call)
        if refusal is not None:
            return refusal
        fault = call.account.faults.strike_publishing() if route.publishes and call.account.faults else None
        reply = _handle(route, call) if fault is None else await _misbehave(platform, route, call, fault, receive)
        if reply is _DROPPED or reply.status == HTTPStatus.TOO_MANY_REQUESTS:
            return reply
        return reply.with_headers(platform.limit_headers(call.account))


def _authorise(platform: LookAlike, call: Call) -> Reply | None:
    """Set the call's account, or return the refusal of its token, or of one call too many."""
    try:
        token = platform.read_token(call)
    except RefusalError as refusal:
        return refusal.reply
    account = call.platform.account(token.account)
    if token.generation <= account.dead_up_to:
        return platform.expired
    if account.faults and account.faults.strike_token():
        if platform.renews:
            account.dead_up_to = token.generation
        return platform.expired
    if not account.count_call(call.now):
        return platform.rate_limited(call, (account.window_ends - call.now).total_seconds())
    call.account, call.scopes = account, token.scopes
    return None


def _handle(route: Route, call: Call) -> Reply:
    try:
        return route.handler(call)
    except RefusalError as refusal:
        return refusal.reply


async def _misbehave(platform: LookAlike, route: Route, call: Call, fault: Fault, receive: Receive) -> Reply:
    """Do what the fault says. A call that is refused on its own account is answered even where it would be dropped."""
    match fault.kind:
        case Kind.RATE_LIMITED:
            return platform.rate_limited(call, fault.retry_after)
        case Kind.SERVER_ERROR:
            return platform.plain(call, HTTPStatus.SERVICE_UNAVAILABLE)
        case Kind.REJECT:
            return platform.rejected
        case Kind.RESET_BEFORE_ACCEPT:
            return _DROPPED
        case Kind.RESET_AFTER_ACCEPT:
            reply = _handle(route, call)
            return reply if reply.status >= HTTPStatus.BAD_REQUEST else _DROPPED
        case Kind.TIMEOUT:
            await wait_while_connected(receive, fault.delay_seconds)
            return _DROPPED
        case Kind.SLOW:
            # The post is made even when the client gives up meanwhile, as a slow server would make it.
            await call.wait(fault.delay_seconds)
            return _handle(route, call)
        case Kind.SLOW_AFTER_ACCEPT:
            reply = _handle(route, call)
            await call.wait(fault.delay_seconds)
            return reply
        case Kind.AUTH_EXPIRED:
            raise ValueError("an expired token is found before a call is handled")
        case _:
            assert_never(fault.kind)


async def _live(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


def create_app(*, clock: Clock = utc_now, allow_remote: bool = False) -> Sandbox:
    """Return a new, empty sandbox to be served by uvicorn.

    `clock` gives the time of posts, tokens and windows. The pages and the control calls below `/_sandbox/` answer
    clients on this machine only, unless `allow_remote`.
    """
    return Sandbox(clock, allow_remote=allow_remote)
