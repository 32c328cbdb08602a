"""The sessions of the Bluesky look-alike: tokens shaped like JWTs, which end, are renewed and name their account."""

import base64
import hashlib
import hmac
import re
from datetime import timedelta

import msgspec

from postpost.sandbox.state import Account
from postpost.sandbox.wire import JSON_TYPE, UNREADABLE, Call, Json, RefusalError, Reply, Token, json_reply

ACCESS_LIFE = timedelta(minutes=120)
REFRESH_LIFE = timedelta(days=90)

REFRESH_GRACE = timedelta(hours=2)
"""How long a used refresh token still yields the same successor."""

ACCESS_SCOPE = "com.atproto.appPass"
REFRESH_SCOPE = "com.atproto.refresh"

_KEY = b"the sandbox keeps no secrets"
_HEADER = {"typ": "at+jwt", "alg": "HS256"}
_APP_PASSWORD = re.compile(r"[a-z0-9]{4}(-[a-z0-9]{4}){3}")
_DID = re.compile(r"did:[a-z]+:[A-Za-z0-9._:%-]{1,200}")
_HANDLE = re.compile(r"(?=.{3,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_NO_TLDS = frozenset({"alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion"})
"""Top-level domains that no handle may have (AT Protocol, handle specification): such handles do not resolve."""


class Claims(msgspec.Struct):
    """What a token says. `number` is its generation; times are Unix seconds."""

    scope: str
    sub: str
    iat: int
    exp: int
    jti: str
    number: int


def error(status: int, name: str, message: str) -> Reply:
    """Return an XRPC error."""
    return json_reply(status, {"error": name, "message": message})


EXPIRED = error(400, "ExpiredToken", "Token has expired")
"""Refuses an expired token: with 400, not 401."""


def refuse(status: int, name: str, message: str) -> RefusalError:
    """Return an XRPC error to be raised."""
    return RefusalError(error(status, name, message))


def username_of(did: str) -> str:
    """Return the handle of an account that was first used by its DID."""
    label = re.sub(r"[^a-z0-9]+", "-", did.split(":", 2)[-1].lower()).strip("-")[:60]
    return f"{label or 'account'}.test"


def resolve(call: Call, identifier: str) -> str | None:
    """Return the DID of a DID or handle, None when there is none.

    A handle that no account has yet belongs to a DID derived from it. Handles under a reserved top-level domain
    such as `.invalid` never resolve.
    """
    if _DID.fullmatch(identifier):
        return identifier
    handle = identifier.lower()
    if not _HANDLE.fullmatch(handle) or handle.rpartition(".")[2] in _NO_TLDS:
        return None
    known = call.platform.usernames.get(handle)
    if known is not None:
        return known
    digest = base64.b32encode(hashlib.sha256(handle.encode()).digest()).decode().lower()
    did = f"did:plc:{digest[:24]}"
    call.platform.rename(call.platform.account(did), handle)
    return did


def create_session(call: Call) -> Reply:
    """Log in with a DID or handle and any app password (com.atproto.server.createSession)."""
    given = read_json(call)
    identifier, password = given.get("identifier"), given.get("password")
    if not isinstance(identifier, str) or not isinstance(password, str):
        return error(400, "InvalidRequest", "Input must have the properties identifier and password")
    did = resolve(call, identifier)
    if did is None or not _APP_PASSWORD.fullmatch(password):
        return error(401, "AuthenticationRequired", "Invalid identifier or password")
    account = call.platform.account(did)
    return json_reply(200, {**_new_pair(call, account), **_identity(account)})


def refresh_session(call: Call) -> Reply:
    """Renew a session (com.atproto.server.refreshSession): for two hours a used token yields the same successor."""
    claims = _read_claims(call, REFRESH_SCOPE)
    account = call.platform.account(claims.sub)
    key = (claims.sub, claims.jti)
    pair = call.platform.memory.recall(key, since=call.now - REFRESH_GRACE)
    if pair is None:
        if call.platform.memory.recall(key, since=call.now - REFRESH_LIFE) is not None:
            raise refuse(400, "ExpiredToken", "Token has been revoked")
        pair = _new_pair(call, account)
        call.platform.memory.keep(key, pair, call.now)
    return json_reply(200, {**pair, **_identity(account)})


def get_session(call: Call) -> Reply:
    """Say who the token belongs to (com.atproto.server.getSession)."""
    return json_reply(200, _identity(call.account))


def read_token(call: Call) -> Token:
    """Read the access token of a call. Raises RefusalError when it is missing, broken or over."""
    claims = _read_claims(call, ACCESS_SCOPE)
    return Token(claims.sub, claims.number)


def read_json(call: Call) -> dict[str, Json]:
    """Return the body, which has to be a JSON object. Raises RefusalError."""
    if call.media_type != JSON_TYPE:
        raise refuse(400, "InvalidRequest", f"Wrong request encoding (Content-Type): {call.media_type or 'none'}")
    try:
        given = msgspec.json.decode(call.body)
    except UNREADABLE as problem:
        raise refuse(400, "InvalidRequest", "The body is not valid JSON") from problem
    if not isinstance(given, dict):
        raise refuse(400, "InvalidRequest", "Input must be an object")
    return given


def _identity(account: Account) -> dict[str, Json]:
    return {
        "did": account.name,
        "handle": account.username,
        "email": "sandbox@postpost.test",
        "emailConfirmed": True,
        "active": True,
    }


def _new_pair(call: Call, account: Account) -> dict[str, Json]:
    number = account.next_generation()
    now = int(call.now.timestamp())
    jti = f"{number}-{call.platform.next_number(0, 10):x}"

    def write(scope: str, life: timedelta) -> str:
        return _sign(Claims(scope, account.name, now, now + int(life.total_seconds()), jti, number))

    return {"accessJwt": write(ACCESS_SCOPE, ACCESS_LIFE), "refreshJwt": write(REFRESH_SCOPE, REFRESH_LIFE)}


def _sign(claims: Claims) -> str:
    signed = f"{_encode(msgspec.json.encode(_HEADER))}.{_encode(msgspec.json.encode(claims))}"
    return f"{signed}.{_signature(signed)}"


def _signature(signed: str) -> str:
    return _encode(hmac.digest(_KEY, signed.encode(), "sha256"))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _read_claims(call: Call, scope: str) -> Claims:
    token = call.bearer
    if token is None:
        raise refuse(401, "AuthMissing", "Authentication Required")
    signed, _, signature = token.rpartition(".")
    if not signed or not hmac.compare_digest(_signature(signed).encode(), signature.encode()):
        raise refuse(400, "InvalidToken", "Token could not be verified")
    payload = signed.partition(".")[2]
    claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=Claims)
    if claims.scope != scope:
        raise refuse(400, "InvalidToken", "Bad token scope")
    if call.now.timestamp() >= claims.exp:
        raise RefusalError(EXPIRED)
    return claims
