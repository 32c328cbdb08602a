"""Reading what platforms answer: tables of known errors, waits, secrets taken out, and the renewal of OAuth 2 tokens.

Shared by the connectors, so that each of their files holds only how its platform differs.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from postpost.platforms.base import (
    MAX_RAW_CHARACTERS,
    RAW_MESSAGES,
    Account,
    App,
    ErrorCode,
    Grant,
    Http,
    Json,
    PlatformError,
    Response,
    Retry,
    Scope,
    default_error,
)

SERVER_ERRORS = range(500, 600)
"""Statuses of a platform's own failures; the sheets of our platforms count 504 among them."""


@dataclass(frozen=True, slots=True)
class Row:
    """One known error of a platform: how it is recognised and what it means.

    It fits an answer with one of `statuses` (any, if empty) that holds one of `names`, compared exactly, or one of
    `phrases`, given in lower case (any answer, if both are empty). `wait` is for a platform that names no time, and
    `says` for one that finds no words.
    """

    code: ErrorCode
    statuses: Collection[int] = ()
    names: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    retry: Retry = Retry.NEVER
    scope: Scope = Scope.POST
    wait: timedelta | None = None
    says: str | None = None

    def fits(self, status: int, names: Collection[str], text: str) -> bool:
        """Say whether an answer is this error; `text` is its body in lower case."""
        if self.statuses and status not in self.statuses:
            return False
        if not self.names and not self.phrases:
            return True
        return any(name in names for name in self.names) or any(phrase in text for phrase in self.phrases)


@dataclass(frozen=True, slots=True)
class Told:
    """What a platform said in an error answer: its own codes and types, and its sentence."""

    names: frozenset[str] = frozenset()
    message: str | None = None


def failure(
    rows: Sequence[Row],
    response: Response,
    told: Told,
    *,
    secrets: Iterable[str] = (),
    wait: timedelta | None = None,
) -> PlatformError:
    """Return what an error answer means by the first row that fits it, else by its status.

    `wait` is the time that the answer itself asks for. Only a 4xx other than 408 proves that nothing went public.
    """
    secrets = tuple(secrets)
    message = scrub(told.message, secrets) if told.message else None
    error = default_error(response, message)
    error.raw = scrub(response.text(), secrets)[:MAX_RAW_CHARACTERS] or None
    text = response.text().lower()
    row = next((row for row in rows if row.fits(response.status, told.names, text)), None)
    if row is not None:
        error.code, error.retry, error.scope = row.code, row.retry, row.scope
        error.message = message or row.says or RAW_MESSAGES.get(row.code) or error.message
    if error.retry is Retry.WAIT:
        error.wait = row.wait if wait is None and row is not None else wait
    return error


def unreadable(response: Response, secrets: Iterable[str] = ()) -> PlatformError:
    """Return the error for a success that lacks what was asked for: what was asked may or may not have been done."""
    return PlatformError(
        ErrorCode.UNKNOWN_ERROR,
        RAW_MESSAGES[ErrorCode.UNKNOWN_ERROR],
        retry=Retry.BACK_OFF,
        refused=False,
        status=response.status,
        raw=scrub(response.text(), secrets)[:MAX_RAW_CHARACTERS] or None,
    )


def reconnect(message: str, *, retry: Retry = Retry.NEVER) -> PlatformError:
    """Return the error for credentials that are of no more use; the platform was not asked."""
    return PlatformError(ErrorCode.PLATFORM_AUTH_EXPIRED, message, retry=retry, scope=Scope.CONNECTION)


def bearer(account: Account, field: str = "access_token") -> dict[str, str]:
    """Return the Authorization header of an account. Raises PLATFORM_AUTH_EXPIRED (refresh) when it has no token."""
    token = account.credentials.get(field)
    if not token:
        raise reconnect("There is no access token for this account", retry=Retry.REFRESH)
    return {"Authorization": f"Bearer {token}"}


def object_of(response: Response) -> dict[str, Json]:
    """Return the JSON object of a body, empty when it is none: proxies answer HTML."""
    body = response.json()
    return body if isinstance(body, dict) else {}


def text_of(value: Json) -> str | None:
    """Return a value of an answer if it is a string that is not empty."""
    return value if isinstance(value, str) and value else None


_PUBLIC_FIELDS = frozenset({"identifier", "scope"})
"""Credential fields that are no secrets."""

_TOKENS = re.compile(
    r"(?i)(?P<before>\b(?:bearer|basic)\s+"
    r"|[\w-]*(?:token|jwt|secret|password)[\"']?\s*[:=]\s*[\"']?)(?P<token>[^\s\"'&,;{}<>]{6,})"
)
_SHORTEST_SECRET = 6


def secrets_of(credentials: Mapping[str, str], app: App | None = None) -> tuple[str, ...]:
    """Return the values that may never be shown: those of the credentials, and the app's secret."""
    values = [value for name, value in credentials.items() if name not in _PUBLIC_FIELDS]
    return (*values, app.client_secret) if app else tuple(values)


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a platform's text without the given secrets and without anything that looks like a token."""
    known = {value for value in secrets if len(value) >= _SHORTEST_SECRET}
    for secret in sorted(known | {quote(value, safe="") for value in known}, key=len, reverse=True):
        text = text.replace(secret, "[removed]")
    return _TOKENS.sub(r"\g<before>[removed]", text)


def answered_at(response: Response, now: datetime | None = None) -> datetime | None:
    """Return the platform's time of an answer (its Date header), else `now`."""
    try:
        return parsedate_to_datetime(response.headers.get("date", "")).astimezone(UTC)
    except ValueError:
        return now


def retry_after(response: Response, now: datetime | None = None) -> timedelta | None:
    """Return the wait of a Retry-After header, which holds seconds or a date; None when there is none."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return _seconds(float(value))
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return _until(moment.astimezone(UTC), response, now)


def wait_for_reset(value: str | None, response: Response, now: datetime | None = None) -> timedelta | None:
    """Return the wait until a reset header's time: Unix seconds, or ISO 8601. None when there is none."""
    if not value:
        return None
    try:
        moment = unix_time(float(value)) if _NUMBER.fullmatch(value) else datetime.fromisoformat(value)
    except ValueError:
        return None
    return _until(moment if moment.tzinfo else moment.replace(tzinfo=UTC), response, now) if moment else None


def told_wait(response: Response, reset_header: str, now: datetime | None = None) -> timedelta | None:
    """Return the wait of Retry-After, else that until the time in `reset_header`; None when there is neither."""
    wait = retry_after(response, now)
    return wait if wait is not None else wait_for_reset(response.headers.get(reset_header), response, now)


_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_LONGEST_WAIT = timedelta(days=31)
_LONGEST_LIFE_SECONDS = 1e9
_LAST_SECOND = 1e11


def _seconds(number: float) -> timedelta:
    return timedelta(seconds=min(number, _LONGEST_WAIT.total_seconds()))


def _until(moment: datetime, response: Response, now: datetime | None) -> timedelta | None:
    begin = answered_at(response, now)
    return None if begin is None else max(timedelta(), min(moment - begin, _LONGEST_WAIT))


_TOKEN_ROWS = (
    Row(ErrorCode.PLATFORM_AUTH_EXPIRED, names=("invalid_grant",), scope=Scope.CONNECTION),
    Row(
        ErrorCode.RATE_LIMITED,
        statuses=(429,),
        retry=Retry.WAIT,
        scope=Scope.CONNECTION,
        wait=timedelta(minutes=5),
        says="The platform takes no more sign-ins for now",
    ),
    Row(ErrorCode.PLATFORM_SERVER_ERROR, statuses=SERVER_ERRORS, retry=Retry.BACK_OFF),
    # The operator's registration is at fault, not the account: no connection may be given up for it.
    Row(
        ErrorCode.UNKNOWN_ERROR,
        statuses=range(400, 500),
        scope=Scope.APP,
        says="The platform refused the app's client id or secret",
    ),
)


UNREGISTERED = "postpost"
"""Client id and secret of a token call where the operator registered no app: the sandbox takes it, a platform says
what is wrong instead of blaming the account's token."""


async def renew(
    account: Account,
    app: App,
    http: Http,
    url: str,
    *,
    form: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
    rows: Sequence[Row] = (),
) -> Grant:
    """Renew OAuth 2 credentials with `form` and the account's refresh token (RFC 6749 section 6).

    The refresh token of the answer replaces the old one, which stays where the answer names none. `rows` are the
    platform's own refusals, read before the standard ones. Raises PLATFORM_AUTH_EXPIRED when there is no refresh
    token or it is refused; a failure of another kind keeps its code.
    """
    refresh_token = account.credentials.get("refresh_token")
    if not refresh_token:
        raise reconnect("The access token is no longer valid; connect the account again")
    fields = {"grant_type": "refresh_token", "refresh_token": refresh_token, **form}
    response = await http.request("POST", url, form=fields, headers=headers)
    body = object_of(response)
    secrets = secrets_of(account.credentials, app)
    if response.status >= 300:
        told = Told(
            frozenset(filter(None, [text_of(body.get("error"))])),
            text_of(body.get("error_description")) or text_of(body.get("error")),
        )
        raise failure((*rows, *_TOKEN_ROWS), response, told, secrets=secrets, wait=retry_after(response))
    access_token = text_of(body.get("access_token"))
    if access_token is None:
        # Its text is not kept: it may hold new tokens that no table of secrets knows.
        raise unreadable(Response(response.status, response.headers, b""))
    renewed = {**account.credentials, "access_token": access_token}
    for name in ("refresh_token", "scope"):
        if value := text_of(body.get(name)):
            renewed[name] = value
    return Grant(renewed, expiry(body.get("expires_in"), response))


def expiry(lifetime_seconds: Json, response: Response) -> datetime | None:
    """Return when a token ends that lives `lifetime_seconds` from the answer on; None when the answer does not say."""
    begin = answered_at(response)
    if begin is None or not isinstance(lifetime_seconds, int) or not 0 < lifetime_seconds < _LONGEST_LIFE_SECONDS:
        return None
    return begin + timedelta(seconds=lifetime_seconds)


def unix_time(seconds: Json) -> datetime | None:
    """Return the moment that a number of seconds since 1970 names; None when it is no such number."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < _LAST_SECOND:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def permissions_of(credentials: Mapping[str, str]) -> tuple[str, ...]:
    """Return the scopes that were noted with the credentials; platforms part them by blanks or commas."""
    return tuple(re.split(r"[\s,]+", credentials["scope"].strip())) if credentials.get("scope", "").strip() else ()
