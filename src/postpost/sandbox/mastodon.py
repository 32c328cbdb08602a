"""The look-alike of a Mastodon instance: statuses, identity and OAuth tokens of its client API."""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import regex

from postpost.sandbox.mastodon_instance import (
    MAX_CHARACTERS,
    MAX_MEDIA,
    URL_CHARACTERS,
    error,
    invalid,
    issue_token,
    read_fields,
    read_instance,
    read_instance_v1,
    register_app,
    revoke_token,
    string,
)
from postpost.sandbox.state import RATE_LIMIT, Account, StoredPost
from postpost.sandbox.tokens import read_access
from postpost.sandbox.wire import (
    Call,
    Json,
    LookAlike,
    RefusalError,
    Reply,
    Route,
    Routes,
    Token,
    json_reply,
    millis,
    pick,
)

KEY_WINDOW = timedelta(hours=1)
"""How long an Idempotency-Key leads to the status it made (Mastodon, app/services/post_status_service.rb)."""

VISIBILITIES = ("public", "unlisted", "private", "direct")

_URL = regex.compile(r"https?://[^\s<>\"]+[^\s<>\".,;:!?')\]}]")
_REMOTE_MENTION = regex.compile(r"(?<![\w/])(@\w+)@[\w.-]+\w")
_GRAPHEME = regex.compile(r"\X")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]+)*")


@dataclass(frozen=True, slots=True)
class Status:
    """What a status has besides its text."""

    spoiler: str
    visibility: str
    sensitive: bool
    language: str | None


_NOT_FOUND = error(404, "Record not found")


def counted_length(text: str) -> int:
    """Return the length as Mastodon counts it: graphemes, a link as 23, a remote mention without its host."""
    local = _REMOTE_MENTION.sub(r"\1", _URL.sub("x" * URL_CHARACTERS, text))
    return len(local) if local.isascii() and "\r" not in local else len(_GRAPHEME.findall(local))


def create_status(call: Call) -> Reply:
    """Publish a status (Mastodon, POST /api/v1/statuses).

    An Idempotency-Key seen within the hour answers with the status it made, whatever the body says now.
    """
    key = call.header("idempotency-key")
    if key:
        earlier = call.platform.memory.recall((call.account.name, key), since=call.now - KEY_WINDOW)
        known = call.platform.find_post(earlier) if earlier else None
        if known is not None:
            return json_reply(200, _show(call, known))
    given = read_fields(call)
    text, spoiler = string(given, "status"), string(given, "spoiler_text")
    media = _media(call, given)
    if not text.strip() and not media:
        raise invalid("Text can't be blank")
    if counted_length(spoiler + text) > MAX_CHARACTERS:
        raise invalid(f"Text character limit of {MAX_CHARACTERS} exceeded")
    for unsupported in ("scheduled_at", "poll"):
        if given.get(unsupported):
            raise invalid(f"The sandbox takes no {unsupported}")
    reply_to = string(given, "in_reply_to_id") or None
    if reply_to is not None and _visible(call, reply_to, call.account.name) is None:
        return _NOT_FOUND

    post = StoredPost(
        str(call.platform.next_number(0, 16)),
        call.account.name,
        text,
        call.now,
        reply_to=reply_to,
        media=media,
        detail=_read_status(given, spoiler, has_media=bool(media)),
    )
    call.platform.add_post(call.account, post)
    if key:
        call.platform.memory.keep((call.account.name, key), post.id, call.now)
    return json_reply(200, _show(call, post))


def _media(call: Call, given: Mapping[str, Json]) -> tuple[str, ...]:
    ids = given.get("media_ids") or []
    if not isinstance(ids, list):
        raise invalid("media_ids has the wrong type")
    if len(ids) > MAX_MEDIA:
        raise invalid(f"Cannot attach more than {MAX_MEDIA} files")
    media = tuple(str(media_id) for media_id in ids)
    if not call.account.uploads.issuperset(media):
        raise RefusalError(error(422, "Media attachments not found"))
    return media


def _read_status(given: Mapping[str, Json], spoiler: str, *, has_media: bool) -> Status:
    visibility = string(given, "visibility") or "public"
    if visibility not in VISIBILITIES:
        raise invalid("Visibility is not included in the list")
    language = string(given, "language") or None
    if language is not None and not _LANGUAGE.fullmatch(language):
        raise invalid("Language is not a valid language code")
    sensitive = given.get("sensitive") in (True, "true", "1", 1, "on") or (has_media and bool(spoiler))
    return Status(spoiler, visibility, sensitive, language)


def _visible(call: Call, post_id: str, reader: str | None) -> StoredPost | None:
    """Return a status if it exists and the reader, None for a stranger, may see it."""
    post = call.platform.find_post(post_id)
    if post is None or (post.account != reader and post.detail.visibility not in ("public", "unlisted")):
        return None
    return post


def _reader(call: Call) -> str | None:
    """Return the account of a call whose token is optional. Raises RefusalError for a token that is not one of ours."""
    return _read_token(call).account if call.header("authorization") else None


def read_status(call: Call) -> Reply:
    """Show a status (Mastodon, GET /api/v1/statuses/{id})."""
    post = _visible(call, call.params["id"], _reader(call))
    return _NOT_FOUND if post is None else json_reply(200, _show(call, post))


def read_source(call: Call) -> Reply:
    """Show a status's plain text to its author (Mastodon, GET /api/v1/statuses/{id}/source)."""
    post = call.platform.find_post(call.params["id"])
    if post is None or post.account != call.account.name:
        return _NOT_FOUND
    return json_reply(200, {"id": post.id, "text": post.text, "spoiler_text": post.detail.spoiler})


def delete_status(call: Call) -> Reply:
    """Delete an own status and show it for the last time (Mastodon, DELETE /api/v1/statuses/{id})."""
    post = call.platform.find_post(call.params["id"])
    if post is None or post.account != call.account.name:
        return _NOT_FOUND
    call.platform.remove_post(post)
    return json_reply(200, {**_show(call, post), "text": post.text})


def read_statuses(call: Call) -> Reply:
    """List an account's statuses, newest first (Mastodon, GET /api/v1/accounts/{id}/statuses)."""
    reader = _reader(call)
    query = call.query
    try:
        limit = min(pick(query, "limit", 20, range(1, 1001)), 40)
        since_id = int(query.get("since_id", query.get("min_id", 0)))
        max_id = int(query.get("max_id", 2**63))
    except ValueError:
        return error(400, "Invalid parameter")
    account = call.platform.accounts.get(call.params["id"])
    if account is None:
        return json_reply(200, []) if reader == call.params["id"] else _NOT_FOUND
    without_replies = query.get("exclude_replies") in ("true", "1")
    found: list[StoredPost] = []
    for post in account.newest_posts():
        if int(post.id) <= since_id or (len(found) == limit and "min_id" not in query):
            break
        skipped = without_replies and post.reply_to is not None
        if int(post.id) < max_id and not skipped and _visible(call, post.id, reader) is not None:
            found.append(post)
    # since_id asks for the newest statuses, min_id for those right after it.
    shown = found[-limit:] if "min_id" in query else found
    return json_reply(200, [_show(call, post) for post in shown])


def _show(call: Call, post: StoredPost) -> dict[str, Json]:
    account = call.platform.account(post.account)
    status: Status = post.detail
    parent = call.platform.find_post(post.reply_to) if post.reply_to else None
    return {
        "id": post.id,
        "created_at": millis(post.created_at),
        "in_reply_to_id": post.reply_to,
        "in_reply_to_account_id": parent.account if parent else None,
        "sensitive": status.sensitive,
        "spoiler_text": status.spoiler,
        "visibility": status.visibility,
        "language": status.language,
        "uri": f"{call.origin}/users/{account.username}/statuses/{post.id}",
        "url": f"{call.origin}/@{account.username}/{post.id}",
        "replies_count": 0,
        "reblogs_count": 0,
        "favourites_count": 0,
        "edited_at": None,
        "content": content_html(post.text),
        "reblog": None,
        "application": {"name": "PostPost", "website": None},
        "account": _show_account(call, account),
        "media_attachments": [{"id": media, "type": "unknown", "url": None} for media in post.media],
        "mentions": [],
        "tags": [],
        "emojis": [],
        "card": None,
        "poll": None,
    }


def content_html(text: str) -> str:
    """Return a status's text as the HTML of its `content`: paragraphs, line breaks and links."""

    def link(address: str) -> str:
        return f'<a href="{html.escape(address)}" target="_blank" rel="nofollow noopener">{html.escape(address)}</a>'

    parts: list[str] = []
    done = 0
    for found in _URL.finditer(text):
        parts += (html.escape(text[done : found.start()]), link(found.group()))
        done = found.end()
    parts.append(html.escape(text[done:]))
    paragraphs = re.split(r"\n{2,}", "".join(parts).replace("\r\n", "\n"))
    return "".join(f"<p>{paragraph.replace(chr(10), '<br />')}</p>" for paragraph in paragraphs)


def _show_account(call: Call, account: Account) -> dict[str, Json]:
    return {
        "id": account.name,
        "username": account.username,
        "acct": account.username,
        "display_name": f"Sandbox {account.name}",
        "locked": False,
        "bot": False,
        "created_at": "2026-01-01T00:00:00.000Z",
        "note": "",
        "url": f"{call.origin}/@{account.username}",
        "uri": f"{call.origin}/users/{account.username}",
        "avatar": f"{call.origin}/avatars/original/missing.png",
        "avatar_static": f"{call.origin}/avatars/original/missing.png",
        "followers_count": 0,
        "following_count": 0,
        "statuses_count": len(account.posts),
        "emojis": [],
        "fields": [],
    }


def verify_credentials(call: Call) -> Reply:
    """Say who the token belongs to (Mastodon, GET /api/v1/accounts/verify_credentials)."""
    source = {"privacy": "public", "sensitive": False, "language": None, "note": "", "fields": []}
    return json_reply(200, {**_show_account(call, call.account), "source": source})


def _read_token(call: Call) -> Token:
    named = read_access(call.bearer or "")
    if named is None:
        raise RefusalError(_EXPIRED)
    return Token(named.account, named.number)


_EXPIRED = error(401, "The access token is invalid")


def _limits(left: int, reset: datetime) -> Mapping[str, str]:
    moment = reset.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {
        "x-ratelimit-limit": str(RATE_LIMIT),
        "x-ratelimit-remaining": str(left),
        "x-ratelimit-reset": moment,
    }


def _limit_headers(account: Account) -> Mapping[str, str]:
    return _limits(account.calls_left, account.window_ends)


def _rate_limited(call: Call, wait_seconds: float) -> Reply:
    return error(429, "Too many requests").with_headers(_limits(0, call.now + timedelta(seconds=wait_seconds)))


_REJECTED = error(422, "Validation failed: Text is not allowed")


def _plain(_call: Call, status: HTTPStatus) -> Reply:
    messages = {HTTPStatus.SERVICE_UNAVAILABLE: "There was a temporary problem serving your request, please try again"}
    return error(status, messages.get(status, status.phrase))


MASTODON = LookAlike(
    key="mastodon",
    name="Mastodon",
    renews=False,
    routes=Routes(
        Route("POST", "/api/v1/statuses", create_status, publishes=True),
        Route("GET", "/api/v1/statuses/{id}", read_status, needs_token=False),
        Route("DELETE", "/api/v1/statuses/{id}", delete_status),
        Route("GET", "/api/v1/statuses/{id}/source", read_source),
        Route("GET", "/api/v1/accounts/verify_credentials", verify_credentials),
        Route("GET", "/api/v1/accounts/{id}/statuses", read_statuses, needs_token=False),
        Route("GET", "/api/v2/instance", read_instance, needs_token=False),
        Route("GET", "/api/v1/instance", read_instance_v1, needs_token=False),
        Route("POST", "/api/v1/apps", register_app, needs_token=False),
        Route("POST", "/oauth/token", issue_token, needs_token=False),
        Route("POST", "/oauth/revoke", revoke_token, needs_token=False),
    ),
    username=lambda account: re.sub(r"\W", "_", account, flags=re.ASCII),
    read_token=_read_token,
    limit_headers=_limit_headers,
    expired=_EXPIRED,
    rate_limited=_rate_limited,
    rejected=_REJECTED,
    plain=_plain,
)
