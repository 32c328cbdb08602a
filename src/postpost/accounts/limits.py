"""The limit rules: what a plan refuses, given the numbers (spec plans.md 3 and 4). Pure: no clock, no database."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from postpost.accounts.plans import PLATFORM_KEYS, ActivePlan, Scope
from postpost.errors import LimitExceeded, Period

ACCOUNT = ""
"""Where a count in account scope stands in a mapping by platform id; no platform id is empty."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What is taken at this moment, counted under the billing owner's lock.

    `connections` is how many accounts are connected. `monthly` and `pending` count platform posts by platform id
    where the plan counts by connection, where an absent one is 0; in account scope the one number stands under
    `ACCOUNT`. A number whose limit is None is never looked at.
    """

    connections: int
    monthly: Mapping[str, int]
    pending: Mapping[str, int]


def period(now: datetime) -> Period:
    """Return the counting period that `now` lies in: start and exclusive end, a calendar month in UTC (3.1)."""
    start = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    # No month has more than 31 days and none fewer than 28, so that this always lands in the next one.
    return start, (start + timedelta(days=32)).replace(day=1)


def for_create(
    plan: ActivePlan, platform_ids: Sequence[str], scheduled_at: datetime | None, usage: Usage, now: datetime
) -> LimitExceeded | None:
    """Return what refuses a new post group for `platform_ids`; `scheduled_at` None creates a draft."""
    if scheduled_at is None:
        return _check_platforms(plan, platform_ids)
    return for_schedule(plan, platform_ids, platform_ids, scheduled_at, usage, now)


def for_schedule(
    plan: ActivePlan,
    platform_ids: Sequence[str],
    uncharged: Sequence[str],
    scheduled_at: datetime,
    usage: Usage,
    now: datetime,
) -> LimitExceeded | None:
    """Return what refuses to schedule a draft: all five checks. `uncharged` are its posts that hold no charge."""
    return (
        for_reschedule(plan, platform_ids, scheduled_at, usage, now)
        or _check_monthly(plan, uncharged, usage, now)
        or _check_pending(plan, platform_ids, usage)
    )


def for_reschedule(
    plan: ActivePlan, platform_ids: Sequence[str], scheduled_at: datetime, usage: Usage, now: datetime
) -> LimitExceeded | None:
    """Return what refuses a new time for a group that is scheduled already."""
    return for_retry(plan, platform_ids, usage) or _check_horizon(plan, scheduled_at, now)


def for_retry(plan: ActivePlan, platform_ids: Sequence[str], usage: Usage) -> LimitExceeded | None:
    """Return what refuses to publish failed posts again."""
    return _check_platforms(plan, platform_ids) or _check_connections(plan, usage)


def _check_platforms(plan: ActivePlan, platform_ids: Sequence[str]) -> LimitExceeded | None:
    allowed = plan.entitlements.allowed_platforms
    if allowed is None:
        return None
    wanted = (platform_id.partition("-")[0] for platform_id in platform_ids)
    disallowed = [platform for platform in wanted if platform not in allowed]
    if not disallowed:
        return None
    having = [platform for platform in PLATFORM_KEYS if platform in allowed]
    return LimitExceeded.platforms(plan.name, disallowed=disallowed, allowed=having)


def _check_connections(plan: ActivePlan, usage: Usage) -> LimitExceeded | None:
    limit = plan.connection_limit
    if limit is None or usage.connections <= limit:
        return None
    return LimitExceeded.connections(plan.name, limit=limit, used=usage.connections)


def _check_horizon(plan: ActivePlan, scheduled_at: datetime, now: datetime) -> LimitExceeded | None:
    days = plan.entitlements.schedule_horizon_days
    # Whatever counts as now is not after now, and passes any horizon, 0 days included.
    if days is None or scheduled_at <= now + timedelta(days=days):
        return None
    return LimitExceeded.horizon(plan.name, days=days, scheduled_time=scheduled_at, now=now)


def _check_monthly(plan: ActivePlan, uncharged: Sequence[str], usage: Usage, now: datetime) -> LimitExceeded | None:
    limit = plan.entitlements.monthly_posts
    if limit is None or not uncharged:
        return None
    requested = len(uncharged)
    if plan.entitlements.monthly_posts_scope is Scope.CONNECTION:
        blocked = _without_room(limit, uncharged, usage.monthly)
        if not blocked:
            return None
        return LimitExceeded.posts_of_connections(
            plan.name, limit=limit, requested=requested, blocked=blocked, period=period(now)
        )
    used = usage.monthly[ACCOUNT]
    if used + requested <= limit:
        return None
    return LimitExceeded.posts_of_account(plan.name, limit=limit, used=used, requested=requested, period=period(now))


def _check_pending(plan: ActivePlan, platform_ids: Sequence[str], usage: Usage) -> LimitExceeded | None:
    limit = plan.entitlements.scheduled_posts
    if limit is None:
        return None
    requested = len(platform_ids)
    if plan.entitlements.scheduled_posts_scope is Scope.CONNECTION:
        blocked = _without_room(limit, platform_ids, usage.pending)
        if not blocked:
            return None
        return LimitExceeded.pending_of_connections(plan.name, limit=limit, requested=requested, blocked=blocked)
    used = usage.pending[ACCOUNT]
    if used + requested <= limit:
        return None
    return LimitExceeded.pending_of_account(plan.name, limit=limit, used=used, requested=requested)


def _without_room(limit: int, platform_ids: Sequence[str], taken: Mapping[str, int]) -> dict[str, int]:
    """Return what the connections without room have used, in the order of the request."""
    wanted = Counter(platform_ids)
    return {one: taken.get(one, 0) for one in wanted if taken.get(one, 0) + wanted[one] > limit}
