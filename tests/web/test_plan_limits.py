"""The numbers of plans.md section 5 over HTTP: rows 1 to 13, 15 to 18, 20 to 22, 24 and 25, and E1 to E7 as bodies."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.factories import change_account, in_future, iso, make_account, make_key
from tests.system import open_system
from tests.web.support import (
    STARTER_WITH_API,
    close_to,
    fail,
    limit_body,
    month,
    put_on,
    run_sql,
    unchanged,
    use,
    used,
)

pytestmark = pytest.mark.anyio

WITHOUT_TWITTER = [
    "linkedin",
    "instagram",
    "threads",
    "tiktok",
    "youtube",
    "facebook",
    "bluesky",
    "mastodon",
    "telegram",
]


async def create(api, *platform_ids, at=None, **options):
    body = {"content": "Hello", "platforms": list(platform_ids)}
    if at is not None:
        body["scheduledTime"] = at
    return await api.call("POST", "/create-post", json=body, **options)


async def schedule(api, *platform_ids, **options):
    return await create(api, *platform_ids, at=in_future(), **options)


async def put(api, group, **body):
    return await api.call("PUT", f"/update-post/{group}", json=body)


def limited(answer, body):
    assert (answer.status, answer.body) == (403, body)


def account_month_body(used, requested, *, limit=15, plan="Starter"):
    """E1."""
    return limit_body(
        "POST_LIMIT_REACHED",
        "Post limit reached",
        f"Monthly post limit reached. Your {plan} plan allows {limit} platform posts per month.",
        "posts.platform_monthly",
        limit=limit,
        used=used,
        requested=requested,
        remaining=max(limit - used, 0),
        **month(),
        planName=plan,
        scope="account",
    )


def connection_month_body(requested, blocked, *, limit=100, plan="Pro"):
    """E2; `blocked` is what each connection without room has used."""
    return limit_body(
        "POST_LIMIT_REACHED",
        "Post limit reached",
        f"Monthly post limit reached. Your {plan} plan allows {limit} platform posts per month.",
        "posts.platform_monthly",
        limit=limit,
        requested=requested,
        **month(),
        planName=plan,
        scope="connection",
        blockedPlatforms=rooms(blocked, limit),
    )


def account_pending_body(used, requested):
    """E3."""
    return limit_body(
        "SCHEDULED_POST_LIMIT_REACHED",
        "Scheduled post limit reached",
        "Scheduled post limit reached. Your Starter plan allows 3 scheduled posts at a time.",
        "posts.scheduled_active",
        limit=3,
        used=used,
        requested=requested,
        remaining=3 - used,
        planName="Starter",
        scope="account",
    )


def connection_pending_body(requested, blocked, *, limit=100, plan="Pro"):
    """E4."""
    return limit_body(
        "SCHEDULED_POST_LIMIT_REACHED",
        "Scheduled post limit reached",
        f"Scheduled post limit reached. Your {plan} plan allows {limit} scheduled posts at a time.",
        "posts.scheduled_active",
        limit=limit,
        requested=requested,
        planName=plan,
        scope="connection",
        blockedPlatforms=rooms(blocked, limit),
    )


def rooms(blocked, limit):
    return [
        {"platformSelection": platform_id, "used": used, "remaining": max(limit - used, 0)}
        for platform_id, used in blocked.items()
    ]


def platform_body(disallowed):
    """E6."""
    return limit_body(
        "PLATFORM_NOT_AVAILABLE",
        "Platform not available",
        f"Platform not available. Your Starter plan does not include: {', '.join(disallowed)}.",
        "posts.platform_monthly",
        planName="Starter",
        disallowedPlatforms=disallowed,
        allowedPlatforms=WITHOUT_TWITTER,
    )


def connections_body(used):
    """E7."""
    return limit_body(
        "CONNECTIONS_OVER_LIMIT",
        "Account over channel limit",
        f"Account over channel limit. Your Starter plan allows 3 connected channels and {used} are connected.",
        "connections.total",
        limit=3,
        used=used,
        requested=0,
        remaining=0,
        planName="Starter",
        scope="account",
        overLimitBy=used - 3,
    )


async def on_plan_n(api, *platform_ids, month_used=0):
    await api.connect(*platform_ids)
    await put_on(api, STARTER_WITH_API)
    await use(api.database, api.account_id, platform_ids[0], month_used)


async def fill_pending(api, platform_id, count):
    """Let so many platform posts wait for one connection, without a charge."""
    query = """
        WITH new AS (
            INSERT INTO post_groups (
                id, account_id, content, settings, status, processing_status, due_at, created_at, updated_at
            )
            SELECT lpad(to_hex(n), 24, 'f'), $1, '', '{}', 'scheduled', 'pending', now() + interval '1 d', now(), now()
            FROM generate_series(1, $3) AS n RETURNING id
        )
        INSERT INTO platform_posts (id, group_id, account_id, position, platform, platform_id, status, updated_at)
        SELECT id, id, $1, 0, split_part($2, '-', 1), $2, 'scheduled', now() FROM new
    """
    await run_sql(api.database, query, api.account_id, platform_id, count)


# The rows of plans.md section 5


async def test_row_1_when_14_are_used_then_one_more_is_counted(api):
    await on_plan_n(api, "bluesky-1", month_used=14)
    assert (await schedule(api, "bluesky-1")).status == 200
    assert await used(api.database, api.account_id) == {"bluesky-1": 15}


async def test_row_2_e1_when_14_are_used_then_two_more_are_refused_whole(api):
    await on_plan_n(api, "bluesky-1", "mastodon-2", month_used=14)
    async with unchanged(api.database):
        answer = await schedule(api, "bluesky-1", "mastodon-2")
    limited(answer, account_month_body(14, 2))


async def test_row_3_when_15_are_used_then_a_draft_is_taken(api):
    await on_plan_n(api, "bluesky-1", month_used=15)
    assert (await create(api, "bluesky-1")).status == 200


async def test_row_4_when_15_are_used_then_a_draft_cannot_be_scheduled(api):
    await on_plan_n(api, "bluesky-1", month_used=15)
    group = await api.create("bluesky-1")
    async with unchanged(api.database):
        answer = await put(api, group, status="scheduled")
    limited(answer, account_month_body(15, 1))


async def test_row_5_when_one_not_begun_is_deleted_then_there_is_room_again(api):
    await on_plan_n(api, "bluesky-1", month_used=14)
    group = await api.create("bluesky-1", at=in_future())
    assert (await schedule(api, "bluesky-1")).status == 403
    assert (await api.call("DELETE", f"/delete-post/{group}")).status == 200
    assert (await schedule(api, "bluesky-1")).status == 200
    assert await used(api.database, api.account_id) == {"bluesky-1": 15}


async def test_row_6_e3_when_three_wait_then_a_fourth_is_refused(api):
    await on_plan_n(api, "bluesky-1")
    for _ in range(3):
        assert (await schedule(api, "bluesky-1")).status == 200
    async with unchanged(api.database):
        answer = await schedule(api, "bluesky-1")
    limited(answer, account_pending_body(3, 1))


async def test_row_7_e3_when_two_wait_then_two_more_are_refused(api):
    await on_plan_n(api, "bluesky-1", "mastodon-2")
    assert (await schedule(api, "bluesky-1", "mastodon-2")).status == 200
    async with unchanged(api.database):
        answer = await schedule(api, "bluesky-1", "mastodon-2")
    limited(answer, account_pending_body(2, 2))


async def test_row_8_when_both_are_used_up_then_the_month_answers(api):
    await on_plan_n(api, "bluesky-1")
    for _ in range(3):
        await schedule(api, "bluesky-1")
    await use(api.database, api.account_id, "bluesky-1", 15)
    limited(await schedule(api, "bluesky-1"), account_month_body(15, 1))


async def test_row_9_e5_when_too_far_ahead_then_refused_naming_the_last_moment(api):
    await on_plan_n(api, "bluesky-1")
    at = in_future(days=7, minutes=1)
    async with unchanged(api.database):
        answer = await create(api, "bluesky-1", at=at)
    last = answer.body["maxScheduledDate"]
    assert close_to(last, datetime.now(UTC) + timedelta(days=7))
    limited(
        answer,
        limit_body(
            "SCHEDULE_HORIZON_REACHED",
            "Schedule horizon reached",
            "Schedule horizon reached. Your Starter plan allows scheduling up to 7 days ahead.",
            "posts.schedule_horizon_days",
            limit=7,
            planName="Starter",
            scheduledTime=at,
            maxScheduledDate=last,
        ),
    )


async def test_row_10_when_just_within_the_horizon_then_it_passes(api):
    await on_plan_n(api, "bluesky-1")
    assert (await create(api, "bluesky-1", at=in_future(days=6, hours=23))).status == 200


async def test_row_11_e6_when_the_plan_lacks_a_platform_then_even_a_draft_is_refused(api):
    await on_plan_n(api, "twitter-1", "linkedin-L", month_used=15)
    async with unchanged(api.database):
        answer = await create(api, "linkedin-L", "twitter-1")
    limited(answer, platform_body(["twitter"]))


async def test_row_12_e7_when_too_many_are_connected_then_scheduling_is_refused(api):
    await on_plan_n(api, *(f"bluesky-{n}" for n in range(5)))
    async with unchanged(api.database):
        answer = await schedule(api, "bluesky-1")
    limited(answer, connections_body(5))


async def test_row_13_when_too_many_are_connected_then_drafts_pauses_and_deletes_stay_possible(api):
    await api.connect(*(f"bluesky-{n}" for n in range(5)))
    waiting = await api.create("bluesky-1", at=in_future())
    await put_on(api, STARTER_WITH_API)
    assert (await create(api, "bluesky-1")).status == 200
    assert (await put(api, waiting, status="draft")).status == 200
    limited(await put(api, waiting, status="scheduled"), connections_body(5))
    assert (await api.call("DELETE", f"/delete-post/{waiting}")).status == 200


async def test_rows_13_when_exactly_as_many_as_allowed_are_connected_then_everything_works(api):
    await on_plan_n(api, *(f"bluesky-{n}" for n in range(3)))
    assert (await schedule(api, "bluesky-1")).status == 200


async def test_row_15_e2_when_one_connection_is_used_up_then_both_are_refused_naming_it(api):
    await api.connect("twitter-1", "linkedin-2")
    await put_on(api, "pro")
    await use(api.database, api.account_id, "twitter-1", 100)
    await use(api.database, api.account_id, "linkedin-2", 41)
    async with unchanged(api.database):
        answer = await schedule(api, "twitter-1", "linkedin-2")
    limited(answer, connection_month_body(2, {"twitter-1": 100}))


async def test_row_16_when_one_connection_is_used_up_then_another_has_its_own_room(api):
    await api.connect("twitter-1", "linkedin-2")
    await put_on(api, "pro")
    await use(api.database, api.account_id, "twitter-1", 100)
    assert (await schedule(api, "linkedin-2")).status == 200


async def test_row_17_e4_when_a_hundred_wait_for_one_connection_then_refused(api):
    await api.connect("twitter-1", "linkedin-2")
    await put_on(api, "pro")
    await fill_pending(api, "twitter-1", 100)
    async with unchanged(api.database):
        answer = await schedule(api, "linkedin-2", "twitter-1")
    limited(answer, connection_pending_body(2, {"twitter-1": 100}))
    assert (await schedule(api, "linkedin-2")).status == 200


async def test_row_18_when_there_is_no_horizon_then_400_days_ahead_pass(api):
    await api.connect("twitter-1")
    await put_on(api, "pro")
    assert (await create(api, "twitter-1", at=in_future(days=400))).status == 200


async def test_row_20_when_premium_has_499_used_then_one_more_passes_and_no_further(api):
    await api.connect("twitter-1")
    await use(api.database, api.account_id, "twitter-1", 499)
    assert (await schedule(api, "twitter-1")).status == 200
    limited(await schedule(api, "twitter-1"), connection_month_body(1, {"twitter-1": 500}, limit=500, plan="Premium"))


async def test_row_21_when_owner_and_managed_user_used_15_together_then_refused_on_the_owners_plan(api):
    managed = await make_account(api.database, email="m@example.org", plan="premium", parent_id=api.account_id)
    await api.connect("bluesky-1")
    await api.connect("bluesky-2", account_id=managed)
    await put_on(api, {**STARTER_WITH_API, "workspaces": True})
    await use(api.database, api.account_id, "bluesky-1", 10)
    await use(api.database, api.account_id, "bluesky-2", 5)
    async with unchanged(api.database):
        answer = await schedule(api, "bluesky-2", headers={"x-postpost-user-id": managed})
    limited(answer, account_month_body(15, 1))


async def test_row_22_when_the_managed_users_own_plan_is_less_then_the_owners_holds(api):
    managed = await make_account(api.database, email="m@example.org", plan="starter", parent_id=api.account_id)
    await put_on(api, "pro")
    await api.connect("twitter-1", account_id=managed)
    key = await make_key(api.database, managed)
    assert (await schedule(api, "twitter-1", key=key)).status == 200


async def test_row_24_when_starter_then_no_request_passes(api):
    await put_on(api, "starter")
    answer = await schedule(api, "twitter-1")
    assert (answer.status, answer.body) == (403, {"error": "API access is not enabled for this account"})


async def test_row_25_when_there_is_no_plan_at_all_then_a5(dsn):
    async with open_system(dsn, default_plan=None) as api:
        await put_on(api, {"plan_key": None})
        answer = await schedule(api, "twitter-1")
    message = "No active plan entitlements found for this account."
    assert (answer.status, answer.body) == (403, {"error": "Subscription required", "message": message})


# Which checks run when (plans.md section 4)


async def test_reschedule_when_month_and_pending_are_full_then_only_the_horizon_is_looked_at(api):
    await on_plan_n(api, "bluesky-1")
    groups = [await api.create("bluesky-1", at=in_future()) for _ in range(3)]
    await use(api.database, api.account_id, "bluesky-1", 15)
    assert (await put(api, groups[0], scheduledTime=in_future(days=6))).status == 200
    async with unchanged(api.database):
        answer = await put(api, groups[0], scheduledTime=in_future(days=8))
    assert (answer.status, answer.body["code"]) == (403, "SCHEDULE_HORIZON_REACHED")


async def test_reschedule_when_the_plan_lacks_the_platform_then_refused(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    await put_on(api, STARTER_WITH_API)
    async with unchanged(api.database):
        answer = await put(api, group, scheduledTime=in_future(days=2))
    limited(answer, platform_body(["twitter"]))
    assert (await put(api, group, status="draft")).status == 200


async def test_draft_when_given_a_time_past_the_horizon_then_stored_and_refused_on_scheduling(api):
    await on_plan_n(api, "bluesky-1")
    group, at = await api.create("bluesky-1"), in_future(days=30)
    assert (await put(api, group, scheduledTime=at)).status == 200
    answer = await put(api, group, status="scheduled")
    assert (answer.status, answer.body["code"], answer.body["scheduledTime"]) == (403, "SCHEDULE_HORIZON_REACHED", at)


async def test_draft_when_it_still_holds_a_charge_then_scheduling_it_costs_nothing(api):
    await on_plan_n(api, "bluesky-1")
    group = await api.create("bluesky-1", at=in_future())
    await fail(api.database, group, bluesky_1="RATE_LIMITED")
    await api.call("POST", f"/retry-post/{group}")
    assert (await put(api, group, status="draft")).status == 200
    await use(api.database, api.account_id, "bluesky-1", 15)
    assert (await put(api, group, status="scheduled", scheduledTime=in_future())).status == 200
    assert await used(api.database, api.account_id) == {"bluesky-1": 15}


async def test_draft_when_only_one_of_two_holds_a_charge_then_one_is_requested(api):
    await on_plan_n(api, "bluesky-1", "mastodon-2")
    group = await api.create("bluesky-1", "mastodon-2", at=in_future())
    assert (await put(api, group, status="draft")).status == 200
    await run_sql(
        api.database,
        "UPDATE platform_posts SET begun = true, charged_to = $1, charged_period = now() WHERE platform = 'bluesky'",
        api.account_id,
    )
    await use(api.database, api.account_id, "bluesky-1", 15)
    limited(await put(api, group, status="scheduled", scheduledTime=in_future()), account_month_body(15, 1))


async def test_limit_when_zero_then_everything_is_refused_and_null_never_is(api):
    await api.connect("bluesky-1")
    await put_on(api, {"plan_key": "starter", "entitlements": {"apiAccess": True, "monthlyPosts": 0}})
    limited(await schedule(api, "bluesky-1"), account_month_body(0, 1, limit=0))
    unlimited = {"apiAccess": True, "monthlyPosts": "unlimited", "scheduledPosts": None}
    await put_on(api, {"entitlements": unlimited})
    await use(api.database, api.account_id, "bluesky-1", 10_000)
    for _ in range(5):
        assert (await schedule(api, "bluesky-1")).status == 200


async def test_horizon_when_zero_days_then_only_now_passes(api):
    await api.connect("bluesky-1")
    await put_on(api, {"plan_key": "starter", "entitlements": {"apiAccess": True, "scheduleHorizonDays": 0}})
    assert (await create(api, "bluesky-1", at=iso(datetime.now(UTC) - timedelta(seconds=5)))).status == 200
    answer = await create(api, "bluesky-1", at=in_future(minutes=1))
    assert (answer.status, answer.body["code"], answer.body["limit"]) == (403, "SCHEDULE_HORIZON_REACHED", 0)


async def test_seats_when_fewer_than_connected_then_e7_with_the_seats_as_limit(api):
    await api.connect("twitter-1", "twitter-2")
    await put_on(api, {"plan_key": "pro", "seats": 1})
    answer = await schedule(api, "twitter-1")
    assert (answer.status, answer.body["code"], answer.body["limit"], answer.body["used"]) == (
        403,
        "CONNECTIONS_OVER_LIMIT",
        1,
        2,
    )


async def test_e6_when_several_platforms_lack_then_each_is_named_once_in_the_order_of_the_request(api):
    await api.connect("twitter-1", "twitter-2", "mastodon-1", "bluesky-1")
    await put_on(api, {"plan_key": "pro", "entitlements": {"allowedPlatforms": ["bluesky"]}})
    answer = await create(api, "twitter-2", "bluesky-1", "mastodon-1", "twitter-1")
    assert answer.body["disallowedPlatforms"] == ["twitter", "mastodon"]
    assert answer.body["allowedPlatforms"] == ["bluesky"]


async def test_e2_when_several_are_used_up_then_they_stand_in_the_order_of_the_request(api):
    await api.connect("twitter-1", "linkedin-2", "bluesky-3")
    await put_on(api, "pro")
    for platform_id, count in (("twitter-1", 100), ("linkedin-2", 120), ("bluesky-3", 99)):
        await use(api.database, api.account_id, platform_id, count)
    answer = await schedule(api, "linkedin-2", "bluesky-3", "twitter-1")
    limited(answer, connection_month_body(3, {"linkedin-2": 120, "twitter-1": 100}))


# Counting


async def test_month_when_disconnected_and_reconnected_then_it_does_not_start_anew(api):
    await api.connect("twitter-1")
    await put_on(api, "pro")
    await use(api.database, api.account_id, "twitter-1", 100)
    await run_sql(api.database, "DELETE FROM connections")
    await api.connect("twitter-1")
    limited(await schedule(api, "twitter-1"), connection_month_body(1, {"twitter-1": 100}))


async def test_month_when_the_plan_changes_then_what_was_used_stays(api):
    await api.connect("bluesky-1")
    await use(api.database, api.account_id, "bluesky-1", 40)
    await put_on(api, STARTER_WITH_API)
    limited(await schedule(api, "bluesky-1"), account_month_body(40, 1))


async def test_month_when_used_up_last_month_then_this_one_is_free(api):
    await on_plan_n(api, "bluesky-1", month_used=15)
    await run_sql(api.database, "UPDATE usage_counters SET period_start = period_start - interval '1 month'")
    assert (await schedule(api, "bluesky-1")).status == 200


async def test_pending_when_one_ends_or_is_paused_or_deleted_then_there_is_room(api):
    await on_plan_n(api, "bluesky-1")
    groups = [await api.create("bluesky-1", at=in_future()) for _ in range(3)]
    await put(api, groups[0], status="draft")
    await api.call("DELETE", f"/delete-post/{groups[1]}")
    await fail(api.database, groups[2])
    for expected in (200, 200, 200, 403):
        assert (await schedule(api, "bluesky-1")).status == expected


async def test_pending_when_due_now_then_it_counts_until_it_has_ended(api):
    await on_plan_n(api, "bluesky-1")
    for _ in range(3):
        assert (await create(api, "bluesky-1", at=in_future(seconds=-1))).status == 200
    await run_sql(api.database, "UPDATE platform_posts SET status = 'processing' WHERE status = 'scheduled'")
    limited(await schedule(api, "bluesky-1"), account_pending_body(3, 1))


async def test_connections_when_managed_users_have_some_then_they_count_on_the_owner(api):
    managed = await make_account(api.database, email="m@example.org", plan=None, parent_id=api.account_id)
    await api.connect("bluesky-1", "bluesky-2")
    await api.connect("bluesky-1", "bluesky-3", account_id=managed)
    await put_on(api, STARTER_WITH_API)
    limited(await schedule(api, "bluesky-1"), connections_body(4))


async def test_pending_when_managed_users_have_some_then_they_count_on_the_owner(api):
    managed = await make_account(api.database, email="m@example.org", plan=None, parent_id=api.account_id)
    await api.connect("bluesky-1")
    await api.connect("bluesky-1", account_id=managed)
    await put_on(api, {**STARTER_WITH_API, "workspaces": True})
    for headers in ({}, {"x-postpost-user-id": managed}, {}):
        assert (await schedule(api, "bluesky-1", headers=headers)).status == 200
    limited(await schedule(api, "bluesky-1", headers={"x-postpost-user-id": managed}), account_pending_body(3, 1))


async def test_connection_scope_when_two_accounts_share_a_platform_id_then_they_share_its_room(api):
    managed = await make_account(api.database, email="m@example.org", plan=None, parent_id=api.account_id)
    await api.connect("twitter-1")
    await api.connect("twitter-1", account_id=managed)
    key = await make_key(api.database, managed)
    await use(api.database, api.account_id, "twitter-1", 499)
    assert (await schedule(api, "twitter-1", key=key)).status == 200
    assert (await schedule(api, "twitter-1")).status == 403


# Detaching (plans.md section 6)


async def test_detach_when_done_then_pending_and_connections_leave_the_owner_and_the_charge_stays(api):
    managed = await make_account(api.database, email="m@example.org", plan=None, parent_id=api.account_id)
    await api.connect("bluesky-1", "bluesky-2")
    await api.connect("bluesky-3", "bluesky-4", account_id=managed)
    await put_on(api, {"workspaces": True})
    for _ in range(3):
        assert (await schedule(api, "bluesky-3", headers={"x-postpost-user-id": managed})).status == 200
    await put_on(api, STARTER_WITH_API)
    assert (await schedule(api, "bluesky-1")).body["code"] == "CONNECTIONS_OVER_LIMIT"

    await change_account(api.database, managed, parent_id=None)
    assert (await schedule(api, "bluesky-1")).status == 200
    assert await used(api.database, api.account_id) == {"bluesky-1": 1, "bluesky-3": 3}
    assert await used(api.database, managed) == {}


async def test_detach_when_the_detached_account_pauses_a_charged_post_then_the_former_owner_gets_it_back(api):
    managed = await make_account(api.database, email="m@example.org", plan="premium", parent_id=api.account_id)
    await api.connect("bluesky-3", account_id=managed)
    key = await make_key(api.database, managed)
    group = (await schedule(api, "bluesky-3", key=key)).body["postGroupId"]
    await change_account(api.database, managed, parent_id=None)
    path = f"/update-post/{group}"
    assert (await api.call("PUT", path, key=key, json={"status": "draft"})).status == 200
    assert await used(api.database, api.account_id) == {}
    assert (await api.call("PUT", path, key=key, json={"status": "scheduled"})).status == 200
    assert await used(api.database, managed) == {"bluesky-3": 1}


async def test_deactivating_when_groups_wait_then_they_become_drafts_and_the_charges_come_back(api):
    await api.connect("bluesky-1", "mastodon-2")
    at = in_future()
    group = await api.create("bluesky-1", "mastodon-2", at=at)
    done = await api.create("bluesky-1", at=at)
    await fail(api.database, done)
    assert await api.services.posts.pause_account(api.account_id) == 1
    assert await used(api.database, api.account_id) == {"bluesky-1": 1}
    assert {entry["status"] for entry in await api.entries(group)} == {"draft"}
    [listed] = (await api.call("GET", "/list-posts", params={"status": "draft"})).body["posts"]
    assert (listed["postGroupId"], listed["scheduledTime"]) == (group, at)
    assert (await api.logs(group))[-1]["metadata"] == {"from": "scheduled", "to": "draft"}
