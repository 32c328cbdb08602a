"""The sandbox's own calls below `/_sandbox/`: faults, what was posted, and the pages."""

import ipaddress
from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from postpost.sandbox import pages
from postpost.sandbox.faults import MAX_PENDING, Fault
from postpost.sandbox.state import LONG_AGO, Account, PlatformState, State, StoredPost
from postpost.sandbox.tokens import MAX_ACCOUNT_CHARACTERS
from postpost.sandbox.wire import UNREADABLE, Json, LookAlike, Reply, json_reply, millis

MAX_CONTROL_BYTES = 10_000

_fault = msgspec.json.Decoder(Fault)


def show_post(post: StoredPost) -> dict[str, Json]:
    """Return a post as the control call shows it."""
    return {
        "id": post.id,
        "text": post.text,
        "replyTo": post.reply_to,
        "media": list(post.media),
        "createdAt": millis(post.created_at),
    }


def show_fault(fault: Fault) -> dict[str, Json]:
    """Return a fault with the times it has left; times in seconds."""
    return {
        "kind": fault.kind,
        "times": fault.times,
        "retryAfter": fault.retry_after,
        "delay": fault.delay_seconds,
    }


def _error(status: int, message: str) -> Reply:
    return json_reply(status, {"error": message})


def _is_local(scope: MutableMapping[str, Any]) -> bool:
    """Whether the client is on this machine; a client without an address came through a local socket."""
    client = scope.get("client")
    if client is None:
        return True
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _is_foreign_page(scope: MutableMapping[str, Any]) -> bool:
    """Whether a browser sends this for a page of another site."""
    headers = dict(scope["headers"])
    origin = headers.get(b"origin")
    return origin is not None and urlsplit(origin.decode("latin-1")).netloc != headers.get(b"host", b"").decode(
        "latin-1"
    )


class Control:
    """Answers the calls below `/_sandbox/`."""

    def __init__(self, state: State, platforms: Mapping[str, LookAlike], *, allow_remote: bool) -> None:
        self._state = state
        self._platforms = platforms
        self._allow_remote = allow_remote

    def answer(self, scope: MutableMapping[str, Any], path: list[str], body: bytes) -> Reply:
        """Answer a call whose decoded path below `/_sandbox/` has these segments."""
        if not self._allow_remote and not _is_local(scope):
            return _error(403, "the sandbox's control calls and pages answer only clients on the same machine")
        method: str = scope["method"]
        if method != "GET" and _is_foreign_page(scope):
            return _error(403, "pages of other sites may not control the sandbox")
        if path == [""]:
            return self._only_get(method) or pages.show_index(self._state, self._platforms)
        if path == ["style.css"]:
            return self._only_get(method) or pages.STYLE
        if path[-1] == "":
            path = path[:-1]
        platform = self._platforms.get(path[0])
        if platform is None:
            return _error(404, f"the sandbox has no platform {path[0]}")
        state = self._state.platforms[platform.key]
        if len(path) == 1:
            return self._only_get(method) or pages.show_platform(self._state, platform)
        if not path[1].isprintable() or not 0 < len(path[1]) <= MAX_ACCOUNT_CHARACTERS:
            return _error(400, f"an account has 1 to {MAX_ACCOUNT_CHARACTERS} printable characters")
        return self._answer_account(method, platform, state, path[1], path[2:], body)

    def _answer_account(
        self, method: str, platform: LookAlike, state: PlatformState, name: str, rest: list[str], body: bytes
    ) -> Reply:
        account = state.accounts.get(name)
        if not rest:
            return self._only_get(method) or pages.show_account(platform, account or Account(name, name))
        if rest == ["posts"]:
            posts = account.posts.values() if account else ()
            return self._only_get(method) or json_reply(200, [show_post(post) for post in posts])
        if rest != ["faults"]:
            return _error(404, "there is no such control call")
        if method == "GET":
            return json_reply(200, [show_fault(fault) for fault in account.faults.waiting()] if account else [])
        if method == "POST":
            return self._add_fault(state.account(name), body)
        if method == "DELETE":
            if account is not None:
                account.faults.clear()
                account.dead_up_to = -1
                account.window_ends = LONG_AGO
            return Reply(204)
        return _error(405, "faults take GET, POST and DELETE").with_headers({"allow": "GET, POST, DELETE"})

    @staticmethod
    def _add_fault(account: Account, body: bytes) -> Reply:
        try:
            fault = _fault.decode(body)
        except UNREADABLE as error:
            return _error(400, str(error))
        if not account.faults.add(fault):
            return _error(400, f"{MAX_PENDING} faults are waiting already")
        return json_reply(201, show_fault(fault))

    @staticmethod
    def _only_get(method: str) -> Reply | None:
        return None if method == "GET" else _error(405, "only GET here").with_headers({"allow": "GET"})
