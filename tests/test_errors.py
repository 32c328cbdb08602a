import json
from datetime import UTC, datetime, timedelta

import pytest

from postpost import errors
from postpost.errors import CATALOGUE, LIMITS, ApiError, ErrorRow, LimitExceeded, Refusal

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)
MARCH = (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
NINE = ["linkedin", "instagram", "threads", "tiktok", "youtube", "facebook", "bluesky", "mastodon", "telegram"]

SENTENCES = [
    ("T1", 404, "Not found"),
    ("T2", 405, "Method not allowed"),
    ("T3", 413, "Request body too large"),
    ("T4", 400, "Invalid JSON body"),
    ("T4-form", 400, "Invalid form body"),
    ("T5", 415, "Unsupported media type"),
    ("T6", 503, "Service temporarily unavailable"),
    ("T7", 429, "Too many requests"),
    ("T8", 400, "Bad request"),
    ("A1", 401, "API key is required"),
    ("A2", 401, "Invalid API key"),
    ("A3", 401, "Invalid API key owner"),
    ("A4", 403, "Account inactive"),
    ("A5", 403, "Subscription required"),
    ("A6", 403, "API access is not enabled for this account"),
    ("A7", 403, "MCP access is not enabled for this account"),
    ("A8", 400, "Invalid x-postpost-user-id"),
    ("A9", 403, "Workspace access is not enabled for this key"),
    ("A10", 403, "User is not managed by key"),
    ("A11", 500, "Internal server error"),
    ("C1", 400, "Content is required"),
    ("C2", 400, "Platforms are required"),
    ("C3", 400, "Invalid platforms JSON format"),
    ("C4", 400, "Platforms must be an array"),
    ("C5", 400, "At least one platform is required"),
    ("C6", 400, "Invalid platform ID format: {platformId}"),
    ("C7", 400, "Invalid scheduled time format"),
    ("C8", 400, "Scheduled time cannot be in the past"),
    ("C9", 400, "Invalid platformSettings JSON"),
    ("C10", 400, "platformSettings must be an object"),
    ("C11", 400, "Platform connection not found: {platformId}"),
    ("C12", 400, "Idempotency-Key must be at most 255 characters"),
    ("C13", 409, "Idempotency key was used with a different request"),
    ("C14", 500, "Failed to create post group"),
    ("G1", 404, "Post group not found"),
    ("G2", 500, "Failed to fetch post group"),
    ("D1", 404, "Post group not found"),
    ("D2", 500, "Failed to delete post group"),
    ("P1", 404, "Post group not found"),
    ("P2", 500, "Failed to get post logs"),
    ("U1", 400, "Either status or scheduledTime must be provided"),
    ("U2", 400, "Status must be either 'draft' or 'scheduled'"),
    ("U3", 400, "Invalid scheduled time format"),
    ("U4", 400, "Scheduled time cannot be in the past"),
    ("U5", 404, "Post group not found"),
    ("U6", 400, "Cannot update post: post is currently in {status} status"),
    ("U7", 500, "Failed to update post"),
    ("L1", 400, "Invalid status. Must be one of: draft, scheduled, published, failed, partially_published"),
    ("L2", 400, "Invalid sortBy. Must be one of: createdAt, updatedAt, scheduledTime"),
    ("L3", 400, "Invalid fromDate format"),
    ("L4", 400, "Invalid toDate format"),
    ("L5", 500, "Failed to list posts"),
    ("N1", 500, "Failed to fetch platform connections"),
    ("X1", 400, "Invalid platformId format"),
    ("X2", 404, "Connection not found"),
    ("X3", 500, "Failed to test connection"),
    ("V1", 404, "Post group not found"),
    ("V2", 400, "Invalid media"),
    ("V3", 500, "Failed to validate post"),
    ("R1", 404, "Post group not found"),
    ("R2", 409, "Post group has no failed posts to retry"),
    ("R3", 500, "Failed to retry post"),
]

LIMIT_CASES = [
    (
        LimitExceeded.posts_of_account("Starter", limit=15, used=14, requested=2, period=MARCH),
        """{"code": "POST_LIMIT_REACHED", "error": "Post limit reached",
        "message": "Monthly post limit reached. Your Starter plan allows 15 platform posts per month.",
        "metric": "posts.platform_monthly", "limit": 15, "used": 14, "requested": 2, "remaining": 1,
        "periodStart": "2026-03-01T00:00:00.000Z", "periodEnd": "2026-04-01T00:00:00.000Z", "planName": "Starter",
        "scope": "account"}""",
    ),
    (
        LimitExceeded.posts_of_connections(
            "Pro", limit=100, requested=2, blocked={"twitter-123456789": 100}, period=MARCH
        ),
        """{"code": "POST_LIMIT_REACHED", "error": "Post limit reached",
        "message": "Monthly post limit reached. Your Pro plan allows 100 platform posts per month.",
        "metric": "posts.platform_monthly", "limit": 100, "used": null, "requested": 2, "remaining": null,
        "periodStart": "2026-03-01T00:00:00.000Z", "periodEnd": "2026-04-01T00:00:00.000Z", "planName": "Pro",
        "scope": "connection",
        "blockedPlatforms": [{"platformSelection": "twitter-123456789", "used": 100, "remaining": 0}]}""",
    ),
    (
        LimitExceeded.pending_of_account("Starter", limit=3, used=3, requested=1),
        """{"code": "SCHEDULED_POST_LIMIT_REACHED", "error": "Scheduled post limit reached",
        "message": "Scheduled post limit reached. Your Starter plan allows 3 scheduled posts at a time.",
        "metric": "posts.scheduled_active", "limit": 3, "used": 3, "requested": 1, "remaining": 0,
        "periodStart": null, "periodEnd": null, "planName": "Starter", "scope": "account"}""",
    ),
    (
        LimitExceeded.pending_of_connections(
            "Premium", limit=500, requested=2, blocked={"mastodon-1098": 500, "bluesky-did:plc:abc123": 501}
        ),
        """{"code": "SCHEDULED_POST_LIMIT_REACHED", "error": "Scheduled post limit reached",
        "message": "Scheduled post limit reached. Your Premium plan allows 500 scheduled posts at a time.",
        "metric": "posts.scheduled_active", "limit": 500, "used": null, "requested": 2, "remaining": null,
        "periodStart": null, "periodEnd": null, "planName": "Premium", "scope": "connection",
        "blockedPlatforms": [{"platformSelection": "mastodon-1098", "used": 500, "remaining": 0},
        {"platformSelection": "bluesky-did:plc:abc123", "used": 501, "remaining": 0}]}""",
    ),
    (
        LimitExceeded.horizon("Starter", days=7.0, scheduled_time=NOW + timedelta(days=10), now=NOW),
        """{"code": "SCHEDULE_HORIZON_REACHED", "error": "Schedule horizon reached",
        "message": "Schedule horizon reached. Your Starter plan allows scheduling up to 7 days ahead.",
        "metric": "posts.schedule_horizon_days", "limit": 7, "used": null, "requested": null, "remaining": null,
        "periodStart": null, "periodEnd": null, "planName": "Starter",
        "scheduledTime": "2026-03-20T09:00:00.000Z", "maxScheduledDate": "2026-03-17T09:00:00.000Z"}""",
    ),
    (
        LimitExceeded.platforms("Starter", disallowed=["twitter", "twitter"], allowed=NINE),
        """{"code": "PLATFORM_NOT_AVAILABLE", "error": "Platform not available",
        "message": "Platform not available. Your Starter plan does not include: twitter.",
        "metric": "posts.platform_monthly", "limit": null, "used": null, "requested": null, "remaining": null,
        "periodStart": null, "periodEnd": null, "planName": "Starter", "disallowedPlatforms": ["twitter"],
        "allowedPlatforms": ["linkedin", "instagram", "threads", "tiktok", "youtube", "facebook", "bluesky",
        "mastodon", "telegram"]}""",
    ),
    (
        LimitExceeded.connections("Starter", limit=3, used=5),
        """{"code": "CONNECTIONS_OVER_LIMIT", "error": "Account over channel limit",
        "message": "Account over channel limit. Your Starter plan allows 3 connected channels and 5 are connected.",
        "metric": "connections.total", "limit": 3, "used": 5, "requested": 0, "remaining": 0,
        "periodStart": null, "periodEnd": null, "planName": "Starter", "scope": "account", "overLimitBy": 2}""",
    ),
]


@pytest.mark.parametrize(("id_", "status", "error"), SENTENCES)
def test_catalogue_when_asked_for_a_row_then_it_has_the_exact_sentence(id_: str, status: int, error: str) -> None:
    row = CATALOGUE[id_]
    assert (row.status, row.error) == (status, error)


def test_catalogue_when_listed_then_it_holds_every_row_of_the_module_once() -> None:
    defined = {value.id for value in vars(errors).values() if isinstance(value, ErrorRow)}
    assert defined == set(CATALOGUE) == {id_ for id_, _, _ in SENTENCES}


def test_catalogue_when_a_row_can_be_retried_then_it_has_a_time() -> None:
    with_time = {row.id for row in CATALOGUE.values() if row.retry_after is not None}
    assert with_time == {row.id for row in CATALOGUE.values() if row.status in (429, 503)}


def test_api_error_when_the_sentence_has_a_place_then_it_is_filled() -> None:
    error = ApiError(errors.C6, platformId='{"a":1}')
    assert error.body() == {"error": 'Invalid platform ID format: {"a":1}'}


def test_api_error_when_the_row_has_a_message_then_it_follows_the_error() -> None:
    error = ApiError(errors.A4, fields={"more": 1})
    assert json.dumps(error.body()) == (
        '{"error": "Account inactive", "message": "Your account is inactive.", "more": 1}'
    )


def test_api_error_when_the_row_has_a_time_then_retry_after_is_sent() -> None:
    assert ApiError(errors.T6).headers == {"Retry-After": "2"}


def test_api_error_when_the_caller_knows_the_time_then_it_wins() -> None:
    assert ApiError(errors.T7, headers={"Retry-After": "17"}).headers == {"Retry-After": "17"}


def test_api_error_when_raised_then_its_text_names_the_row() -> None:
    with pytest.raises(Refusal, match="G1: Post group not found"):
        raise ApiError(errors.G1)


@pytest.mark.parametrize(("refusal", "expected"), LIMIT_CASES, ids=["E1", "E2", "E3", "E4", "E5", "E6", "E7"])
def test_limit_exceeded_when_rendered_then_body_and_order_are_the_documented_ones(
    refusal: LimitExceeded, expected: str
) -> None:
    assert refusal.status == 403
    assert json.dumps(refusal.body()) == json.dumps(json.loads(expected))


def test_limits_when_listed_then_every_variant_of_this_release_is_there() -> None:
    assert list(LIMITS) == ["E1", "E2", "E3", "E4", "E5", "E6", "E7"]


def test_horizon_when_the_plan_counts_in_half_days_then_the_half_is_shown() -> None:
    refusal = LimitExceeded.horizon("Own", days=1.5, scheduled_time=NOW + timedelta(days=3), now=NOW)
    assert (
        refusal.body()["message"] == "Schedule horizon reached. Your Own plan allows scheduling up to 1.5 days ahead."
    )
    assert refusal.body()["maxScheduledDate"] == "2026-03-11T21:00:00.000Z"
