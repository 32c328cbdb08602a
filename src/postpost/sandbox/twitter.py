"""The look-alike of X: posts, timelines, identity and OAuth 2 tokens of its API version 2."""

import hashlib
import math
import re
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Literal, NoReturn

import msgspec
from twitter_text import parse_tweet

from postpost.sandbox.state import RATE_LIMIT, Account, StoredPost
from postpost.sandbox.tokens import read_access, renew, revoke, write_access, write_refresh
from postpost.sandbox.twitter_reads import (
    MAYBE_URL,
    invalid,
    missing,
    problem,
    read_post,
    read_timeline,
    refuse,
    shown_text,
)
from postpost.sandbox.wire import (
    FORM_TYPE,
    JSON_TYPE,
    UNREADABLE,
    Call,
    Json,
    LookAlike,
    RefusalError,
    Reply,
    Route,
    Routes,
    Token,
    json_reply,
)

MAX_WEIGHT = 280
"""Weighted length of a post of an account without a subscription (X, counting characters)."""

DUPLICATE_WINDOW = timedelta(minutes=15)
"""How long the same text is refused as a duplicate. X does not say; people report minutes to hours."""

ACCESS_TOKEN_SECONDS = 7200
EPOCH_MILLISECONDS = 1_288_834_974_657
"""Start of X's time-ordered ids, in Unix milliseconds."""

SCOPES = "tweet.read tweet.write users.read media.write offline.access"
CASHTAG = re.compile(r"(?<!\w)\$[A-Za-z]{1,6}\b")

Id = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,19}$")]


class Media(msgspec.Struct, forbid_unknown_fields=True):
    """The media of a new post."""

    media_ids: Annotated[list[Id], msgspec.Meta(min_length=1, max_length=4)]
    tagged_user_ids: Annotated[list[Id], msgspec.Meta(max_length=10)] = []


class ReplyTo(msgspec.Struct, forbid_unknown_fields=True):
    """What a new post answers."""

    in_reply_to_tweet_id: Id
    exclude_reply_user_ids: list[Id] = []


class Poll(msgspec.Struct, forbid_unknown_fields=True):
    """A poll, which X allows and this look-alike takes without keeping it."""

    options: Annotated[
        list[Annotated[str, msgspec.Meta(min_length=1, max_length=25)]], msgspec.Meta(min_length=2, max_length=4)
    ]
    duration_minutes: Annotated[int, msgspec.Meta(ge=5, le=10_080)]


class NewPost(msgspec.Struct, forbid_unknown_fields=True):
    """The closed body of the create call (OpenAPI 2.167, CreatePostsRequest)."""

    text: str | None = None
    media: Media | None = None
    reply: ReplyTo | None = None
    reply_settings: Literal["following", "mentionedUsers", "subscribers", "verified"] | None = None
    made_with_ai: bool = False
    paid_partnership: bool = False
    quote_tweet_id: Id | None = None
    poll: Poll | None = None


_new_post = msgspec.json.Decoder(NewPost)


def _forbid(detail: str) -> NoReturn:
    raise RefusalError(problem(403, "Forbidden", detail))


def weighted_length(text: str) -> int | None:
    """Return the length as X counts it, or None when the text holds characters that X does not take.

    Plain ASCII without a link weighs its length; everything else goes through twitter-text, which is slow.
    """
    if text.isascii() and not MAYBE_URL.search(text):
        return len(text.replace("\r\n", "\n"))
    parsed = parse_tweet(text)
    if not parsed.valid and parsed.weightedLength <= MAX_WEIGHT:
        return None
    return int(parsed.weightedLength)


def create_post(call: Call) -> Reply:
    """Take a new post (X, POST /2/tweets)."""
    if call.media_type != JSON_TYPE:
        refuse("The Content-Type of the request must be application/json.")
    try:
        new = _new_post.decode(call.body)
    except UNREADABLE as error:
        raise RefusalError(invalid(str(error))) from error
    text = new.text or ""
    media = tuple(new.media.media_ids) if new.media else ()
    _check_text(text, has_media=bool(media))
    if new.quote_tweet_id is not None:
        _forbid("You are not permitted to perform this action.")
    if not call.account.uploads.issuperset(media):
        refuse("Your media IDs are invalid.")
    parent = _check_parent(call, new.reply.in_reply_to_tweet_id) if new.reply else None

    fingerprint = (call.account.name, text, *media)
    if call.platform.memory.recall(fingerprint, since=call.now - DUPLICATE_WINDOW):
        _forbid("You are not allowed to create a Tweet with duplicate content.")
    post_id = str(call.platform.next_number(EPOCH_MILLISECONDS, 22))
    post = StoredPost(
        post_id,
        call.account.name,
        text,
        call.now,
        reply_to=parent.id if parent else None,
        media=media,
        detail=parent.detail if parent else post_id,
    )
    call.platform.add_post(call.account, post)
    call.platform.memory.keep(fingerprint, post_id, call.now)
    data = {"id": post_id, "text": shown_text(post)[0], "edit_history_tweet_ids": [post_id]}
    return json_reply(201, {"data": data})


def _check_text(text: str, *, has_media: bool) -> None:
    if not text.strip() and not has_media:
        refuse("The text of a post must not be blank unless media is attached.")
    weight = weighted_length(text) if text else 0
    if weight is None:
        refuse("The text of your post contains characters that are not allowed.")
    if weight > MAX_WEIGHT:
        refuse("Your Tweet text is too long.")
    if len(CASHTAG.findall(text)) > 1:
        _forbid("Your post contains more than one cashtag, which is not allowed.")


def _check_parent(call: Call, parent_id: str) -> StoredPost:
    parent = call.platform.find_post(parent_id)
    if parent is None:
        _forbid("You attempted to reply to a Tweet that is deleted or not visible to you.")
    if parent.account != call.account.name and f"@{call.account.username}".lower() not in parent.text.lower():
        _forbid(
            "Reply to this conversation is not allowed because you have not been mentioned or otherwise engaged by "
            "the author of the post you are replying to."
        )
    return parent


def delete_post(call: Call) -> Reply:
    """Delete an own post (X, DELETE /2/tweets/{id})."""
    post = call.platform.find_post(call.params["id"])
    if post is None:
        return missing(call.params["id"])
    if post.account != call.account.name:
        _forbid("You are not authorized to delete this Tweet.")
    call.platform.remove_post(post)
    call.platform.memory.forget((post.account, post.text, *post.media))
    return json_reply(200, {"data": {"deleted": True}})


def read_me(call: Call) -> Reply:
    """Say who the token belongs to (X, GET /2/users/me)."""
    account = call.account
    data: dict[str, Json] = {"id": account.name, "name": f"Sandbox {account.name}", "username": account.username}
    optional: dict[str, Json] = {
        "profile_image_url": "https://abs.twimg.com/sticky/default_profile_images/default_profile_normal.png",
        "verified": False,
        "subscription_type": "None",
        "created_at": "2026-01-01T00:00:00.000Z",
    }
    for name in call.query.get("user.fields", "").split(","):
        if name in optional:
            data[name] = optional[name]
    return json_reply(200, {"data": data})


def _authorised_client(call: Call) -> dict[str, str]:
    """Return the form of an OAuth call. Raises RefusalError when no client is named or the body is no form."""
    form = call.form() if call.media_type == FORM_TYPE else {}
    if not (call.header("authorization") or "").startswith("Basic ") and not form.get("client_id"):
        raise RefusalError(_oauth_error(401, "unauthorized_client", "Missing valid authorization header"))
    return form


def _oauth_error(status: int, error: str, description: str) -> Reply:
    return json_reply(status, {"error": error, "error_description": description})


def issue_token(call: Call) -> Reply:
    """Exchange a code or a refresh token (X, POST /2/oauth2/token); each refresh token works once."""
    form = _authorised_client(call)
    if form.get("grant_type") not in ("authorization_code", "refresh_token"):
        return _oauth_error(400, "unsupported_grant_type", "Value passed for the grant type was invalid.")
    if form["grant_type"] == "authorization_code" and not (form.get("redirect_uri") and form.get("code_verifier")):
        return _oauth_error(400, "invalid_request", "Missing required parameter [code_verifier] or [redirect_uri].")
    named = renew(call.platform, form)
    if named is None:
        return _oauth_error(400, "invalid_request", "Value passed for the token was invalid.")
    data = {
        "token_type": "bearer",
        "expires_in": ACCESS_TOKEN_SECONDS,
        "access_token": write_access(named),
        "scope": SCOPES,
        "refresh_token": write_refresh(named),
    }
    return json_reply(200, data)


def revoke_token(call: Call) -> Reply:
    """Kill an access token and all before it (X, POST /2/oauth2/revoke)."""
    revoke(call.platform, _authorised_client(call).get("token", ""))
    return json_reply(200, {"revoked": True})


def _read_token(call: Call) -> Token:
    named = read_access(call.bearer or "")
    if named is None:
        raise RefusalError(_UNAUTHORIZED)
    return Token(named.account, named.number)


def _username(account: str) -> str:
    """Handles have at most 15 letters, digits and underscores, so longer account names are hashed."""
    if re.fullmatch(r"\w{1,10}", account, re.ASCII):
        return f"user_{account}"
    return f"user_{hashlib.sha256(account.encode()).hexdigest()[:10]}"


def _limit_headers(account: Account) -> Mapping[str, str]:
    return {
        "x-rate-limit-limit": str(RATE_LIMIT),
        "x-rate-limit-remaining": str(account.calls_left),
        "x-rate-limit-reset": str(math.ceil(account.window_ends.timestamp())),
    }


_UNAUTHORIZED = problem(401, "Unauthorized", "Unauthorized")
"""X does not tell a missing token from an expired one."""


def _rate_limited(call: Call, wait_seconds: float) -> Reply:
    reset = math.ceil(call.now.timestamp() + wait_seconds)
    headers = {"x-rate-limit-limit": str(RATE_LIMIT), "x-rate-limit-remaining": "0", "x-rate-limit-reset": str(reset)}
    return problem(429, "Too Many Requests", "Too Many Requests").with_headers(headers)


_REJECTED = problem(403, "Forbidden", "You are not permitted to perform this action.")


def _plain(_call: Call, status: HTTPStatus) -> Reply:
    return problem(status, status.phrase, status.phrase)


TWITTER = LookAlike(
    key="twitter",
    name="X",
    renews=True,
    routes=Routes(
        Route("POST", "/2/tweets", create_post, publishes=True),
        Route("GET", "/2/tweets/{id}", read_post),
        Route("DELETE", "/2/tweets/{id}", delete_post),
        Route("GET", "/2/users/me", read_me),
        Route("GET", "/2/users/{id}/tweets", read_timeline),
        Route("POST", "/2/oauth2/token", issue_token, needs_token=False),
        Route("POST", "/2/oauth2/revoke", revoke_token, needs_token=False),
    ),
    username=_username,
    read_token=_read_token,
    limit_headers=_limit_headers,
    expired=_UNAUTHORIZED,
    rate_limited=_rate_limited,
    rejected=_REJECTED,
    plain=_plain,
)
