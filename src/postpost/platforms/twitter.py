"""X (Twitter): posts and reply chains through API version 2, found again in the account's own timeline."""

import re
import unicodedata
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

from postpost.platforms.answers import (
    SERVER_ERRORS,
    UNREGISTERED,
    Row,
    Told,
    bearer,
    failure,
    object_of,
    permissions_of,
    renew,
    secrets_of,
    text_of,
    unreadable,
    wait_for_reset,
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

CLOCK_SKEW = timedelta(seconds=60)
"""How much earlier than our own time the platform may have dated a post."""

TIMELINE_PAGES = 32
"""Pages of 100 posts that are searched for one post: X lists the newest 3,200."""

WINDOW = timedelta(minutes=15)
"""X's rate-limit window, the wait where an answer names no reset."""

_TIMELINE_DIALECTS: tuple[Mapping[str, str], ...] = (
    {"post.fields": "created_at,entities,attachments,conversation_id", "expansions": "referenced_posts"},
    {
        "tweet.fields": "created_at,entities,attachments,conversation_id,referenced_tweets",
        "expansions": "referenced_tweets.id",
    },
)
"""X is renaming its parameters (OpenAPI 2.167 against 2.165 and the prose docs); a 400 leads to the older names."""

_AUTH, _CONTENT = ErrorCode.PLATFORM_AUTH_EXPIRED, ErrorCode.INVALID_CONTENT

DUPLICATE = Row(_CONTENT, (403,), ("187",), ("duplicate content",))
"""The same text from the same account within a time of unknown length."""

ERRORS: tuple[Row, ...] = (
    Row(_AUTH, (401,), retry=Retry.REFRESH, scope=Scope.CONNECTION),
    DUPLICATE,
    Row(_AUTH, (403,), ("64", "63", "326"), ("is suspended", "temporarily locked"), scope=Scope.CONNECTION),
    Row(
        ErrorCode.RATE_LIMITED,
        (403,),
        ("344", "185"),
        ("daily limit", "daily status update limit"),
        retry=Retry.WAIT,
        scope=Scope.CONNECTION,
        wait=timedelta(hours=3),
    ),
    # A reply sent right after its parent may meet a replica that does not know the parent yet.
    Row(
        ErrorCode.PLATFORM_SERVER_ERROR,
        (403,),
        ("385",),
        ("deleted or not visible to you",),
        retry=Retry.BACK_OFF,
    ),
    Row(_CONTENT, (403,), ("433",), ("reply to this conversation is not allowed", "restricted who can reply")),
    Row(
        _AUTH,
        (403,),
        ("oauth2-permissions", "unsupported-authentication"),
        ("unsupported authentication",),
        scope=Scope.CONNECTION,
    ),
    Row(ErrorCode.CONTENT_TOO_LARGE, (403,), phrases=("longer than 2 minutes",)),
    Row(_CONTENT, (403,), phrases=("cashtag", "invalid url", "not permitted to perform this action")),
    Row(ErrorCode.UNKNOWN_ERROR, (403,), ("client-forbidden",), ("client-not-enrolled",), scope=Scope.APP),
    Row(ErrorCode.UNKNOWN_ERROR, (402,), scope=Scope.APP, says="The operator's X account has no credits left"),
    Row(_CONTENT, (400,)),
    Row(ErrorCode.CONTENT_TOO_LARGE, (413,)),
    Row(
        ErrorCode.RATE_LIMITED,
        (429,),
        ("usage-capped", "UsageCapExceeded"),
        retry=Retry.WAIT,
        scope=Scope.APP,
        wait=timedelta(days=1),
    ),
    Row(ErrorCode.RATE_LIMITED, (429,), retry=Retry.WAIT, scope=Scope.CONNECTION, wait=WINDOW),
    Row(ErrorCode.PLATFORM_SERVER_ERROR, SERVER_ERRORS, retry=Retry.BACK_OFF),
)
"""What X's errors mean (X fact sheet section 4). Version 2 mostly sends only a sentence, version 1.1 numbers."""

_REFRESH_ERRORS = (Row(_AUTH, (400,), phrases=("value passed for the token was invalid",), scope=Scope.CONNECTION),)

_LIMIT_FAMILIES = (
    ("x-rate-limit", Scope.CONNECTION),
    ("x-user-limit-24hour", Scope.CONNECTION),
    ("x-app-limit-24hour", Scope.APP),
)


def read_error(response: Response) -> Told:
    """Read X's three error shapes: a problem, numbered errors, and problems in a list."""
    body = object_of(response)
    listed = body.get("errors")
    problems = [body, *(item for item in listed if isinstance(item, dict))] if isinstance(listed, list) else [body]
    names: set[str] = set()
    messages: list[str] = []
    for problem in problems:
        # The host inside a problem's type differs between old and new answers; only its tail counts.
        names.update(str(problem[key]).rpartition("/")[2] for key in ("type", "title", "code") if key in problem)
        messages += filter(None, (text_of(problem.get(key)) for key in ("detail", "message", "error_description")))
    fallback = text_of(body.get("title")) or text_of(body.get("error"))
    return Told(frozenset(names), messages[0] if messages else fallback)


def classify(response: Response, account: Account, now: datetime | None = None) -> PlatformError:
    """Return what an error answer means; `now` stands in for a missing Date header."""
    wait, scope = _limit(response, now) if response.status == 429 else (None, Scope.CONNECTION)
    error = failure(ERRORS, response, read_error(response), secrets=secrets_of(account.credentials), wait=wait)
    if error.retry is Retry.WAIT and scope is Scope.APP:
        error.scope = scope
    return error


def _limit(response: Response, now: datetime | None) -> tuple[timedelta | None, Scope]:
    """Return the wait until the latest reset among the exhausted limits, and whose limit that is."""
    headers = response.headers
    waits: list[tuple[timedelta, Scope]] = []
    for family, scope in _LIMIT_FAMILIES:
        wait = wait_for_reset(headers.get(f"{family}-reset"), response, now)
        if wait is not None and headers.get(f"{family}-remaining", "0") == "0":
            waits.append((wait, scope))
    # Resets are whole seconds, rounded down: one more second is on the safe side.
    latest = max(waits, key=lambda item: item[0], default=None)
    return (latest[0] + timedelta(seconds=1), latest[1]) if latest else (None, Scope.CONNECTION)


_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_BLANKS_AT_LINE_END = re.compile(r"[ \t]+$", re.MULTILINE)


def normal_text(text: str) -> str:
    """Return a text as it is compared: NFC, no blanks at line ends, links without their scheme.

    X adds a scheme to a bare domain, so that one cannot be told from a written one.
    """
    return _SCHEME.sub("", _BLANKS_AT_LINE_END.sub("", unicodedata.normalize("NFC", text)).strip())


def shown_text(item: Mapping[str, Json]) -> str:
    """Return the text of a listed post as it was written: X shortens links, escapes `& < >` and appends media links."""
    text = str(item.get("text", "")).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    entities = item.get("entities")
    links = entities.get("urls") if isinstance(entities, dict) else None
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and (short := text_of(link.get("url"))):
            expanded = "" if "media_key" in link else str(link.get("expanded_url", short))
            text = text.replace(short, expanded, 1)
    return text


def _parent_of(item: Mapping[str, Json]) -> str | None:
    references = item.get("referenced_posts") or item.get("referenced_tweets") or ()
    return next((str(entry.get("id")) for entry in references if entry.get("type") == "replied_to"), None)


def _media_count(item: Mapping[str, Json]) -> int:
    attachments = item.get("attachments")
    keys = attachments.get("media_keys") if isinstance(attachments, dict) else None
    return len(keys) if isinstance(keys, list) else 0


def _published(account: Account, post_id: str) -> Published:
    return Published(post_id, f"https://x.com/{account.username or 'i'}/status/{post_id}")


class Twitter:
    """The connector of X."""

    platform = Platform(
        key="twitter",
        name="Twitter/X",
        base_url="https://api.x.com",
        credential_fields=("access_token", "refresh_token"),
        reconciles=Reconciles.LIKELY,
        capabilities=frozenset({"thread"}),
        scopes=("tweet.read", "tweet.write", "users.read", "media.write", "offline.access"),
    )

    async def connect(self, base_url: str, credentials: Mapping[str, str], app: App, http: Http) -> Connected:  # noqa: ARG002
        """Check the token and say whose it is."""
        kept = {name: value.strip() for name, value in credentials.items()}
        identity = await self.identify(Account("", "", base_url, kept), http)
        return Connected(identity, Grant(kept))

    async def refresh(self, account: Account, app: App, http: Http) -> Grant:
        """Trade the refresh token for a new pair; X takes each refresh token once (fact sheet section 1)."""
        form, headers = {"client_id": app.client_id or UNREGISTERED}, {}
        if app.client_secret:
            pair = b64encode(f"{app.client_id}:{app.client_secret}".encode()).decode()
            form, headers = {}, {"Authorization": f"Basic {pair}"}
        url = f"{account.base_url}/2/oauth2/token"
        return await renew(account, app, http, url, form=form, headers=headers, rows=_REFRESH_ERRORS)

    async def identify(self, account: Account, http: Http) -> Identity:
        """Say whose the token is (GET /2/users/me)."""
        response = await http.request(
            "GET",
            f"{account.base_url}/2/users/me",
            params={"user.fields": "profile_image_url,name,username,verified,subscription_type"},
            headers=bearer(account),
        )
        if response.status >= 300:
            raise classify(response, account)
        data = object_of(response).get("data")
        if not isinstance(data, dict) or not text_of(data.get("id")) or not text_of(data.get("username")):
            raise unreadable(response, secrets_of(account.credentials))
        username, permissions = data["username"], permissions_of(account.credentials)
        return Identity(
            id=data["id"],
            username=username,
            display_name=text_of(data.get("name")),
            profile_image_url=text_of(data.get("profile_image_url")),
            profile_url=f"https://x.com/{username}",
            permissions=permissions,
            facts={"permissions": list(permissions), "subscription_type": text_of(data.get("subscription_type"))},
        )

    async def publish(self, post: Post, steps: Steps, http: Http) -> None:
        """Send the parts in order, each as a reply to the one before it (POST /2/tweets)."""
        parent: str | None = None
        for part, text in enumerate(post.parts):
            key = {"text": text, "parent": parent}
            published = await steps.public(part, key, partial(self._send, post, part, key, steps, http))
            parent = published.posted_id

    async def _send(self, post: Post, part: int, key: Mapping[str, Json], steps: Steps, http: Http) -> Published:
        account = post.account
        body: dict[str, Json] = {"text": key["text"]}
        if key["parent"] is not None:
            body["reply"] = {"in_reply_to_tweet_id": key["parent"]}
        response = await http.request("POST", f"{account.base_url}/2/tweets", json=body, headers=bearer(account))
        if response.status >= 300:
            error = classify(response, account, steps.now())
            if DUPLICATE.fits(response.status, read_error(response).names, response.text().lower()):
                return await self._repeated(post, part, key, error, steps, http)
            raise error
        data = object_of(response).get("data")
        post_id = text_of(data.get("id")) if isinstance(data, dict) else None
        if post_id is None:
            raise unreadable(response, secrets_of(account.credentials))
        return _published(account, post_id)

    async def _repeated(
        self, post: Post, part: int, key: Mapping[str, Json], error: PlatformError, steps: Steps, http: Http
    ) -> Published:
        """Look again for a part that X calls a duplicate after its timeline did not show it (fact sheet 5, step 5)."""

        async def first_attempt() -> Json:
            raise error

        missed_since = await steps.once(_missed_step(part), first_attempt)
        try:
            found = await self._find(post.account, key, datetime.fromisoformat(missed_since), http)
        except PlatformError as listing_error:
            if listing_error.retry is not Retry.NEVER:
                raise
            found = None
        if found is None:
            error.message = f"{error.message} It may be an earlier attempt of this post: check the account."
            raise error
        return found

    async def reconcile(self, post: Post, intent: Intent, steps: Steps, http: Http) -> Outcome:
        """Look for the part in the account's own timeline, twice because it lags (fact sheet section 5)."""
        since = intent.began_at - CLOCK_SKEW
        try:
            found = await self._find(post.account, intent.key, since, http)
        except PlatformError as error:
            if error.status in (402, 403) and error.retry is Retry.NEVER:
                return Undecided(never=True)
            raise
        if found is not None:
            return found
        if intent.asked == 0:
            return Undecided()

        async def missed() -> Json:
            return since.isoformat()

        await steps.once(_missed_step(intent.part), missed)
        return NotPublished()

    async def _find(self, account: Account, key: Mapping[str, Json], since: datetime, http: Http) -> Published | None:
        wanted = normal_text(key["text"])
        page: dict[str, str] = {}
        for _ in range(TIMELINE_PAGES):
            listed = await self._timeline(account, since, page, http)
            items = listed.get("data") or ()
            for item in items:
                same = normal_text(shown_text(item)) == wanted and _media_count(item) == 0
                if same and _parent_of(item) == key["parent"]:
                    return _published(account, str(item["id"]))
            meta = listed.get("meta")
            following = text_of(meta.get("next_token")) if isinstance(meta, dict) else None
            if following is None:
                break
            page = {"pagination_token": following}
        return None

    async def _timeline(
        self, account: Account, since: datetime, page: Mapping[str, str], http: Http
    ) -> Mapping[str, Json]:
        start = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        url = f"{account.base_url}/2/users/{path_value(account.id)}/tweets"
        for dialect in _TIMELINE_DIALECTS:
            params = {"start_time": start, "max_results": "100", "exclude": "retweets", **dialect, **page}
            response = await http.request("GET", url, params=params, headers=bearer(account))
            if response.status != 400:
                break
        if response.status >= 300:
            raise classify(response, account)
        listed = object_of(response)
        if "data" not in listed and "meta" not in listed:
            # An answer that is no timeline must not pass for an empty one.
            raise unreadable(response, secrets_of(account.credentials))
        return listed

    def sandbox_credentials(self, account_id: str) -> Mapping[str, str]:
        """Return the sandbox's tokens for this account."""
        name = path_value(account_id)
        return {"access_token": f"sandbox-{name}", "refresh_token": f"sandbox-refresh-{name}-0"}


def _missed_step(part: int) -> str:
    """Name the step that notes since when a part was looked for in vain; `publish` reads what `reconcile` wrote."""
    return f"missed-{part}"


CONNECTOR: Connector = Twitter()
