"""The look-alike of LinkedIn: member posts, identity and OAuth tokens of its versioned REST API."""

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Literal, NoReturn

import msgspec

from postpost.sandbox.little_text import read_little_text
from postpost.sandbox.state import Account, StoredPost
from postpost.sandbox.tokens import read_access, renew, write_access, write_refresh
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
    pick,
)

MAX_CHARACTERS = 3000
"""Length of a post's text without escapes and templates (LinkedIn, Posts API, commentary)."""

DUPLICATE_WINDOW = timedelta(minutes=10)
"""How long the same text of the same author is refused (LinkedIn, UGC Posts API)."""

OLDEST_VERSION = 202512
"""Oldest API version that still answers: 202511 was sunset on 2026-11-16."""

ACCESS_TOKEN_SECONDS = 5_184_000
REFRESH_TOKEN_SECONDS = 31_536_000

WRITE_SCOPES = frozenset({"w_member_social", "openid", "profile"})
READ_SCOPE = "r_member_social"

_VERSION = re.compile(r"\d{4}(0[1-9]|1[0-2])")


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A body in which LinkedIn takes no field it does not know."""


class Distribution(Strict, rename="camel"):
    """Where a post is shown."""

    feed_distribution: Literal["MAIN_FEED", "NONE"]
    target_entities: list[Json] = []
    third_party_distribution_channels: list[Json] = []


class OneMedium(Strict, rename="camel"):
    """One image or video."""

    id: str
    title: str | None = None
    alt_text: Annotated[str, msgspec.Meta(max_length=4086)] | None = None


class Images(Strict, rename="camel"):
    """Several images."""

    images: Annotated[list[OneMedium], msgspec.Meta(min_length=2, max_length=20)]
    alt_text: str | None = None


class Article(Strict, rename="camel"):
    """A link card."""

    source: str
    title: str
    description: str | None = None
    thumbnail: str | None = None


class Content(Strict, rename="camel"):
    """What a post carries besides its text: at most one of these."""

    media: OneMedium | None = None
    multi_image: Images | None = None
    article: Article | None = None

    def media_ids(self) -> tuple[str, ...]:
        """Return the URNs of the uploads the post names."""
        single = (self.media.id,) if self.media else ()
        several = tuple(image.id for image in self.multi_image.images) if self.multi_image else ()
        thumbnail = (self.article.thumbnail,) if self.article and self.article.thumbnail else ()
        return single + several + thumbnail


class NewPost(Strict, rename="camel"):
    """The body of the create call (LinkedIn, Posts API)."""

    author: str
    commentary: str
    visibility: Literal["PUBLIC", "CONNECTIONS", "LOGGED_IN"]
    distribution: Distribution
    lifecycle_state: Literal["PUBLISHED"]
    is_reshare_disabled_by_author: bool = False
    content: Content | None = None


_new_post = msgspec.json.Decoder(NewPost)


def _error(status: int, code: str, message: str, service_error_code: int | None = None) -> Reply:
    data: dict[str, Json] = {"status": status, "code": code, "message": message}
    if service_error_code is not None:
        data["serviceErrorCode"] = service_error_code
    return json_reply(status, data)


def _input_error(status: int, code: str, message: str, field: str) -> Reply:
    data = {
        "errorDetailType": "com.linkedin.common.error.BadRequest",
        "message": message,
        "errorDetails": {
            "inputErrors": [{"description": message, "code": code, "input": {"inputPath": {"fieldPath": field}}}]
        },
        "status": status,
    }
    return json_reply(status, data)


def _refuse(code: str, message: str, field: str) -> NoReturn:
    raise RefusalError(_input_error(422, code, message, field))


def _deny(message: str) -> NoReturn:
    raise RefusalError(_error(403, "ACCESS_DENIED", message, 100))


def _check_headers(call: Call) -> None:
    """Check what every /rest/ call carries. Raises RefusalError."""
    version = call.header("linkedin-version")
    if version is None:
        raise RefusalError(
            _error(
                400,
                "VERSION_MISSING",
                "A version must be present. Please specify a version by adding the LinkedIn-Version header.",
            )
        )
    if not _VERSION.fullmatch(version):
        raise RefusalError(_error(400, "INVALID_VERSION", f"Requested version {version} is not in the format YYYYMM"))
    if int(version) < OLDEST_VERSION:
        raise RefusalError(_error(426, "NONEXISTENT_VERSION", f"Requested version {version} is not active"))
    if call.header("x-restli-protocol-version") != "2.0.0":
        raise RefusalError(_error(400, "INVALID_PROTOCOL_VERSION", "X-Restli-Protocol-Version must be 2.0.0"))


def author_urn(account: str) -> str:
    """Return the URN under which an account writes."""
    return f"urn:li:person:{account}"


def create_post(call: Call) -> Reply:
    """Take a new post (LinkedIn, POST /rest/posts); its URN goes back in a header."""
    _check_headers(call)
    if call.media_type != JSON_TYPE:
        raise RefusalError(_error(415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type must be application/json"))
    new = _decode(call)
    if new.author != author_urn(call.account.name):
        _deny(f"Not enough permissions to act for {new.author}")
    text = read_little_text(new.commentary)
    if len(text.plain) > MAX_CHARACTERS:
        _refuse(
            "FIELD_LENGTH_TOO_LONG", f"Field length exceeds the maximum of {MAX_CHARACTERS} characters", "/commentary"
        )
    media = new.content.media_ids() if new.content else ()
    if not new.commentary.strip() and not media:
        _refuse("MISSING_REQUIRED_FIELD_FOR_DSC", "A post needs a commentary or content", "/commentary")
    for urn in media:
        if urn not in call.account.uploads:
            _refuse("INVALID_URN_ID", f"{urn} does not name an upload of the author", "/content")

    fingerprint = (call.account.name, new.commentary)
    earlier = call.platform.memory.recall(fingerprint, since=call.now - DUPLICATE_WINDOW)
    if earlier:
        _refuse("DUPLICATE_POST", f"Content is a duplicate of {earlier}", "/commentary")
    urn = f"urn:li:share:{call.platform.next_number(0, 22)}"
    detail = msgspec.structs.replace(new, commentary=new.commentary[: text.end])
    call.platform.add_post(
        call.account, StoredPost(urn, call.account.name, text.plain, call.now, media=media, detail=detail)
    )
    call.platform.memory.keep(fingerprint, urn, call.now)
    return Reply(201, headers={"x-restli-id": urn})


def _decode(call: Call) -> NewPost:
    try:
        new = _new_post.decode(call.body)
    except UNREADABLE as error:
        if isinstance(error, msgspec.ValidationError):
            message, _, path = str(error).partition(" - at ")
            field = path.strip("`").replace("$", "").replace(".", "/") or "/"
            raise RefusalError(
                _input_error(422, "INVALID_VALUE_FOR_FIELD", f"ERROR :: {field} :: {message}", field)
            ) from error
        raise RefusalError(_error(400, "BAD_REQUEST", "The request body is not valid JSON")) from error
    content = new.content
    if content and sum(part is not None for part in (content.media, content.multi_image, content.article)) != 1:
        _refuse("INVALID_VALUE_FOR_FIELD", "ERROR :: /content :: exactly one kind of content is needed", "/content")
    return new


def _may_read(call: Call) -> None:
    if READ_SCOPE not in call.scopes:
        _deny(f"Not enough permissions to access: partnerApiPostsExternal.{call.method}.20260901")


def find_posts(call: Call) -> Reply:
    """List an author's posts, newest first (LinkedIn, GET /rest/posts?q=author)."""
    _check_headers(call)
    _may_read(call)
    query = call.query
    if query.get("q") != "author" or "author" not in query:
        return _error(400, "ILLEGAL_ARGUMENT", "The finder q=author with an author is needed")
    if query["author"] != author_urn(call.account.name):
        _deny("Not enough permissions to read the posts of another author")
    try:
        start, count = pick(query, "start", 0, range(1_000_000)), pick(query, "count", 10, range(1, 101))
    except ValueError as error:
        return _error(400, "ILLEGAL_ARGUMENT", str(error))
    posts = list(call.account.newest_posts())
    elements = [_show(post) for post in posts[start : start + count]]
    return json_reply(
        200, {"elements": elements, "paging": {"start": start, "count": count, "total": len(posts), "links": []}}
    )


def read_post(call: Call) -> Reply:
    """Show one post (LinkedIn, GET /rest/posts/{urn})."""
    _check_headers(call)
    _may_read(call)
    post = call.platform.find_post(call.params["urn"])
    if post is None or post.account != call.account.name:
        return _error(404, "NOT_FOUND", f"Could not find entity {call.params['urn']}")
    return json_reply(200, _show(post))


def delete_post(call: Call) -> Reply:
    """Delete an own post; a repeat succeeds too (LinkedIn, DELETE /rest/posts/{urn}).

    The text is still refused as a duplicate of the deleted post, as it is at LinkedIn.
    """
    _check_headers(call)
    post = call.platform.find_post(call.params["urn"])
    if post is not None:
        if post.account != call.account.name:
            _deny("Not enough permissions to delete the post of another author")
        call.platform.remove_post(post)
    return Reply(204)


def _show(post: StoredPost) -> dict[str, Json]:
    at = math.floor(post.created_at.timestamp() * 1000)
    shown: dict[str, Json] = {
        name: value for name, value in msgspec.to_builtins(post.detail).items() if value is not None
    }
    return shown | {"id": post.id, "createdAt": at, "publishedAt": at, "lastModifiedAt": at}


def read_userinfo(call: Call) -> Reply:
    """Say who the token belongs to (LinkedIn, GET /v2/userinfo)."""
    name = call.account.name
    data = {
        "sub": name,
        "name": f"Sandbox {name}",
        "given_name": "Sandbox",
        "family_name": name,
        "picture": "https://media.licdn.com/dms/image/sandbox",
        "locale": {"country": "US", "language": "en"},
    }
    return json_reply(200, data)


def refuse_me(_call: Call) -> Reply:
    """Refuse the older identity call: it needs r_basicprofile, which no token of the sandbox has."""
    return _error(403, "ACCESS_DENIED", "Not enough permissions to access: me.GET.NO_VERSION", 100)


def issue_token(call: Call) -> Reply:
    """Exchange a code or a refresh token (LinkedIn, POST /oauth/v2/accessToken)."""
    form = call.form() if call.media_type == FORM_TYPE else {}
    for name in ("grant_type", "client_id", "client_secret"):
        if not form.get(name):
            return _oauth_error("invalid_request", f'A required parameter "{name}" is missing')
    if form["grant_type"] == "authorization_code" and not form.get("redirect_uri"):
        return _oauth_error("invalid_request", 'A required parameter "redirect_uri" is missing')
    named = renew(call.platform, form)
    if named is None:
        return _oauth_error(
            "invalid_grant", "The provided authorization grant or refresh token is invalid, expired or revoked."
        )
    data = {
        "access_token": write_access(named),
        "expires_in": ACCESS_TOKEN_SECONDS,
        "refresh_token": write_refresh(named),
        "refresh_token_expires_in": REFRESH_TOKEN_SECONDS,
        "scope": ",".join(sorted(_scopes(reader=named.reader))),
        "token_type": "Bearer",
    }
    return json_reply(200, data)


def _oauth_error(error: str, description: str) -> Reply:
    return json_reply(400, {"error": error, "error_description": description})


def _scopes(*, reader: bool) -> frozenset[str]:
    return WRITE_SCOPES | {READ_SCOPE} if reader else WRITE_SCOPES


def _read_token(call: Call) -> Token:
    token = call.bearer
    if token is None:
        raise RefusalError(_error(401, "EMPTY_ACCESS_TOKEN", "Empty oauth2 access token", 65604))
    named = read_access(token)
    if named is None:
        raise RefusalError(_error(401, "INVALID_ACCESS_TOKEN", "Invalid access token", 65600))
    return Token(named.account, named.number, _scopes(reader=named.reader))


_EXPIRED = _error(401, "EXPIRED_ACCESS_TOKEN", "The token used in the request has expired", 65602)


def _rate_limited(_call: Call, wait_seconds: float) -> Reply:
    message = "Resource level throttle MEMBER DAY limit for calls to this resource is reached."
    return _error(429, "TOO_MANY_REQUESTS", message, 101).with_headers({"retry-after": str(math.ceil(wait_seconds))})


_REJECTED = _input_error(
    422, "INVALID_VALUE_FOR_FIELD", "ERROR :: /commentary :: content is not allowed", "/commentary"
)


def _no_limit_headers(_account: Account) -> Mapping[str, str]:
    """LinkedIn does not say how many calls are left."""
    return {}


def _plain(_call: Call, status: HTTPStatus) -> Reply:
    return _error(status, status.name, status.phrase)


LINKEDIN = LookAlike(
    key="linkedin",
    name="LinkedIn",
    renews=False,
    routes=Routes(
        Route("POST", "/rest/posts", create_post, publishes=True),
        Route("GET", "/rest/posts", find_posts),
        Route("GET", "/rest/posts/{urn}", read_post),
        Route("DELETE", "/rest/posts/{urn}", delete_post),
        Route("GET", "/v2/userinfo", read_userinfo),
        Route("GET", "/v2/me", refuse_me),
        Route("GET", "/rest/me", refuse_me),
        Route("POST", "/oauth/v2/accessToken", issue_token, needs_token=False),
    ),
    username=lambda account: account,
    read_token=_read_token,
    limit_headers=_no_limit_headers,
    expired=_EXPIRED,
    rate_limited=_rate_limited,
    rejected=_REJECTED,
    plain=_plain,
)
