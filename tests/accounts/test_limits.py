"""The numbered cases are the rows of spec plans.md 5 that concern posts; rows 14, 19 and 23 are about connecting."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postpost.accounts import limits
from postpost.accounts.limits import ACCOUNT, Usage
from postpost.accounts.plans import BUILT_IN, ActivePlan, Entitlements, Scope, resolve
from postpost.errors import LimitExceeded
from postpost.values import Json

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)
MARCH = {"periodStart": "2026-03-01T00:00:00.000Z", "periodEnd": "2026-04-01T00:00:00.000Z"}
NO_PERIOD = {"periodStart": None, "periodEnd": None}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NINE = ["linkedin", "instagram", "threads", "tiktok", "youtube", "facebook", "bluesky", "mastodon", "telegram"]


def plan_of(key: str | None, overrides: dict[str, Json] | None = None, seats: int | None = None) -> ActivePlan:
    plan = resolve(key, overrides or {}, seats, plans=BUILT_IN, default_plan=None)
    assert plan is not None
    return plan


N = plan_of("starter", {"apiAccess": True})
STARTER, PRO, PREMIUM = plan_of("starter"), plan_of("pro"), plan_of("premium")


def usage(*, connections: int = 0, monthly: int = 0, pending: int = 0) -> Usage:
    return Usage(connections, {ACCOUNT: monthly}, {ACCOUNT: pending})


def by_connection(monthly: Mapping[str, int] | None = None, pending: Mapping[str, int] | None = None) -> Usage:
    return Usage(0, monthly or {}, pending or {})


def seen(refusal: LimitExceeded | None) -> dict[str, Any]:
    assert refusal is not None
    body: dict[str, Any] = json.loads(msgspec.json.encode(refusal.body()))
    return body


def facts(refusal: LimitExceeded | None) -> dict[str, Any]:
    """Return what a client sees of a refusal but for the words."""
    return {name: value for name, value in seen(refusal).items() if name not in ("error", "message", "metric")}


def account_refusal(code: str, limit: int, used: int, requested: int, **rest: Any) -> dict[str, Any]:
    counts = {"limit": limit, "used": used, "requested": requested, "remaining": max(limit - used, 0)}
    return {"code": code, **counts, "planName": "Starter", "scope": "account", **rest}


def connection_refusal(code: str, requested: int, full: Mapping[str, int], **rest: Any) -> dict[str, Any]:
    blocked = [{"platformSelection": one, "used": used, "remaining": max(100 - used, 0)} for one, used in full.items()]
    counts = {"limit": 100, "used": None, "requested": requested, "remaining": None}
    return {"code": code, **counts, "planName": "Pro", "scope": "connection", "blockedPlatforms": blocked, **rest}


def create(
    plan: ActivePlan, platform_ids: Sequence[str], taken: Usage, scheduled_at: datetime | None = NOW
) -> LimitExceeded | None:
    return limits.for_create(plan, platform_ids, scheduled_at, taken, NOW)


def test_row_1_when_one_is_left_and_one_is_asked_for_then_accepted():
    assert create(N, ["linkedin-1"], usage(monthly=14)) is None


def test_row_2_when_one_is_left_and_two_are_asked_for_then_refused_whole():
    refusal = create(N, ["linkedin-1", "bluesky-2"], usage(monthly=14))

    assert facts(refusal) == account_refusal("POST_LIMIT_REACHED", 15, 14, 2, **MARCH)


def test_row_3_when_none_is_left_and_a_draft_is_created_then_accepted():
    assert create(N, ["linkedin-1"], usage(monthly=15), scheduled_at=None) is None


def test_row_4_when_none_is_left_and_a_draft_is_scheduled_then_refused():
    refusal = limits.for_schedule(N, ["linkedin-1"], ["linkedin-1"], NOW, usage(monthly=15), NOW)

    assert facts(refusal) == account_refusal("POST_LIMIT_REACHED", 15, 15, 1, **MARCH)


def test_row_5_when_a_charge_was_given_back_then_its_place_is_free():
    assert create(N, ["linkedin-1"], usage(monthly=15)) is not None
    assert create(N, ["linkedin-1"], usage(monthly=15 - 1)) is None


def test_row_6_when_three_are_pending_then_the_fourth_is_refused():
    refusal = create(N, ["linkedin-1"], usage(pending=3))

    assert facts(refusal) == account_refusal("SCHEDULED_POST_LIMIT_REACHED", 3, 3, 1, **NO_PERIOD)


def test_row_7_when_two_are_pending_then_two_more_are_refused():
    refusal = create(N, ["linkedin-1", "bluesky-2"], usage(pending=2))

    assert facts(refusal) == account_refusal("SCHEDULED_POST_LIMIT_REACHED", 3, 2, 2, **NO_PERIOD)


def test_row_8_when_both_limits_are_reached_then_the_monthly_one_answers():
    refusal = create(N, ["linkedin-1"], usage(monthly=15, pending=3))

    assert facts(refusal)["code"] == "POST_LIMIT_REACHED"


def test_row_9_when_a_minute_past_the_horizon_then_refused():
    refusal = create(N, ["linkedin-1"], usage(), NOW + timedelta(days=7, minutes=1))

    assert facts(refusal) == {
        "code": "SCHEDULE_HORIZON_REACHED",
        **dict.fromkeys(("used", "requested", "remaining", "periodStart", "periodEnd")),
        "limit": 7,
        "planName": "Starter",
        "scheduledTime": "2026-03-17T09:01:00.000Z",
        "maxScheduledDate": "2026-03-17T09:00:00.000Z",
    }


def test_row_10_when_an_hour_before_the_horizon_then_accepted():
    assert create(N, ["linkedin-1"], usage(), NOW + timedelta(days=6, hours=23)) is None


def test_row_11_when_the_plan_lacks_a_platform_then_a_draft_is_refused():
    refusal = create(N, ["twitter-1", "linkedin-2"], usage(), scheduled_at=None)

    assert facts(refusal) == {
        "code": "PLATFORM_NOT_AVAILABLE",
        **dict.fromkeys(("limit", "used", "requested", "remaining", "periodStart", "periodEnd")),
        "planName": "Starter",
        "disallowedPlatforms": ["twitter"],
        "allowedPlatforms": NINE,
    }


def test_row_12_when_too_many_are_connected_then_scheduling_is_refused():
    refusal = create(N, ["linkedin-1"], usage(connections=5))

    assert facts(refusal) == account_refusal("CONNECTIONS_OVER_LIMIT", 3, 5, 0, overLimitBy=2, **NO_PERIOD)


def test_row_13_when_too_many_are_connected_then_a_draft_is_accepted():
    assert create(N, ["linkedin-1"], usage(connections=5), scheduled_at=None) is None


def test_row_15_when_one_connection_is_used_up_then_refused_with_that_one():
    refusal = create(PRO, ["twitter-1", "linkedin-2"], by_connection({"twitter-1": 100, "linkedin-2": 41}))

    assert facts(refusal) == connection_refusal("POST_LIMIT_REACHED", 2, {"twitter-1": 100}, **MARCH)


def test_row_16_when_another_connection_is_used_up_then_accepted():
    assert create(PRO, ["linkedin-2"], by_connection({"twitter-1": 100, "linkedin-2": 41})) is None


def test_row_17_when_a_connection_has_all_its_posts_pending_then_refused_with_it():
    refusal = create(PRO, ["twitter-1"], by_connection(pending={"twitter-1": 100}))

    assert facts(refusal) == connection_refusal("SCHEDULED_POST_LIMIT_REACHED", 1, {"twitter-1": 100}, **NO_PERIOD)


def test_row_18_when_there_is_no_horizon_then_any_time_is_accepted():
    assert create(PRO, ["twitter-1"], by_connection(), NOW + timedelta(days=400)) is None


def test_row_20_when_one_is_left_for_a_connection_then_accepted():
    assert create(PREMIUM, ["twitter-1"], by_connection({"twitter-1": 499})) is None


def test_row_21_when_a_managed_user_used_some_then_they_count_for_the_owner():
    refusal = create(N, ["linkedin-1"], usage(monthly=10 + 5))

    assert facts(refusal) == account_refusal("POST_LIMIT_REACHED", 15, 15, 1, **MARCH)


def test_row_22_when_the_owners_plan_has_the_platform_then_its_managed_user_has_it():
    assert create(PRO, ["twitter-1"], by_connection()) is None


def test_row_24_when_the_plan_is_starter_then_it_has_no_api_access():
    assert not STARTER.entitlements.api_access


def test_row_25_when_there_is_neither_plan_nor_default_then_nothing_holds():
    assert resolve(None, {}, None, plans=BUILT_IN, default_plan=None) is None


EXAMPLES = {
    "E1": create(STARTER, ["linkedin-1", "bluesky-2"], usage(monthly=14)),
    "E2": create(
        PRO,
        ["twitter-123456789", "linkedin-ABC123"],
        by_connection({"twitter-123456789": 100, "linkedin-ABC123": 41}),
    ),
    "E3": create(STARTER, ["linkedin-1"], usage(pending=3)),
    "E4": create(
        PREMIUM,
        ["mastodon-1098", "bluesky-did:plc:abc123"],
        by_connection(pending={"bluesky-did:plc:abc123": 500, "mastodon-1098": 500}),
    ),
    "E5": create(STARTER, ["linkedin-1"], usage(), NOW + timedelta(days=10)),
    "E6": create(STARTER, ["twitter-123456789", "linkedin-ABC123"], usage(), scheduled_at=None),
    "E7": create(STARTER, ["linkedin-1"], usage(connections=5)),
}
"""What meets the examples of spec errors.md 4.5, whose bodies stand word for word in the file of cases."""

BODIES = json.loads((Path(__file__).parent / "cases" / "limit_bodies.json").read_text("utf-8"))


@pytest.mark.parametrize("example", BODIES)
def test_example_when_met_then_the_documented_body(example: str):
    assert seen(EXAMPLES[example]) == BODIES[example]


def test_reschedule_when_posts_are_used_up_then_accepted():
    assert limits.for_reschedule(N, ["linkedin-1"], NOW, usage(monthly=15, pending=3), NOW) is None


def test_reschedule_when_past_the_horizon_then_refused():
    refusal = limits.for_reschedule(N, ["linkedin-1"], NOW + timedelta(days=8), usage(), NOW)

    assert facts(refusal)["code"] == "SCHEDULE_HORIZON_REACHED"


def test_retry_when_posts_are_used_up_then_accepted():
    assert limits.for_retry(N, ["linkedin-1"], usage(monthly=15, pending=3)) is None


@pytest.mark.parametrize(
    ("platform_id", "connected", "code"),
    [("twitter-1", 0, "PLATFORM_NOT_AVAILABLE"), ("linkedin-1", 4, "CONNECTIONS_OVER_LIMIT")],
)
def test_retry_when_the_plan_no_longer_has_it_then_refused(platform_id: str, connected: int, code: str):
    assert facts(limits.for_retry(N, [platform_id], usage(connections=connected)))["code"] == code


def test_schedule_when_every_post_holds_its_charge_then_the_month_is_not_looked_at():
    assert limits.for_schedule(N, ["linkedin-1"], [], NOW, usage(monthly=20), NOW) is None


def test_schedule_when_one_of_two_posts_holds_its_charge_then_one_is_requested():
    refusal = limits.for_schedule(N, ["linkedin-1", "bluesky-2"], ["bluesky-2"], NOW, usage(monthly=15), NOW)

    assert facts(refusal)["requested"] == 1


def test_schedule_when_everything_is_wrong_then_each_check_answers_in_the_documented_order():
    late, taken = NOW + timedelta(days=8), usage(connections=4, monthly=15, pending=3)
    mended = {
        "PLATFORM_NOT_AVAILABLE": {"allowed_platforms": None},
        "CONNECTIONS_OVER_LIMIT": {"connections": None},
        "SCHEDULE_HORIZON_REACHED": {"schedule_horizon_days": None},
        "POST_LIMIT_REACHED": {"monthly_posts": None},
        "SCHEDULED_POST_LIMIT_REACHED": {"scheduled_posts": None},
    }
    plan, codes = N, []
    for change in mended.values():
        codes.append(facts(create(plan, ["twitter-1"], taken, late))["code"])
        entitlements = replace(plan.entitlements, **change)
        limit = None if "connections" in change else plan.connection_limit
        plan = replace(plan, entitlements=entitlements, connection_limit=limit)

    assert codes == list(mended)
    assert create(plan, ["twitter-1"], taken, late) is None


@pytest.mark.parametrize("moment", [NOW - timedelta(minutes=5), NOW])
def test_horizon_when_the_time_counts_as_now_then_even_zero_days_let_it_pass(moment: datetime):
    assert create(plan_of("starter", {"scheduleHorizonDays": 0}), ["linkedin-1"], usage(), moment) is None


def test_horizon_when_exactly_at_the_end_then_accepted():
    assert create(N, ["linkedin-1"], usage(), NOW + timedelta(days=7)) is None


def test_horizon_when_a_millisecond_later_then_refused():
    assert create(N, ["linkedin-1"], usage(), NOW + timedelta(days=7, milliseconds=1)) is not None


def test_horizon_when_half_a_day_then_twelve_hours():
    refusal = create(
        plan_of("starter", {"scheduleHorizonDays": 0.5}), ["linkedin-1"], usage(), NOW + timedelta(hours=13)
    )

    assert facts(refusal)["maxScheduledDate"] == "2026-03-10T21:00:00.000Z"


def test_connections_when_at_the_limit_itself_then_accepted():
    assert create(N, ["linkedin-1"], usage(connections=3)) is None


def test_connections_when_seats_were_given_back_then_refused():
    refusal = create(plan_of("pro", seats=4), ["twitter-1"], Usage(5, {}, {}))

    assert facts(refusal)["overLimitBy"] == 1


@pytest.mark.parametrize("entitlement", ["monthlyPosts", "scheduledPosts"])
@pytest.mark.parametrize("key", ["starter", "pro"])
def test_limit_when_zero_then_everything_is_refused(key: str, entitlement: str):
    taken = Usage(0, {ACCOUNT: 0}, {ACCOUNT: 0})

    assert create(plan_of(key, {entitlement: 0}), ["linkedin-1"], taken) is not None


def test_limit_when_none_then_nothing_is_counted():
    unlimited = plan_of("starter", {"monthlyPosts": None, "scheduledPosts": None, "connections": None})

    assert create(unlimited, ["linkedin-1"], Usage(10**6, {}, {})) is None


def test_limit_when_the_number_of_the_account_is_missing_then_it_is_no_zero():
    with pytest.raises(KeyError):
        create(N, ["linkedin-1"], Usage(0, {"linkedin-1": 3}, {}))


def test_limit_when_usage_is_above_it_then_remaining_is_zero():
    refusal = create(PRO, ["twitter-1"], by_connection({"twitter-1": 180}))

    assert facts(refusal)["blockedPlatforms"] == [{"platformSelection": "twitter-1", "used": 180, "remaining": 0}]


@pytest.mark.parametrize(
    ("now", "start", "end"),
    [
        (datetime(2026, 3, 10, 9, tzinfo=UTC), (2026, 3), (2026, 4)),
        (datetime(2026, 3, 1, tzinfo=UTC), (2026, 3), (2026, 4)),
        (datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), (2026, 12), (2027, 1)),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), (2028, 2), (2028, 3)),
        (datetime(2026, 4, 1, 1, tzinfo=timezone(timedelta(hours=2))), (2026, 3), (2026, 4)),
    ],
)
def test_period_when_asked_then_the_calendar_month_in_utc(now: datetime, start: tuple[int, int], end: tuple[int, int]):
    assert limits.period(now) == (datetime(*start, 1, tzinfo=UTC), datetime(*end, 1, tzinfo=UTC))


@given(st.integers(-62_000_000_000, 253_000_000_000).map(lambda seconds: EPOCH + timedelta(seconds=seconds)))
def test_period_when_any_moment_then_it_lies_inside(now: datetime):
    start, end = limits.period(now)

    assert start <= now < end
    assert limits.period(end)[0] == end


IDS = [f"{platform}-{number}" for platform in ("twitter", "linkedin", "mastodon") for number in (1, 2)]
REQUESTS = st.lists(st.sampled_from(IDS), min_size=1, max_size=6, unique=True)
LIMITS = st.one_of(st.none(), st.integers(0, 12))
SCOPES = st.sampled_from(Scope)
PLANS = st.builds(
    lambda posts, posts_scope, pending, pending_scope, platforms: ActivePlan(
        "any",
        "Any",
        Entitlements(
            api_access=True,
            mcp_access=True,
            monthly_posts=posts,
            monthly_posts_scope=posts_scope,
            scheduled_posts=pending,
            scheduled_posts_scope=pending_scope,
            schedule_horizon_days=None,
            connections=None,
            allowed_platforms=platforms,
        ),
        None,
    ),
    LIMITS,
    SCOPES,
    LIMITS,
    SCOPES,
    st.one_of(st.none(), st.just(("linkedin", "mastodon"))),
)


def numbers_of(plan: ActivePlan) -> list[tuple[int | None, Scope]]:
    granted = plan.entitlements
    return [
        (granted.monthly_posts, granted.monthly_posts_scope),
        (granted.scheduled_posts, granted.scheduled_posts_scope),
    ]


class Ledger:
    """What a database would hold: the charged and the pending posts by platform id."""

    def __init__(self, plan: ActivePlan) -> None:
        self.plan = plan
        self.taken = dict.fromkeys(IDS, 0)

    def counted(self, scope: Scope) -> dict[str, int]:
        return {ACCOUNT: sum(self.taken.values())} if scope is Scope.ACCOUNT else dict(self.taken)

    def usage(self) -> Usage:
        granted = self.plan.entitlements
        return Usage(0, self.counted(granted.monthly_posts_scope), self.counted(granted.scheduled_posts_scope))

    def request(self, platform_ids: Sequence[str]) -> LimitExceeded | None:
        refusal = create(self.plan, platform_ids, self.usage())
        for platform_id in () if refusal else platform_ids:
            self.taken[platform_id] += 1
        return refusal

    def most_taken(self, scope: Scope) -> int:
        return max(self.counted(scope).values())


@given(PLANS, st.lists(REQUESTS, max_size=20))
def test_create_when_repeated_then_never_beyond_a_limit(plan: ActivePlan, requests: list[list[str]]):
    ledger = Ledger(plan)
    for request in requests:
        ledger.request(request)

    for limit, scope in numbers_of(plan):
        assert limit is None or ledger.most_taken(scope) <= limit


@given(PLANS, st.lists(REQUESTS, max_size=8), REQUESTS)
def test_create_when_any_part_has_no_room_then_refused_whole_and_else_accepted_whole(
    plan: ActivePlan, earlier: list[list[str]], request: list[str]
):
    ledger = Ledger(plan)
    for one in earlier:
        ledger.request(one)
    before = dict(ledger.taken)
    allowed = plan.entitlements.allowed_platforms or ("twitter", *NINE)
    missing = any(one.partition("-")[0] not in allowed for one in request)
    full = any(
        limit is not None
        and (
            sum(before.values()) + len(request) > limit
            if scope is Scope.ACCOUNT
            else any(before[one] + 1 > limit for one in request)
        )
        for limit, scope in numbers_of(plan)
    )

    refusal = ledger.request(request)

    assert (refusal is not None) == (missing or full)


@given(
    st.lists(st.sampled_from(IDS), min_size=1, max_size=6, unique=True),
    st.dictionaries(st.sampled_from(IDS), st.integers(95, 105)),
)
def test_blocked_platforms_when_several_are_full_then_they_keep_the_order_of_the_request(
    request: list[str], used: dict[str, int]
):
    refusal = create(PRO, request, by_connection(used))

    full = [one for one in request if used.get(one, 0) >= 100]
    blocked = [] if refusal is None else [one["platformSelection"] for one in facts(refusal)["blockedPlatforms"]]
    assert blocked == full


@given(st.lists(st.sampled_from(IDS), min_size=1, max_size=12))
def test_disallowed_platforms_when_repeated_then_each_once_in_the_order_of_the_request(request: list[str]):
    plan = plan_of("starter", {"allowedPlatforms": ["linkedin"]})
    refusal = create(plan, request, usage(), scheduled_at=None)

    expected = list(dict.fromkeys(one.partition("-")[0] for one in request if not one.startswith("linkedin")))
    assert ([] if refusal is None else facts(refusal)["disallowedPlatforms"]) == expected


@given(st.integers(0, 5), st.integers(1, 8))
def test_create_when_one_connection_is_named_twice_then_both_count(used: int, times: int):
    plan = plan_of("pro", {"monthlyPosts": 5})

    refusal = create(plan, ["twitter-1"] * times, by_connection({"twitter-1": used}))

    assert (refusal is not None) == (used + times > 5)
