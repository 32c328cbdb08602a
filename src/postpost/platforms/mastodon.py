"""Mastodon and servers with its client API: statuses with an idempotency key, found again among the account's own."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from html import unescape
from urllib.parse import urlsplit

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
    told_wait,
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

HOME = "mastodon.social"
"""The instance whose account ids stand alone; elsewhere the host is part of the id (spec platform-rules.md 2)."""

CLOCK_SKEW = timedelta(seconds=5)
"""How much earlier than our own time an instance may have dated a status."""

LISTED = 40
"""Statuses in one listing, the most an instance gives."""

_AUTH, _CONTENT = ErrorCode.PLATFORM_AUTH_EXPIRED, ErrorCode.INVALID_CONTENT

ERRORS: tuple[Row, ...] = (
    Row(_AUTH, (401,), retry=Retry.REFRESH, scope=Scope.CONNECTION),
    # Takahe says so with a 400 in plain text.
    Row(_AUTH, (400,), phrases=("invalid bearer token",), retry=Retry.REFRESH, scope=Scope.CONNECTION),
    Row(
        _AUTH,
        (403,),
        phrases=(
            "outside the authorized scopes",
            "login is currently disabled",
            "missing a confirmed e-mail address",
            "currently pending approval",
        ),
        scope=Scope.CONNECTION,
    ),
    Row(_CONTENT, (403,), phrases=("this action is not allowed",)),
    Row(_AUTH, (422,), phrases=("requires an authenticated user",), retry=Retry.REFRESH, scope=Scope.CONNECTION),
    Row(
        ErrorCode.PLATFORM_SERVER_ERROR,
        (422,),
        phrases=("have not finished processing",),
        retry=Retry.BACK_OFF,
    ),
    Row(_CONTENT, (400, 404, 422)),
    Row(ErrorCode.NETWORK_ERROR, (410,), retry=Retry.BACK_OFF, says="The instance is gone"),
    Row(ErrorCode.CONTENT_TOO_LARGE, (413,)),
    Row(ErrorCode.RATE_LIMITED, (429,), retry=Retry.WAIT, scope=Scope.CONNECTION, wait=timedelta(minutes=5)),
    Row(ErrorCode.PLATFORM_SERVER_ERROR, SERVER_ERRORS, retry=Retry.BACK_OFF),
)
"""What an instance's errors mean (Mastodon fact sheet). Its words may be translated: the status decides mostly."""

# An instance that renews no tokens has none to give for this one.
_REFRESH_ERRORS = (Row(_AUTH, (400,), ("unsupported_grant_type",), scope=Scope.CONNECTION),)


def read_error(response: Response) -> Told:
    """Read a Mastodon error, which other software may send as plain text and a proxy as HTML."""
    body = object_of(response)
    message = text_of(body.get("error_description")) or text_of(body.get("error"))
    if message is None and response.headers.get("content-type", "").startswith("text/plain"):
        message = response.text().strip()[:200] or None
    return Told(frozenset(), message)


def classify(response: Response, account: Account, now: datetime | None = None) -> PlatformError:
    """Return what an error answer means; `now` stands in for a missing Date header."""
    wait = told_wait(response, "x-ratelimit-reset", now)
    return failure(ERRORS, response, read_error(response), secrets=secrets_of(account.credentials), wait=wait)


def own_id(account: Account) -> str:
    """Return the account's id on its instance: the part before the host that may follow it."""
    return account.id.partition(".")[0]


def account_id(base_url: str, instance_id: str) -> str:
    """Return the account part of a compound id: with the host, except on the home instance and on look-alikes."""
    address = urlsplit(base_url)
    if address.scheme != "https" or address.hostname in (None, HOME):
        return instance_id
    return f"{instance_id}.{address.hostname}"


_LIMITS = (
    ("statuses", "max_characters"),
    ("statuses", "characters_reserved_per_url"),
    ("statuses", "max_media_attachments"),
    ("media_attachments", "image_size_limit"),
    ("media_attachments", "video_size_limit"),
    ("media_attachments", "description_limit"),
)


def instance_facts(instance: Mapping[str, Json]) -> dict[str, Json]:
    """Return an instance's own limits under Mastodon's names; what it does not say is left out."""
    configuration = instance.get("configuration")
    facts: dict[str, Json] = {}
    for group, name in _LIMITS:
        values = configuration.get(group) if isinstance(configuration, dict) else None
        value = values.get(name) if isinstance(values, dict) else None
        if isinstance(value, int) and value >= 0:
            facts[name] = value
    # Pleroma and its kin have no configuration.
    if "max_characters" not in facts and isinstance(longest := instance.get("max_toot_chars"), int):
        facts["max_characters"] = longest
    if version := text_of(instance.get("version")):
        facts["version"] = version
    return facts


_TAG = re.compile(r"<[^>]*>")


def letters(text: str) -> str:
    """Return the letters and digits of a text: what is left comparable of a status that is shown as HTML."""
    return "".join(character for character in text if character.isalnum())


def _letters_of_html(content: str) -> str:
    return letters(unescape(_TAG.sub("", content)))


class Mastodon:
    """The connector of Mastodon."""

    platform = Platform(
        key="mastodon",
        name="Mastodon",
        base_url=f"https://{HOME}",
        credential_fields=("access_token",),
        reconciles=Reconciles.LIKELY,
        capabilities=frozenset({"reply_chain", "content_warning"}),
        scopes=("read:accounts", "read:statuses", "write:statuses", "write:media"),
    )

    async def connect(self, base_url: str, credentials: Mapping[str, str], app: App, http: Http) -> Connected:  # noqa: ARG002
        """Check the token and say whose it is."""
        kept = {name: value.strip() for name, value in credentials.items()}
        identity = await self.identify(Account("", "", base_url, kept), http)
        return Connected(identity, Grant(kept))

    async def refresh(self, account: Account, app: App, http: Http) -> Grant:
        """Trade a refresh token, where an instance gave one; Mastodon's own tokens end by revocation only."""
        form = {"client_id": app.client_id or UNREGISTERED, "client_secret": app.client_secret or UNREGISTERED}
        return await renew(account, app, http, f"{account.base_url}/oauth/token", form=form, rows=_REFRESH_ERRORS)

    async def identify(self, account: Account, http: Http) -> Identity:
        """Say whose the token is, and what the instance allows (fact sheet, limits)."""
        response = await self._verify(account, http)
        if response.status >= 300:
            error = classify(response, account)
            if response.status == 400:
                # There is nothing else in this call that could be wrong.
                error.code, error.retry, error.scope = _AUTH, Retry.REFRESH, Scope.CONNECTION
            raise error
        body = object_of(response)
        instance_id, username = text_of(body.get("id")), text_of(body.get("username"))
        if instance_id is None or username is None:
            raise unreadable(response, secrets_of(account.credentials))
        permissions = permissions_of(account.credentials)
        return Identity(
            id=account_id(account.base_url, instance_id),
            username=text_of(body.get("acct")) or username,
            display_name=text_of(body.get("display_name")),
            profile_image_url=text_of(body.get("avatar")),
            profile_url=text_of(body.get("url")),
            permissions=permissions,
            facts={"permissions": list(permissions), **await self._instance(account, http)},
        )

    async def _verify(self, account: Account, http: Http) -> Response:
        url = f"{account.base_url}/api/v1/accounts/verify_credentials"
        return await http.request("GET", url, headers=bearer(account))

    async def _instance(self, account: Account, http: Http) -> Mapping[str, Json]:
        """Return the instance's limits, empty when it does not say: the usual ones hold then."""
        for version in ("v2", "v1"):
            try:
                response = await http.request("GET", f"{account.base_url}/api/{version}/instance")
            except PlatformError:
                return {}
            if response.status < 300:
                return instance_facts(object_of(response))
        return {}

    async def publish(self, post: Post, steps: Steps, http: Http) -> None:
        """Send the parts in order, each as a reply to the one before it (POST /api/v1/statuses)."""
        headers = bearer(post.account)
        # Where the search of a reconciliation begins; it has to be known before the first attempt.
        await steps.once("newest", partial(self._newest, post.account, steps, http))
        parent: str | None = None
        for part, text in enumerate(post.parts):
            key = {"text": text, "parent": parent}
            body = _status(post.settings, text, parent)
            # The same key on every attempt: for an hour Mastodon answers a repeat with the first status.
            sent = {**headers, "Idempotency-Key": f"postpost-{post.id}-{part}"}
            published = await steps.public(part, key, partial(self._create, post.account, body, sent, steps, http))
            parent = published.posted_id

    async def _newest(self, account: Account, steps: Steps, http: Http) -> Json:
        response = await self._statuses(account, {"limit": "1"}, http)
        if response.status == 403:
            # A token that may only write can publish; it cannot be asked what became of it.
            return {"since_id": None}
        listed = self._listed(response, account, steps)
        return {"since_id": str(listed[0]["id"]) if listed else None}

    async def _statuses(self, account: Account, params: Mapping[str, str], http: Http) -> Response:
        url = f"{account.base_url}/api/v1/accounts/{path_value(own_id(account))}/statuses"
        return await http.request("GET", url, params={**params, "exclude_reblogs": "true"}, headers=bearer(account))

    def _listed(self, response: Response, account: Account, steps: Steps) -> Sequence[Mapping[str, Json]]:
        if response.status >= 300:
            raise classify(response, account, steps.now())
        listed = response.json()
        if not isinstance(listed, list):
            raise unreadable(response, secrets_of(account.credentials))
        return listed

    async def _create(
        self, account: Account, body: Json, headers: Mapping[str, str], steps: Steps, http: Http
    ) -> Published:
        response = await http.request("POST", f"{account.base_url}/api/v1/statuses", json=body, headers=headers)
        if response.status >= 300:
            raise await self._refusal(response, account, steps, http)
        status = object_of(response)
        if text_of(status.get("id")) is None:
            raise unreadable(response, secrets_of(account.credentials))
        return _published(status)

    async def _refusal(self, response: Response, account: Account, steps: Steps, http: Http) -> PlatformError:
        error = classify(response, account, steps.now())
        if response.status == 400 and error.code is _CONTENT:
            # Some servers answer a dead token with a 400; the identity call tells it from bad content.
            try:
                verified = await self._verify(account, http)
            except PlatformError:
                return error
            if verified.status in (400, 401):
                error.code, error.retry, error.scope = _AUTH, Retry.REFRESH, Scope.CONNECTION
        return error

    async def reconcile(self, post: Post, intent: Intent, steps: Steps, http: Http) -> Outcome:
        """Look for the part among the account's statuses since the newest one before it (fact sheet).

        A part that is not there may be sent again: the listing is immediate, and the key is the same.
        """
        account = post.account
        since_id = (await steps.once("newest", _unknown))["since_id"]
        params = {"limit": str(LISTED)} | ({"since_id": since_id} if since_id else {})
        response = await self._statuses(account, params, http)
        if response.status == 403:
            return Undecided(never=True)
        earliest = intent.began_at - CLOCK_SKEW
        # The oldest of several is the first attempt.
        for status in reversed(self._listed(response, account, steps)):
            candidate = (
                datetime.fromisoformat(str(status["created_at"])) >= earliest
                and status.get("in_reply_to_id") == intent.key["parent"]
                and not status.get("media_attachments")
            )
            if candidate and await self._same_text(post, status, intent.key["text"], steps, http):
                return _published(status)
        return NotPublished()

    async def _same_text(self, post: Post, status: Mapping[str, Json], text: str, steps: Steps, http: Http) -> bool:
        account, warning = post.account, post.settings.get("spoilerText") or ""
        url = f"{account.base_url}/api/v1/statuses/{path_value(str(status['id']))}/source"
        response = await http.request("GET", url, headers=bearer(account))
        if response.status < 300:
            source = object_of(response)
            same_text = str(source.get("text", "")).strip() == text.strip()
            return same_text and (source.get("spoiler_text") or "") == warning
        if response.status not in (403, 404):
            raise classify(response, account, steps.now())
        return _letters_of_html(str(status.get("content", ""))) == letters(text)

    def sandbox_credentials(self, account_id: str) -> Mapping[str, str]:
        """Return the sandbox's token for this account."""
        return {"access_token": f"sandbox-{path_value(account_id)}"}


async def _unknown() -> Json:
    return {"since_id": None}


def _published(status: Mapping[str, Json]) -> Published:
    return Published(str(status["id"]), text_of(status.get("url")) or text_of(status.get("uri")))


def _status(settings: Mapping[str, Json], text: str, parent: str | None) -> dict[str, Json]:
    """Return the body of the create call; a content warning hides the whole post (spec platform-rules.md 8)."""
    warning = settings.get("spoilerText") or ""
    body: dict[str, Json] = {"status": text, "visibility": settings.get("visibility") or "public"}
    if warning:
        body["spoiler_text"] = warning
    if warning or settings.get("sensitive"):
        body["sensitive"] = True
    if language := settings.get("language"):
        body["language"] = language
    if parent is not None:
        body["in_reply_to_id"] = parent
    return body


CONNECTOR: Connector = Mastodon()
