"""The tokens of the sandbox's OAuth platforms: readable strings that name the account they act for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from postpost.sandbox.state import PlatformState

MAX_ACCOUNT_CHARACTERS = 200

_NAMED = r"(?P<reader>reader-)?(?P<account>[^\s]+?)"
_ACCESS = re.compile(rf"sandbox-(?!refresh-|code-){_NAMED}(?:\.(?P<number>\d{{1,9}}))?")
_REFRESH = re.compile(rf"sandbox-refresh-{_NAMED}-(?P<number>\d{{1,9}})")
_CODE = re.compile(rf"sandbox-code-{_NAMED}(?P<number>)")


@dataclass(frozen=True, slots=True)
class Named:
    """What a token says: the account, a generation number, and whether it may also read the account's posts."""

    account: str
    number: int
    reader: bool


def read_access(token: str) -> Named | None:
    """Read `sandbox-{account}`, `sandbox-reader-{account}` or either with `.{generation}`; None if it is neither."""
    return _read(_ACCESS, token)


def read_refresh(token: str) -> Named | None:
    """Read `sandbox-refresh-{account}-{number}`; None if it is none."""
    return _read(_REFRESH, token)


def read_code(code: str) -> Named | None:
    """Read the authorization code `sandbox-code-{account}`; None if it is none."""
    return _read(_CODE, code)


def write_access(named: Named) -> str:
    """Return the access token of a generation; generation 0 is the plain one."""
    return f"sandbox-{_name(named)}" + (f".{named.number}" if named.number else "")


def write_refresh(named: Named) -> str:
    """Return the refresh token of a generation."""
    return f"sandbox-refresh-{_name(named)}-{named.number}"


def renew(platform: PlatformState, given: Mapping[str, str]) -> Named | None:
    """Redeem the authorization code or the refresh token of a token call.

    A refresh token works once: its successor is a generation later, and the account refuses earlier ones from then
    on. None when the grant is not one of ours, or used already. Later numbers than the sandbox has handed out are
    taken too: after a restart of the sandbox its clients still hold them.
    """
    if given.get("grant_type") == "authorization_code":
        named = read_code(given.get("code", ""))
    elif given.get("grant_type") == "refresh_token":
        named = read_refresh(given.get("refresh_token", ""))
        if named is not None and named.number < platform.account(named.account).issued:
            return None
    else:
        return None
    if named is None:
        return None
    account = platform.account(named.account)
    account.issued = max(account.issued, named.number)
    return Named(named.account, account.next_generation(), named.reader)


def revoke(platform: PlatformState, token: str) -> None:
    """Kill an access token and its account's earlier ones; any other text is ignored."""
    named = read_access(token)
    if named is not None:
        account = platform.account(named.account)
        account.dead_up_to = max(account.dead_up_to, named.number)


def _read(pattern: re.Pattern[str], token: str) -> Named | None:
    found = pattern.fullmatch(token)
    if found is None:
        return None
    account = unquote(found["account"])
    if not account.isprintable() or len(account) > MAX_ACCOUNT_CHARACTERS:
        return None
    return Named(account, int(found["number"] or 0), bool(found["reader"]))


def _name(named: Named) -> str:
    return ("reader-" if named.reader else "") + quote(named.account, safe="")
