"""LinkedIn: member posts in its "little text" format, found again by its finder or by its refusal of duplicates."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from functools import partial

import msgspec

from postpost.platforms.answers import (
    SERVER_ERRORS,
    UNREGISTERED,
    Row,
    Told,
    answered_at,
    bearer,
    failure,
    object_of,
    permissions_of,
    renew,
    retry_after,
    secrets_of,
    text_of,
    unix_time,
    unreadable,
)
from postpost.platforms.base import (
    Account,
    App,
    Connected,
    Connector,
    ErrorCode,
    Grant,
    Http,
    Identity,
    Intent,
    Json,
    NotPublished,
    Outcome,
    Platform,
    PlatformError,
    Post,
    Published,
    Reconciles,
    Response,
    Retry,
    Scope,
    Steps,
    Undecided,
    path_value,
)

LINKEDIN_VERSION = "202609"
"""LinkedIn-Version header. A version lives a year (fact sheet section 2): raise it at least twice a year."""

API_URL = "https://api.linkedin.com"
OAUTH_URL = "https://www.linkedin.com"
"""The real service keeps its token calls on another host; look-alikes have one address for both."""

DUPLICATE_WINDOW = timedelta(minutes=8)
"""How long the same body may be sent again to learn of the first copy: LinkedIn refuses a repeat for about 10 min."""

CLOCK_SKEW = timedelta(seconds=60)
"""How much earlier than our own time the platform may have dated a post."""

FINDER_SCOPE = "r_member_social"
"""The closed permission to list a member's own posts."""

_AUTH, _CONTENT = ErrorCode.PLATFORM_AUTH_EXPIRED, ErrorCode.INVALID_CONTENT
_BAD_REQUEST = (400, 422)

DUPLICATE = Row(_CONTENT, (422,), ("DUPLICATE_POST",), ("content is a duplicate of",))
"""The same text by the same author within about 10 minutes; the answer names the post that exists."""

ERRORS: tuple[Row, ...] = (
    Row(_AUTH, (401,), retry=Retry.REFRESH, scope=Scope.CONNECTION),
    Row(_AUTH, (403,), ("ACCESS_DENIED", "100"), ("not enough permissions",), scope=Scope.CONNECTION),
    Row(ErrorCode.PLATFORM_SERVER_ERROR, (403,), phrases=("resource is forbidden",), retry=Retry.BACK_OFF),
    Row(ErrorCode.UNKNOWN_ERROR, (400, 426), ("VERSION_MISSING", "NONEXISTENT_VERSION"), scope=Scope.APP),
    Row(ErrorCode.UNKNOWN_ERROR, (426,), scope=Scope.APP),
    Row(ErrorCode.CONTENT_TOO_LARGE, _BAD_REQUEST, ("FIELD_LENGTH_TOO_LONG",), ("field_length_too_long",)),
    Row(
        ErrorCode.PLATFORM_SERVER_ERROR,
        _BAD_REQUEST,
        ("MEDIA_ASSET_WAITING_UPLOAD",),
        ("asset is not available",),
        retry=Retry.BACK_OFF,
    ),
    DUPLICATE,
    # INVALID_VALUE_FOR_FIELD, INVALID_URN_ID, INVALID_URN_TYPE, MEDIA_ASSET_PROCESSING_FAILED and the like.
    Row(_CONTENT, _BAD_REQUEST),
    Row(_CONTENT, (404,)),
    Row(ErrorCode.PLATFORM_SERVER_ERROR, (409,), retry=Retry.BACK_OFF),
    Row(ErrorCode.CONTENT_TOO_LARGE, (413,)),
    Row(_CONTENT, (415,)),
    Row(
        ErrorCode.RATE_LIMITED,
        (429,),
        phrases=("throttle application",),
        retry=Retry.WAIT,
        scope=Scope.APP,
        wait=timedelta(minutes=5),
    ),
    Row(ErrorCode.RATE_LIMITED, (429,), retry=Retry.WAIT, scope=Scope.CONNECTION, wait=timedelta(minutes=5)),
    Row(ErrorCode.PLATFORM_SERVER_ERROR, SERVER_ERRORS, retry=Retry.BACK_OFF),
)
"""What LinkedIn's errors mean (LinkedIn fact sheet section 5)."""

_REFRESH_ERRORS = (Row(_AUTH, (400,), ("invalid_request",), scope=Scope.CONNECTION),)

MENTION = re.compile(r"@\{(urn:li:(?:person|organization):[A-Za-z0-9_-]+)\|([^{}|\n]+)\}")
"""A mention as PostPost's users write it (spec linkedin.md section 9)."""

_RESERVED = re.compile(r"(?P<hashtag>(?<!\w)#(?=[^\W_]))|[\\|{}@\[\]()<>#*_~]")
_MEMBER_NUMBER = re.compile(r"urn:li:person:(\d+)")


def little_text(text: str, *, mentions: bool = True) -> str:
    r"""Return a text in LinkedIn's format: reserved characters behind a backslash, mentions as `@[Name](urn)`.

    An unescaped reserved character cuts the post short without an error. A `#` that begins a hashtag stays as it is.
    Without `mentions` only their names remain (fact sheet section 3).
    """
    pieces: list[str] = []
    done = 0
    for found in MENTION.finditer(text):
        name = _escape(found[2])
        # LinkedIn's own person ids are opaque; a number is a member's.
        number = _MEMBER_NUMBER.fullmatch(found[1])
        urn = f"urn:li:member:{number[1]}" if number else found[1]
        pieces += [_escape(text[done : found.start()]), f"@[{name}]({urn})" if mentions else name]
        done = found.end()
    return "".join((*pieces, _escape(text[done:])))


def _escape(text: str) -> str:
    return _RESERVED.sub(lambda found: found[0] if found["hashtag"] else "\\" + found[0], text)


_TEMPLATE = re.compile(
    r"@\[(?P<name>(?:\\.|[^\]\\])*)\]\([^)]*\)|\{hashtag\|\\?#\|(?P<tag>(?:\\.|[^}\\])*)\}|\\(?P<literal>.)", re.DOTALL
)


def plain_text(commentary: str) -> str:
    """Return the words of a text in LinkedIn's format, which it may give back with other templates and escapes."""

    def plain(found: re.Match[str]) -> str:
        if found["tag"] is not None:
            return "#" + plain_text(found["tag"])
        return found["literal"] if found["name"] is None else plain_text(found["name"])

    return _TEMPLATE.sub(plain, commentary).strip()


def read_error(response: Response) -> Told:
    """Read LinkedIn's error shapes: a code and a sentence, with or without a list of input errors."""
    body = object_of(response)
    details = body.get("errorDetails")
    inputs = details.get("inputErrors") if isinstance(details, dict) else None
    items = [item for item in inputs if isinstance(item, dict)] if isinstance(inputs, list) else []
    names = [body.get("code"), body.get("serviceErrorCode"), *(item.get("code") for item in items)]
    messages = [text_of(body.get("message")), *(text_of(item.get("description")) for item in items)]
    return Told(frozenset(str(name) for name in names if name is not None), next(filter(None, messages), None))


def classify(response: Response, account: Account, now: datetime | None = None) -> PlatformError:
    """Return what an error answer means; `now` stands in for a missing Date header."""
    told = read_error(response)
    wait = retry_after(response, now)
    if wait is None and " day " in f" {(told.message or '').lower()} ":
        wait = _until_midnight(answered_at(response, now))
    return failure(ERRORS, response, told, secrets=secrets_of(account.credentials), wait=wait)


def _until_midnight(now: datetime | None) -> timedelta | None:
    """Return the wait until 00:00 UTC, when LinkedIn's daily quotas begin anew."""
    if now is None:
        return None
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), UTC) - now


_POST_URN = re.compile(r"urn:li:(?:share|ugcPost|activity):\d+")


def _duplicate_of(response: Response) -> Published | None:
    """Return the post that a refusal names as the first copy; None if this is no such refusal."""
    if not DUPLICATE.fits(response.status, read_error(response).names, response.text().lower()):
        return None
    urn = _POST_URN.search(response.text())
    return _published(urn[0]) if urn else None


def _published(urn: str) -> Published:
    return Published(urn, f"https://www.linkedin.com/feed/update/{urn}/")


def _accepted(response: Response, account: Account) -> Published:
    urn = response.headers.get("x-restli-id") or response.headers.get("x-linkedin-id")
    if not urn:
        raise unreadable(response, secrets_of(account.credentials))
    return _published(urn)


def _headers(account: Account) -> dict[str, str]:
    return {
        **bearer(account),
        "LinkedIn-Version": LINKEDIN_VERSION,
        "X-Restli-Protocol-Version": "2.0.0",
        "Content-Type": "application/json",
    }


def _author(account: Account) -> str:
    return f"urn:li:person:{account.id}"


def _body(account: Account, commentary: str) -> str:
    return msgspec.json.encode(
        {
            "author": _author(account),
            "commentary": commentary,
            "visibility": "PUBLIC",
            "distribution": {
                "feedDistribution": "MAIN_FEED",
                "targetEntities": [],
                "thirdPartyDistributionChannels": [],
            },
            "lifecycleState": "PUBLISHED",
            "isReshareDisabledByAuthor": False,
        }
    ).decode()


def _oauth_url(base_url: str, call: str) -> str:
    return f"{OAUTH_URL if base_url == API_URL else base_url}/oauth/v2/{call}"


MISSED = "missed"
"""The step that notes that the post was looked for in vain; `publish` reads what `reconcile` wrote."""


class LinkedIn:
    """The connector of LinkedIn."""

    platform = Platform(
        key="linkedin",
        name="LinkedIn",
        base_url=API_URL,
        credential_fields=("access_token",),
        reconciles=Reconciles.LIKELY,
        capabilities=frozenset({"mentions"}),
        scopes=("openid", "profile", "w_member_social"),
    )

    async def connect(self, base_url: str, credentials: Mapping[str, str], app: App, http: Http) -> Connected:
        """Check the token, say whose it is, and note its scopes and end where the app may ask for them."""
        kept = {name: value.strip() for name, value in credentials.items()}
        expires_at = None
        if app.client_id and app.client_secret and kept.get("access_token"):
            form = {"token": kept["access_token"], "client_id": app.client_id, "client_secret": app.client_secret}
            response = await http.request("POST", _oauth_url(base_url, "introspectToken"), form=form)
            told = object_of(response) if response.status < 300 else {}
            kept["scope"] = text_of(told.get("scope")) or kept.get("scope", "")
            expires_at = unix_time(told.get("expires_at"))
        identity = await self.identify(Account("", "", base_url, kept), http)
        return Connected(identity, Grant(kept, expires_at))

    async def refresh(self, account: Account, app: App, http: Http) -> Grant:
        """Trade the refresh token for a new access token; most apps are given none (fact sheet section 1)."""
        form = {"client_id": app.client_id or UNREGISTERED, "client_secret": app.client_secret or UNREGISTERED}
        url = _oauth_url(account.base_url, "accessToken")
        return await renew(account, app, http, url, form=form, rows=_REFRESH_ERRORS)

    async def identify(self, account: Account, http: Http) -> Identity:
        """Say whose the token is, by OpenID Connect or, for apps without it, by the member's profile."""
        response = await http.request("GET", f"{account.base_url}/v2/userinfo", headers=bearer(account))
        if response.status == 403:
            response = await http.request("GET", f"{account.base_url}/v2/me", headers=bearer(account))
        if response.status >= 300:
            raise classify(response, account)
        body = object_of(response)
        member = text_of(body.get("sub")) or text_of(body.get("id"))
        if member is None:
            raise unreadable(response, secrets_of(account.credentials))
        parts = (text_of(body.get(name)) for name in ("localizedFirstName", "localizedLastName"))
        name = text_of(body.get("name")) or " ".join(filter(None, parts)) or None
        vanity_name = text_of(body.get("vanityName"))
        permissions = permissions_of(account.credentials)
        return Identity(
            id=member,
            username=vanity_name or name or member,
            display_name=name,
            profile_image_url=text_of(body.get("picture")),
            profile_url=f"https://www.linkedin.com/in/{vanity_name}" if vanity_name else None,
            permissions=permissions,
            facts={"permissions": list(permissions)},
        )

    async def publish(self, post: Post, steps: Steps, http: Http) -> None:
        """Send the one part (POST /rest/posts); once more with plain names if LinkedIn does not know a mention."""
        [text] = post.parts
        linked, plain = (_body(post.account, little_text(text, mentions=mentions)) for mentions in (True, False))
        try:
            await steps.public(0, {"body": linked}, partial(self._create, post.account, linked, steps, http))
        except PlatformError as error:
            unknown_mention = error.refused and error.status in _BAD_REQUEST and "INVALID_URN" in (error.raw or "")
            if not unknown_mention or linked == plain:
                raise
            await steps.public(0, {"body": plain}, partial(self._create, post.account, plain, steps, http))

    async def _create(self, account: Account, body: str, steps: Steps, http: Http) -> Published:
        response = await self._send(account, body, http)
        if response.status < 300:
            return _accepted(response, account)
        error = classify(response, account, steps.now())
        first_copy = _duplicate_of(response)
        if first_copy is None:
            raise error

        async def first_attempt() -> Json:
            raise error

        # Only where an earlier attempt was looked for and not found is the post that LinkedIn names ours.
        await steps.once(MISSED, first_attempt)
        return first_copy

    async def _send(self, account: Account, body: str, http: Http) -> Response:
        url = f"{account.base_url}/rest/posts"
        return await http.request("POST", url, body=body.encode(), headers=_headers(account))

    async def reconcile(self, post: Post, intent: Intent, steps: Steps, http: Http) -> Outcome:
        """Look for the post with the finder, else have LinkedIn refuse a repeat (fact sheet section 7).

        The repeat is byte for byte the first request, and only sent while LinkedIn surely remembers that one.
        """
        account, body = post.account, str(intent.key["body"])
        if FINDER_SCOPE in (account.facts.get("permissions") or ()):
            listed = await self._list(account, http)
            if listed is not None:
                return await self._search(listed, intent, steps)
        if steps.now() - intent.began_at >= DUPLICATE_WINDOW:
            return Undecided(never=True)
        response = await self._send(account, body, http)
        if response.status < 300:
            return _accepted(response, account)
        first_copy = _duplicate_of(response)
        if first_copy is not None:
            return first_copy
        error = classify(response, account, steps.now())
        if error.code in (_CONTENT, ErrorCode.CONTENT_TOO_LARGE):
            # The first copy was refused for the same reason; sending it again brings that reason to the user.
            return NotPublished()
        raise error

    async def _list(self, account: Account, http: Http) -> list[Mapping[str, Json]] | None:
        """Return the member's newest posts; None when this token may not list them after all."""
        response = await http.request(
            "GET",
            f"{account.base_url}/rest/posts",
            params={"q": "author", "author": _author(account), "count": "20", "sortBy": "CREATED"},
            headers=_headers(account) | {"X-RestLi-Method": "FINDER"},
        )
        if response.status == 403:
            return None
        if response.status >= 300:
            raise classify(response, account)
        elements = object_of(response).get("elements")
        if not isinstance(elements, list):
            raise unreadable(response, secrets_of(account.credentials))
        return elements

    async def _search(self, listed: list[Mapping[str, Json]], intent: Intent, steps: Steps) -> Outcome:
        wanted = plain_text(str(msgspec.json.decode(intent.key["body"])["commentary"]))
        earliest = (intent.began_at - CLOCK_SKEW).timestamp() * 1000
        for item in listed:
            same = plain_text(str(item.get("commentary", ""))) == wanted and not item.get("content")
            if same and item.get("createdAt", 0) >= earliest:
                return _published(str(item["id"]))
        if intent.asked == 0:
            return Undecided()

        async def missed() -> Json:
            return True

        await steps.once(MISSED, missed)
        return NotPublished()

    def sandbox_credentials(self, account_id: str) -> Mapping[str, str]:
        """Return the sandbox's token for this account."""
        return {"access_token": f"sandbox-{path_value(account_id)}"}


CONNECTOR: Connector = LinkedIn()
