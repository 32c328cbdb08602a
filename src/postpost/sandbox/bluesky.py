"""The look-alike of a Bluesky personal data server: records of posts under keys the client chooses."""

import base64
import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import msgspec

from postpost.sandbox.bluesky_records import COLLECTION, BlobNotFoundError, RecordError, check_record
from postpost.sandbox.bluesky_sessions import (
    EXPIRED,
    create_session,
    error,
    get_session,
    read_json,
    read_token,
    refresh_session,
    refuse,
    resolve,
    username_of,
)
from postpost.sandbox.state import RATE_LIMIT, RATE_WINDOW, Account, StoredPost
from postpost.sandbox.wire import Call, Json, LookAlike, Reply, Route, Routes, json_reply, pick

_TID_DIGITS = "234567abcdefghijklmnopqrstuvwxyz"
_TID = re.compile(rf"[{_TID_DIGITS[:16]}][{_TID_DIGITS}]{{12}}")
_CID_PREFIX = bytes((1, 0x71, 0x12, 0x20))
"""CID version 1, DAG-CBOR, SHA-256 with 32 bytes."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was written, and the identifier of its content."""

    key: str
    cid: str
    value: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Write:
    """A checked write: the key the client chose, if any, and what to write."""

    given: Mapping[str, Json]
    record: Mapping[str, Json]
    blobs: tuple[str, ...]
    cid: str


def content_id(record: Json) -> str:
    """Return an identifier in the shape of a CID: the same content has the same one, whatever the order of its keys."""
    digest = hashlib.sha256(msgspec.json.encode(record, order="deterministic")).digest()
    return "b" + base64.b32encode(_CID_PREFIX + digest).decode().lower().rstrip("=")


def timestamp_id(number: int) -> str:
    """Return a record key for a number of 63 bits, in the sortable base 32 of timestamp identifiers."""
    return "".join(_TID_DIGITS[number >> shift & 31] for shift in range(60, -1, -5))


def _next_tid(call: Call) -> str:
    return timestamp_id(call.platform.next_number(0, 10) * 1000)


def put_record(call: Call) -> Reply:
    """Write a record under a key (com.atproto.repo.putRecord).

    `swapRecord` null means "only if there is none", a CID "only if it is that one"; without it a record is
    overwritten. Writing what is there already succeeds and changes nothing, whatever `swapRecord` says.
    """
    write = _read_write(call)
    key = write.given.get("rkey")
    if not isinstance(key, str):
        return error(400, "InvalidRequest", 'Input must have the property "rkey"')
    _check_key(key)
    uri = _uri(call.account.name, key)
    current = call.platform.find_post(uri)
    held = current.detail.cid if current is not None else None
    if held == write.cid:
        return json_reply(200, {"uri": uri, "cid": held, "validationStatus": "valid"})
    if "swapRecord" in write.given and write.given["swapRecord"] != held:
        return error(400, "InvalidSwap", f"Record was at {held}")
    return _store(call, key, write)


def create_record(call: Call) -> Reply:
    """Write a new record (com.atproto.repo.createRecord). A key in use is a server error, as the real one has it."""
    write = _read_write(call)
    key = write.given.get("rkey")
    if key is None:
        key = _next_tid(call)
    _check_key(key)
    if call.platform.find_post(_uri(call.account.name, key)) is not None:
        return error(500, "InternalServerError", "Internal Server Error")
    return _store(call, key, write)


def _read_write(call: Call) -> Write:
    """Read and check the input of a write. Raises RefusalError."""
    given = read_json(call)
    for name in ("repo", "collection"):
        if not isinstance(given.get(name), str):
            raise refuse(400, "InvalidRequest", f'Input must have the property "{name}"')
    if given["repo"] not in (call.account.name, call.account.username):
        raise refuse(401, "AuthenticationRequired", "Authentication Required")
    if given["collection"] != COLLECTION:
        raise refuse(400, "InvalidRequest", f"Lexicon not found: lex:{given['collection']}")
    record: Json = given.get("record")
    try:
        blobs = check_record(record, call.account.uploads)
    except RecordError as problem:
        raise refuse(400, "InvalidRequest", f"Invalid {COLLECTION} record: {problem}") from problem
    except BlobNotFoundError as problem:
        raise refuse(400, "BlobNotFound", f"Could not find blob: {problem}") from problem
    return Write(given, record, blobs, content_id(record))


def _check_key(key: Json) -> None:
    if not isinstance(key, str) or not _TID.fullmatch(key):
        raise refuse(400, "InvalidRequest", f"Invalid record key: {COLLECTION} needs a TID")


def _uri(did: str, key: str) -> str:
    return f"at://{did}/{COLLECTION}/{key}"


def _store(call: Call, key: str, write: Write) -> Reply:
    uri = _uri(call.account.name, key)
    record = write.record
    post = StoredPost(
        uri,
        call.account.name,
        record["text"],
        call.now,
        reply_to=record["reply"]["parent"]["uri"] if "reply" in record else None,
        media=write.blobs,
        detail=Record(key, write.cid, record),
    )
    call.platform.add_post(call.account, post)
    return json_reply(200, {"uri": uri, "cid": write.cid, "commit": _commit(call), "validationStatus": "valid"})


def _commit(call: Call) -> dict[str, Json]:
    revision = _next_tid(call)
    return {"cid": content_id([call.account.name, revision]), "rev": revision}


def delete_record(call: Call) -> Reply:
    """Delete a record; a repeat succeeds too (com.atproto.repo.deleteRecord)."""
    given = read_json(call)
    if given.get("repo") not in (call.account.name, call.account.username):
        return error(401, "AuthenticationRequired", "Authentication Required")
    if not isinstance(given.get("collection"), str) or not isinstance(given.get("rkey"), str):
        return error(400, "InvalidRequest", "Input must have the properties collection and rkey")
    post = call.platform.find_post(f"at://{call.account.name}/{given['collection']}/{given['rkey']}")
    if post is None:
        return json_reply(200, {})
    call.platform.remove_post(post)
    return json_reply(200, {"commit": _commit(call)})


def _repository(call: Call) -> str:
    """Return the DID whose repository a public read asks for. Raises RefusalError."""
    for name in ("repo", "collection"):
        if not call.query.get(name):
            raise refuse(400, "InvalidRequest", f'Params must have the property "{name}"')
    did = resolve(call, call.query["repo"])
    if did is None:
        raise refuse(400, "InvalidRequest", f"Could not find repo: {call.query['repo']}")
    return did


def _show(post: StoredPost) -> dict[str, Json]:
    return {"uri": post.id, "cid": post.detail.cid, "value": post.detail.value}


def get_record(call: Call) -> Reply:
    """Show a record to anyone (com.atproto.repo.getRecord)."""
    uri = f"at://{_repository(call)}/{call.query['collection']}/{call.query.get('rkey', '')}"
    post = call.platform.find_post(uri)
    if post is None or call.query.get("cid", post.detail.cid) != post.detail.cid:
        return error(400, "RecordNotFound", f"Could not locate record: {uri}")
    return json_reply(200, _show(post))


def list_records(call: Call) -> Reply:
    """List a repository's posts by key, the latest first unless reversed (com.atproto.repo.listRecords)."""
    did = _repository(call)
    try:
        limit = pick(call.query, "limit", 50, range(1, 101))
    except ValueError as problem:
        return error(400, "InvalidRequest", str(problem))
    upwards = call.query.get("reverse") == "true"
    posts = call.platform.account(did).posts.values() if call.query["collection"] == COLLECTION else ()
    ordered = sorted(posts, key=lambda post: str(post.detail.key), reverse=not upwards)
    if cursor := call.query.get("cursor"):
        ordered = [post for post in ordered if (post.detail.key > cursor if upwards else post.detail.key < cursor)]
    shown = ordered[:limit]
    answer: dict[str, Json] = {"records": [_show(post) for post in shown]}
    if shown:
        answer["cursor"] = shown[-1].detail.key
    return json_reply(200, answer)


def resolve_handle(call: Call) -> Reply:
    """Return the DID of a handle (com.atproto.identity.resolveHandle)."""
    did = resolve(call, call.query.get("handle", ""))
    if did is None:
        return error(400, "HandleNotFound", "Unable to resolve handle")
    return json_reply(200, {"did": did})


def describe_server(_call: Call) -> Reply:
    """Describe the server (com.atproto.server.describeServer)."""
    answer = {"did": "did:web:sandbox.test", "availableUserDomains": [".test"], "inviteCodeRequired": False}
    return json_reply(200, answer)


def _limit_headers(account: Account) -> Mapping[str, str]:
    return {
        "ratelimit-limit": str(RATE_LIMIT),
        "ratelimit-remaining": str(account.calls_left),
        "ratelimit-reset": str(math.ceil(account.window_ends.timestamp())),
        "ratelimit-policy": f"{RATE_LIMIT};w={int(RATE_WINDOW.total_seconds())}",
    }


def _rate_limited(call: Call, wait_seconds: float) -> Reply:
    headers = {
        "ratelimit-limit": str(RATE_LIMIT),
        "ratelimit-remaining": "0",
        "ratelimit-reset": str(math.ceil(call.now.timestamp() + wait_seconds)),
        "ratelimit-policy": f"{RATE_LIMIT};w={int(RATE_WINDOW.total_seconds())}",
        "retry-after": str(math.ceil(wait_seconds)),
    }
    return error(429, "RateLimitExceeded", "Rate Limit Exceeded").with_headers(headers)


_REJECTED = error(400, "InvalidRequest", f"Invalid {COLLECTION} record: content is not allowed")


def _plain(call: Call, status: HTTPStatus) -> Reply:
    """Answer as the XRPC layer does: an unknown method is 501, a wrong HTTP method 400."""
    if status is HTTPStatus.NOT_FOUND and call.path.startswith("/xrpc/app.bsky."):
        return error(400, "InvalidRequest", f"No service configured for {call.path.removeprefix('/xrpc/')}")
    if status is HTTPStatus.NOT_FOUND and call.path.startswith("/xrpc/"):
        return error(501, "MethodNotImplemented", "Method Not Implemented")
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        return error(400, "InvalidRequest", f"Incorrect HTTP method ({call.method})")
    if status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return error(413, "PayloadTooLargeError", "request entity too large")
    name = {HTTPStatus.NOT_FOUND: "NotFound", HTTPStatus.SERVICE_UNAVAILABLE: "UpstreamFailure"}[status]
    return error(status, name, status.phrase)


BLUESKY = LookAlike(
    key="bluesky",
    name="Bluesky",
    renews=True,
    routes=Routes(
        Route("POST", "/xrpc/com.atproto.repo.putRecord", put_record, publishes=True),
        Route("POST", "/xrpc/com.atproto.repo.createRecord", create_record, publishes=True),
        Route("POST", "/xrpc/com.atproto.repo.deleteRecord", delete_record),
        Route("GET", "/xrpc/com.atproto.repo.getRecord", get_record, needs_token=False),
        Route("GET", "/xrpc/com.atproto.repo.listRecords", list_records, needs_token=False),
        Route("GET", "/xrpc/com.atproto.identity.resolveHandle", resolve_handle, needs_token=False),
        Route("POST", "/xrpc/com.atproto.server.createSession", create_session, needs_token=False),
        Route("POST", "/xrpc/com.atproto.server.refreshSession", refresh_session, needs_token=False),
        Route("GET", "/xrpc/com.atproto.server.getSession", get_session),
        Route("GET", "/xrpc/com.atproto.server.describeServer", describe_server, needs_token=False),
    ),
    username=username_of,
    read_token=read_token,
    limit_headers=_limit_headers,
    expired=EXPIRED,
    rate_limited=_rate_limited,
    rejected=_REJECTED,
    plain=_plain,
)
