"""The catalogue of HTTP errors: every refusal that the service can answer, as data, and the exceptions that carry one.

    Exception
    └── Refusal             an answer that is not what was asked for; knows its status, body and headers
        ├── ApiError        one row of the catalogue, with the values that its sentence needs
        └── LimitExceeded   a plan limit stands in the way (status 403, the eleven fields of errors.md section 4)

Rows, ids and sentences are those of errors.md (sections 3 and 4). A post that fails on its platform is no HTTP
error: see `postpost.platforms.base.PlatformError`. Rows of webhooks, workspaces, sessions and media join with
their wings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal, Self

import msgspec

from postpost.times import format_time

Period = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One row of the catalogue: the exact sentence, and when it is answered.

    `error` may hold `{name}` places that `ApiError` fills. `retry_after` is in seconds and is sent as `Retry-After`.
    """

    id: str
    status: int
    error: str
    when: str
    message: str | None = None
    retry_after: int | None = None


T1 = ErrorRow("T1", 404, "Not found", "There is no such path.")
T2 = ErrorRow("T2", 405, "Method not allowed", "The path exists with other methods, which `Allow` lists.")
T3 = ErrorRow("T3", 413, "Request body too large", "The body is larger than 1 MiB.")
_BAD_JSON = "The body is no JSON object, not UTF-8, holds U+0000 or half a surrogate pair, or is nested over 100 deep."
T4 = ErrorRow("T4", 400, "Invalid JSON body", _BAD_JSON)
T4_FORM = ErrorRow("T4-form", 400, "Invalid form body", "The form body is malformed, not UTF-8, or holds U+0000.")
T5 = ErrorRow("T5", 415, "Unsupported media type", "The body has a `Content-Type` that the route does not read.")
T6 = ErrorRow("T6", 503, "Service temporarily unavailable", "The database is away, or load is shed.", retry_after=2)
T7 = ErrorRow("T7", 429, "Too many requests", "The operator's limit of requests per key is reached.", retry_after=1)
T8 = ErrorRow("T8", 400, "Bad request", "The request is malformed in some other way (a bad `Host` header, say).")

A1 = ErrorRow("A1", 401, "API key is required", "`x-api-key` is absent or blank.")
A2 = ErrorRow("A2", 401, "Invalid API key", "The key is unknown, wrong or revoked.")
A3 = ErrorRow("A3", 401, "Invalid API key owner", "The key's account, or the account that pays, no longer exists.")
A4 = ErrorRow("A4", 403, "Account inactive", "An account involved is deactivated.", message="Your account is inactive.")
A5 = ErrorRow(
    "A5",
    403,
    "Subscription required",
    "The paying account has no plan, and there is no default plan.",
    message="No active plan entitlements found for this account.",
)
A6 = ErrorRow("A6", 403, "API access is not enabled for this account", "The plan does not include the API.")
A7 = ErrorRow("A7", 403, "MCP access is not enabled for this account", "The plan does not include MCP.")
A8 = ErrorRow("A8", 400, "Invalid x-postpost-user-id", "`x-postpost-user-id` is not 24 hexadecimal digits.")
A9 = ErrorRow("A9", 403, "Workspace access is not enabled for this key", "The key may not act for managed users.")
A10 = ErrorRow("A10", 403, "User is not managed by key", "`x-postpost-user-id` names no user that the key manages.")
A11 = ErrorRow("A11", 500, "Internal server error", "Our failure while the caller was being identified.")

C1 = ErrorRow("C1", 400, "Content is required", "`content` is absent, not a string, or blank.")
C2 = ErrorRow("C2", 400, "Platforms are required", '`platforms` is absent, `null`, `false`, `0` or `""`.')
C3 = ErrorRow("C3", 400, "Invalid platforms JSON format", "`platforms` is a string that is not JSON.")
C4 = ErrorRow("C4", 400, "Platforms must be an array", "`platforms` is no array.")
C5 = ErrorRow("C5", 400, "At least one platform is required", "`platforms` is empty.")
_PLATFORM_ID = "An entry of `platforms` does not match `[a-z]+-[A-Za-z0-9_.:-]+`."
C6 = ErrorRow("C6", 400, "Invalid platform ID format: {platformId}", _PLATFORM_ID)
C7 = ErrorRow("C7", 400, "Invalid scheduled time format", "`scheduledTime` is no ISO 8601 time with a zone.")
C8 = ErrorRow("C8", 400, "Scheduled time cannot be in the past", "`scheduledTime` is more than 5 minutes ago.")
C9 = ErrorRow("C9", 400, "Invalid platformSettings JSON", "`platformSettings` is a string that is not JSON.")
C10 = ErrorRow("C10", 400, "platformSettings must be an object", "`platformSettings` is no object.")
C11 = ErrorRow("C11", 400, "Platform connection not found: {platformId}", "The account has not connected it.")
C12 = ErrorRow("C12", 400, "Idempotency-Key must be at most 255 characters", "The `Idempotency-Key` header is longer.")
C13 = ErrorRow(
    "C13",
    409,
    "Idempotency key was used with a different request",
    "The same `Idempotency-Key` came with another body within 24 hours.",
)
C14 = ErrorRow("C14", 500, "Failed to create post group", "Our failure; nothing was created.")

_NO_GROUP = "Post group not found"
_NO_GROUP_WHEN = "The id is malformed or unknown, or the group is deleted or belongs to another account."
G1 = ErrorRow("G1", 404, _NO_GROUP, _NO_GROUP_WHEN)
G2 = ErrorRow("G2", 500, "Failed to fetch post group", "Our failure.")
D1 = ErrorRow("D1", 404, _NO_GROUP, _NO_GROUP_WHEN)
D2 = ErrorRow("D2", 500, "Failed to delete post group", "Our failure; nothing was deleted.")
P1 = ErrorRow("P1", 404, _NO_GROUP, _NO_GROUP_WHEN)
P2 = ErrorRow("P2", 500, "Failed to get post logs", "Our failure.")

U1 = ErrorRow("U1", 400, "Either status or scheduledTime must be provided", "Both are absent or falsy.")
U2 = ErrorRow("U2", 400, "Status must be either 'draft' or 'scheduled'", "`status` has another value.")
U3 = ErrorRow("U3", 400, C7.error, C7.when)
U4 = ErrorRow("U4", 400, C8.error, "The given time, or the stored one, is more than 5 minutes ago.")
U5 = ErrorRow("U5", 404, _NO_GROUP, _NO_GROUP_WHEN)
U6 = ErrorRow(
    "U6",
    400,
    "Cannot update post: post is currently in {status} status",
    "The group is published, failed, partially published or being processed.",
)
U7 = ErrorRow("U7", 500, "Failed to update post", "Our failure; nothing was changed.")

L1 = ErrorRow(
    "L1",
    400,
    "Invalid status. Must be one of: draft, scheduled, published, failed, partially_published",
    "`status` has another value.",
)
L2 = ErrorRow(
    "L2", 400, "Invalid sortBy. Must be one of: createdAt, updatedAt, scheduledTime", "`sortBy` has another value."
)
L3 = ErrorRow("L3", 400, "Invalid fromDate format", "`fromDate` is no date.")
L4 = ErrorRow("L4", 400, "Invalid toDate format", "`toDate` is no date.")
L5 = ErrorRow("L5", 500, "Failed to list posts", "Our failure.")

N1 = ErrorRow("N1", 500, "Failed to fetch platform connections", "Our failure.")
X1 = ErrorRow("X1", 400, "Invalid platformId format", "There is no dash, or nothing before or after the first one.")
X2 = ErrorRow("X2", 404, "Connection not found", "The account has not connected this platform id.")
X3 = ErrorRow("X3", 500, "Failed to test connection", "Our failure; what the platform says is a 200.")

V1 = ErrorRow("V1", 404, _NO_GROUP, _NO_GROUP_WHEN)
V2 = ErrorRow(
    "V2", 400, "Invalid media", "`media` is no array of at most 35 objects with a `type` of `image` or `video`."
)
V3 = ErrorRow("V3", 500, "Failed to validate post", "Our failure.")
R1 = ErrorRow("R1", 404, _NO_GROUP, _NO_GROUP_WHEN)
_NO_RETRY = "Nothing has failed, the group is being processed, or all that failed may be live already."
R2 = ErrorRow("R2", 409, "Post group has no failed posts to retry", _NO_RETRY)
R3 = ErrorRow("R3", 500, "Failed to retry post", "Our failure; nothing was queued.")

_ROWS = (
    *(T1, T2, T3, T4, T4_FORM, T5, T6, T7, T8),
    *(A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11),
    *(C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, C13, C14),
    *(G1, G2, D1, D2, P1, P2, U1, U2, U3, U4, U5, U6, U7, L1, L2, L3, L4, L5),
    *(N1, X1, X2, X3, V1, V2, V3, R1, R2, R3),
)
CATALOGUE: Mapping[str, ErrorRow] = MappingProxyType({row.id: row for row in _ROWS})
"""Every row by its id, in the order of errors.md section 3."""


class Refusal(Exception):  # noqa: N818 - nothing is wrong with us; the request is refused
    """The request is answered with an error; what is not listed in this module is never shown to a client."""

    status: int

    def body(self) -> dict[str, Any]:
        """Return the JSON body, its keys in the documented order."""
        raise NotImplementedError

    @property
    def headers(self) -> dict[str, str]:
        """Headers that the answer carries besides the usual ones."""
        return {}


class ApiError(Refusal):
    """One row of the catalogue. `values` fill the places of its sentence, `fields` stand beside it in the body."""

    def __init__(
        self,
        row: ErrorRow,
        *,
        fields: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        **values: str,
    ) -> None:
        self.row = row
        self.status = row.status
        self.error = row.error.format(**values) if values else row.error
        self.fields = dict(fields or {})
        self._headers = dict(headers or {})
        super().__init__(f"{row.id}: {self.error}")

    def body(self) -> dict[str, Any]:
        """Return `error`, then `message` where the row has one, then the further fields (errors.md section 1)."""
        if self.row.message is None:
            return {"error": self.error, **self.fields}
        return {"error": self.error, "message": self.row.message, **self.fields}

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After` where the row has a time, and what the caller added (`Allow` with T2)."""
        if self.row.retry_after is None:
            return self._headers
        return {"Retry-After": str(self.row.retry_after), **self._headers}


class BlockedConnection(msgspec.Struct, frozen=True, rename="camel"):
    """A connection without room; `platform_selection` is its compound id."""

    platform_selection: str
    used: int
    remaining: int


class LimitBody(msgspec.Struct, frozen=True, rename="camel"):
    """The answer to a request that a plan limit refuses: eleven fields always, context only where it belongs."""

    code: str
    error: str
    message: str
    metric: str
    limit: int | float | None
    used: int | None
    requested: int | None
    remaining: int | None
    period_start: str | None
    period_end: str | None
    plan_name: str
    scope: Literal["account", "connection"] | msgspec.UnsetType = msgspec.UNSET
    blocked_platforms: tuple[BlockedConnection, ...] | msgspec.UnsetType = msgspec.UNSET
    scheduled_time: str | msgspec.UnsetType = msgspec.UNSET
    max_scheduled_date: str | msgspec.UnsetType = msgspec.UNSET
    disallowed_platforms: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    allowed_platforms: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    over_limit_by: int | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class LimitRow:
    """One code of errors.md 4.2, and the variants (E1, E2, ...) that carry it."""

    ids: tuple[str, ...]
    code: str
    error: str
    metric: str
    message: str


_POSTS = LimitRow(
    ("E1", "E2"),
    "POST_LIMIT_REACHED",
    "Post limit reached",
    "posts.platform_monthly",
    "Monthly post limit reached. Your {plan} plan allows {limit} platform posts per month.",
)
_PENDING = LimitRow(
    ("E3", "E4"),
    "SCHEDULED_POST_LIMIT_REACHED",
    "Scheduled post limit reached",
    "posts.scheduled_active",
    "Scheduled post limit reached. Your {plan} plan allows {limit} scheduled posts at a time.",
)
_HORIZON = LimitRow(
    ("E5",),
    "SCHEDULE_HORIZON_REACHED",
    "Schedule horizon reached",
    "posts.schedule_horizon_days",
    "Schedule horizon reached. Your {plan} plan allows scheduling up to {limit} days ahead.",
)
_PLATFORM = LimitRow(
    ("E6",),
    "PLATFORM_NOT_AVAILABLE",
    "Platform not available",
    "posts.platform_monthly",
    "Platform not available. Your {plan} plan does not include: {names}.",
)
_CONNECTIONS = LimitRow(
    ("E7",),
    "CONNECTIONS_OVER_LIMIT",
    "Account over channel limit",
    "connections.total",
    "Account over channel limit. Your {plan} plan allows {limit} connected channels and {used} are connected.",
)
LIMITS: Mapping[str, LimitRow] = MappingProxyType(
    {id_: row for row in (_POSTS, _PENDING, _HORIZON, _PLATFORM, _CONNECTIONS) for id_ in row.ids}
)
"""The limits by the ids of their variants (errors.md 4.2 and 4.3)."""


class LimitExceeded(Refusal):
    """A plan limit stands in the way; nothing was created or changed (errors.md section 4).

    Made by the constructors below, one for each variant of errors.md 4.3. `period` is the counting period: its
    start and its exclusive end. `blocked` has the use of each connection without room, by compound id, in the
    order of the request.
    """

    status = 403

    def __init__(self, facts: LimitBody) -> None:
        self.facts = facts
        super().__init__(facts.message)

    def body(self) -> dict[str, Any]:
        """Return the eleven fields in the documented order, then the context of this variant."""
        body: dict[str, Any] = msgspec.to_builtins(self.facts)
        return body

    @classmethod
    def posts_of_account(cls, plan_name: str, *, limit: int, used: int, requested: int, period: Period) -> Self:
        """E1: the month's posts are used up, counted over the billing owner."""
        return cls(_account_facts(_POSTS, plan_name, limit, used, requested, period))

    @classmethod
    def posts_of_connections(
        cls, plan_name: str, *, limit: int, requested: int, blocked: Mapping[str, int], period: Period
    ) -> Self:
        """E2: the month's posts are used up for the connections in `blocked`."""
        return cls(_connection_facts(_POSTS, plan_name, limit, requested, blocked, period))

    @classmethod
    def pending_of_account(cls, plan_name: str, *, limit: int, used: int, requested: int) -> Self:
        """E3: too many platform posts are pending, counted over the billing owner."""
        return cls(_account_facts(_PENDING, plan_name, limit, used, requested, None))

    @classmethod
    def pending_of_connections(cls, plan_name: str, *, limit: int, requested: int, blocked: Mapping[str, int]) -> Self:
        """E4: too many platform posts are pending for the connections in `blocked`."""
        return cls(_connection_facts(_PENDING, plan_name, limit, requested, blocked, None))

    @classmethod
    def horizon(cls, plan_name: str, *, days: int | float, scheduled_time: datetime, now: datetime) -> Self:
        """E5: the time lies after now + `days` x 24 h."""
        last = now + timedelta(days=days)
        asked, most = format_time(scheduled_time), format_time(last)
        return cls(_facts(_HORIZON, plan_name, limit=days, scheduled_time=asked, max_scheduled_date=most))

    @classmethod
    def platforms(cls, plan_name: str, *, disallowed: Sequence[str], allowed: Sequence[str]) -> Self:
        """E6: the plan lacks `disallowed` (in the order of the request) and has `allowed` (in registry order)."""
        lacking, having = tuple(dict.fromkeys(disallowed)), tuple(allowed)
        names = ", ".join(lacking)
        return cls(_facts(_PLATFORM, plan_name, names, disallowed_platforms=lacking, allowed_platforms=having))

    @classmethod
    def connections(cls, plan_name: str, *, limit: int, used: int) -> Self:
        """E7: more accounts are connected than the plan allows."""
        facts = _account_facts(_CONNECTIONS, plan_name, limit, used, 0, None)
        return cls(msgspec.structs.replace(facts, over_limit_by=used - limit))


def _account_facts(row: LimitRow, plan: str, limit: int, used: int, requested: int, period: Period | None) -> LimitBody:
    remaining = max(limit - used, 0)
    return _facts(
        row, plan, limit=limit, used=used, requested=requested, remaining=remaining, period=period, scope="account"
    )


def _connection_facts(
    row: LimitRow, plan: str, limit: int, requested: int, blocked: Mapping[str, int], period: Period | None
) -> LimitBody:
    full = tuple(BlockedConnection(id_, used, max(limit - used, 0)) for id_, used in blocked.items())
    return _facts(
        row, plan, limit=limit, requested=requested, period=period, scope="connection", blocked_platforms=full
    )


def _facts(
    row: LimitRow,
    plan: str,
    names: str = "",
    *,
    limit: int | float | None = None,
    used: int | None = None,
    requested: int | None = None,
    remaining: int | None = None,
    period: Period | None = None,
    **context: Any,
) -> LimitBody:
    if isinstance(limit, float) and limit.is_integer():
        limit = int(limit)  # An operator's `7.0` days read as 7.
    start, end = (format_time(period[0]), format_time(period[1])) if period else (None, None)
    message = row.message.format(plan=plan, limit=limit, used=used, names=names)
    counts = (limit, used, requested, remaining)
    return LimitBody(row.code, row.error, message, row.metric, *counts, start, end, plan, **context)
