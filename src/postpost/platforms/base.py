"""The connector contract: what a platform's file provides, what the engine hands to it, and how a platform fails.

A connector knows no environment, no clock and no database. HTTP and the durable steps come in as arguments,
so the same file talks to the real platform, to a self-hosted instance and to the sandbox.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol
from urllib.parse import quote

# Handed on to the connectors. Step results and keys are small ones: ids, offsets, URLs, never bytes or secrets.
from postpost.values import Json as Json
from postpost.values import decode_json


class ErrorCode(StrEnum):
    """Codes of a failed platform post (spec errors.md 5.1, rows F1 to F10)."""

    PLATFORM_AUTH_EXPIRED = "PLATFORM_AUTH_EXPIRED"
    RATE_LIMITED = "RATE_LIMITED"
    INVALID_CONTENT = "INVALID_CONTENT"
    CONTENT_TOO_LARGE = "CONTENT_TOO_LARGE"
    PLATFORM_SERVER_ERROR = "PLATFORM_SERVER_ERROR"
    NETWORK_ERROR = "NETWORK_ERROR"
    TIMEOUT_ERROR = "TIMEOUT_ERROR"
    UNKNOWN_ERROR = "UNKNOWN_ERROR"
    PLATFORM_VALIDATION_ERROR = "PLATFORM_VALIDATION_ERROR"
    PUBLISH_OUTCOME_UNKNOWN = "PUBLISH_OUTCOME_UNKNOWN"


class Retry(StrEnum):
    """What the engine does after a failure."""

    NEVER = "never"
    BACK_OFF = "back_off"
    """Try again after 1 s, 2 s, 4 s, ... with jitter; uses up attempts."""
    WAIT = "wait"
    """Hold back the error's scope until the platform's own time; uses no attempt."""
    REFRESH = "refresh"
    """Refresh the credentials once and repeat the step; a second refusal ends the post."""


class Scope(StrEnum):
    """Whose limit or fault a failure is: what has to wait, or has to be mended."""

    POST = "post"
    CONNECTION = "connection"
    APP = "app"


class Reconciles(StrEnum):
    """How surely a platform can tell after a crash whether a post went out."""

    CERTAIN = "certain"
    LIKELY = "likely"
    NEVER = "never"


class PlatformError(Exception):
    """A platform did not do what was asked, or could not be reached.

    `refused` says that this answer proves that nothing went public: an error without that proof inside a public
    step leads to `reconcile`, whatever its code. `wait` is the time the platform asked for (with `Retry.WAIT`).
    `status` and `raw` are the platform's HTTP status and text, None when it was not called or did not answer.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        retry: Retry = Retry.NEVER,
        refused: bool = True,
        scope: Scope = Scope.POST,
        status: int | None = None,
        raw: str | None = None,
        wait: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry = retry
        self.refused = refused
        self.scope = scope
        self.status = status
        self.raw = raw
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer, read whole (at most the client's cap). Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Json:
        """Return the decoded body; None when it is not JSON (proxies answer HTML) or holds what nobody can store."""
        try:
            return decode_json(self.body)
        except ValueError:
            return None

    def text(self) -> str:
        """Return the body as text; bytes that are no UTF-8, and U+0000, are replaced."""
        return self.body.decode("utf-8", "replace").replace("\0", "\ufffd")


class Http(Protocol):
    """Outgoing HTTP. Raises PlatformError NETWORK_ERROR or TIMEOUT_ERROR; `refused` is true when nothing was sent.

    Redirects are not followed. Any status is returned, not raised.
    """

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        json: Json = None,
        form: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Response:
        """Send one request and return the answer. `url` is sent as it is: percent-encode path values yourself."""
        ...


@dataclass(frozen=True, slots=True)
class App:
    """The operator's registration with a platform. Empty strings where none is configured."""

    client_id: str = ""
    client_secret: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """The connected account a call acts for.

    `id` is the account part of the compound id as the platform knows it; `base_url` has no final slash;
    `credentials` are decrypted; `facts` are what `identify` last found (the instance's own limits, scopes).
    """

    id: str
    username: str
    base_url: str
    credentials: Mapping[str, str] = field(repr=False)
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a credential belongs to, and what the account or its instance allows (`facts`)."""

    id: str
    username: str
    display_name: str | None = None
    profile_image_url: str | None = None
    profile_url: str | None = None
    permissions: tuple[str, ...] = ()
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grant:
    """New credentials and when they expire (None: they do not, or the platform does not say)."""

    credentials: Mapping[str, str] = field(repr=False)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Connected:
    """The outcome of connecting: who it is, and the credentials to keep."""

    identity: Identity
    grant: Grant


@dataclass(frozen=True, slots=True)
class Post:
    """One platform post as the connector sees it.

    `parts` is the rendered text, one string for each part of a thread (most posts have one). `settings` are the
    merged platformSettings of this platform. `id` is stable over every attempt.
    """

    id: str
    account: Account
    parts: tuple[str, ...]
    settings: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Published:
    """A part that is live: the platform's bare id, its public address if known, and what later parts need of it."""

    posted_id: str
    url: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotPublished:
    """The platform has no such post, and it could not have missed it: it is safe to send."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """The platform cannot say now. It is asked again; if it `never` can, the outcome is unknown at once."""

    never: bool = False


Outcome = Published | NotPublished | Undecided


@dataclass(frozen=True, slots=True)
class Intent:
    """A public call that was begun and whose answer was not stored.

    `key` is what was handed to `Steps.public`; `asked` counts the earlier reconciliations of this intent.
    """

    part: int
    key: Json
    began_at: datetime
    asked: int = 0


class Steps(Protocol):
    """The durable steps of one platform post. Names are stable; a step whose meaning changes gets a new one."""

    def now(self) -> datetime:
        """Return the current time, UTC. Store what you derive from it in a `once` step if it must not change."""
        ...

    async def once(self, name: str, call: Callable[[], Awaitable[Json]]) -> Json:
        """Return the stored result of `name`, else run `call` and store its result at once."""
        ...

    async def until(
        self,
        name: str,
        check: Callable[[], Awaitable[Json | None]],
        *,
        every: timedelta,
        at_most: timedelta,
    ) -> Json:
        """Return the stored result; else run the read-only `check` once. None releases the job until `every` later.

        After `at_most` since the first check the post fails with TIMEOUT_ERROR. No worker sleeps meanwhile.
        """
        ...

    async def public(self, part: int, key: Json, call: Callable[[], Awaitable[Published]]) -> Published:
        """Run the one call that shows part `part` (from 0) to the world, at most once.

        Commits the intent (with `key`, which `reconcile` gets back) before it and the result after it. Returns the
        stored result when the part is already out. After a crash or an unproven error the engine asks `reconcile`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform as data. The engine, the CLI and the docs read it and never name a platform.

    `base_url` is the default API address; `credential_fields` are what `connections add` asks for where there is no
    OAuth, or a token obtained elsewhere; `reconciles` is printed in the docs.
    """

    key: str
    name: str
    base_url: str
    credential_fields: tuple[str, ...]
    reconciles: Reconciles
    capabilities: frozenset[str] = frozenset()
    scopes: tuple[str, ...] = ()


class Connector(Protocol):
    """One platform's file: its data and the calls below. Every call may raise PlatformError."""

    platform: Platform

    async def connect(self, base_url: str, credentials: Mapping[str, str], app: App, http: Http) -> Connected:
        """Check the given credentials, exchange them where the platform has sessions, and say who they are."""
        ...

    async def refresh(self, account: Account, app: App, http: Http) -> Grant:
        """Get new credentials. Raises PLATFORM_AUTH_EXPIRED only on an explicit refusal by the platform."""
        ...

    async def identify(self, account: Account, http: Http) -> Identity:
        """Say who the credentials belong to now: the connection test. Read-only."""
        ...

    async def publish(self, post: Post, steps: Steps, http: Http) -> None:
        """Publish every part of the post through the steps; each part's result is that of its public step."""
        ...

    async def reconcile(self, post: Post, intent: Intent, steps: Steps, http: Http) -> Outcome:
        """Find out whether the part that `intent` names went out."""
        ...

    def sandbox_credentials(self, account_id: str) -> Mapping[str, str]:
        """Return credentials that the sandbox accepts for this account."""
        ...


def path_value(value: str) -> str:
    """Percent-encode one value for use inside a URL path; every reserved character is encoded."""
    return quote(value, safe="")


MAX_RAW_CHARACTERS = 1000
"""Longest `platformError` that is stored (spec errors.md 5.1)."""

RAW_MESSAGES: Mapping[ErrorCode, str] = {
    ErrorCode.PLATFORM_SERVER_ERROR: "The platform answered with an error of its own",
    ErrorCode.NETWORK_ERROR: "The platform could not be reached",
    ErrorCode.TIMEOUT_ERROR: "The platform did not answer in time",
    ErrorCode.PUBLISH_OUTCOME_UNKNOWN: (
        "The connection broke after the post was sent; check the account before retrying"
    ),
    ErrorCode.UNKNOWN_ERROR: "The platform answered something unexpected",
}


def default_error(response: Response, message: str | None = None) -> PlatformError:
    """Map an answer by its status alone, where no row of a connector's table fits (spec errors.md 5.1)."""
    status = response.status
    raw = response.text()[:MAX_RAW_CHARACTERS] or None
    code, retry, refused = ErrorCode.UNKNOWN_ERROR, Retry.NEVER, 400 <= status < 500
    if status == 401:
        code, retry = ErrorCode.PLATFORM_AUTH_EXPIRED, Retry.REFRESH
    elif status == 408:
        code, retry, refused = ErrorCode.TIMEOUT_ERROR, Retry.BACK_OFF, False
    elif status == 413:
        code = ErrorCode.CONTENT_TOO_LARGE
    elif status == 429:
        code, retry = ErrorCode.RATE_LIMITED, Retry.WAIT
    elif status in (400, 422):
        code = ErrorCode.INVALID_CONTENT
    elif status == 504:
        code, retry = ErrorCode.TIMEOUT_ERROR, Retry.BACK_OFF
    elif status >= 500:
        code, retry = ErrorCode.PLATFORM_SERVER_ERROR, Retry.BACK_OFF
    return PlatformError(
        code,
        message or RAW_MESSAGES.get(code) or f"The platform answered with status {status}",
        retry=retry,
        refused=refused,
        scope=Scope.CONNECTION if code in (ErrorCode.RATE_LIMITED, ErrorCode.PLATFORM_AUTH_EXPIRED) else Scope.POST,
        status=status,
        raw=raw,
    )
