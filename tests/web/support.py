"""What the tests of the HTTP contract share: exact refusals, what the database holds, and ways to break it."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from postpost.accounts import limits
from postpost.accounts import store as accounts_store
from tests.factories import change_account, iso

TABLES = ("accounts", "connections", "post_groups", "platform_posts", "post_logs", "usage_counters", "idempotency_keys")
NO_GROUP = "Post group not found"
UNKNOWN_ID = "f" * 24
MALFORMED_IDS = ("x", "123", "g" * 24, "a" * 23, "a" * 25, "%20", "a" * 23 + "%00", "%C3%A9" * 24, "a" * 24 + "%0A")
"""Ids that are none, percent-encoded for a path."""

STARTER_WITH_API = {"plan_key": "starter", "entitlements": {"apiAccess": True}}
"""Plan N of spec plans.md 5."""


def refused(answer, status, error, **more):
    """Assert that this is exactly the refusal: status, whole body, and the headers that every error carries."""
    assert (answer.status, answer.body) == (status, {"error": error, **more})
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["x-request-id"]


async def contents(database):
    """Return, for each table, how many rows it has and a digest of all of them."""
    queries = [
        f"SELECT '{table}' AS name, count(*) AS n, md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t"
        for table in TABLES
    ]
    async with database.connection() as connection:
        return [tuple(row) for row in await connection.fetch(" UNION ALL ".join(queries))]


@asynccontextmanager
async def unchanged(database):
    """Assert that nothing in the database is different afterwards."""
    before = await contents(database)
    yield
    assert await contents(database) == before


async def run_sql(database, query, *arguments):
    async with database.connection() as connection:
        return await connection.fetch(query, *arguments)


@asynccontextmanager
async def broken(database, table):
    """Take a table away for a while: an honest failure of our own."""
    await run_sql(database, f"ALTER TABLE {table} RENAME TO taken_away")
    try:
        yield
    finally:
        await run_sql(database, f"ALTER TABLE taken_away RENAME TO {table}")


async def use(database, account_id, platform_id, used):
    """Set what is counted this month."""
    period, _ = limits.period(datetime.now(UTC))
    async with database.transaction() as connection:
        await accounts_store.set_usage(connection, account_id, period, platform_id, used)


async def used(database, account_id):
    """Return what is counted this month, by platform id."""
    period, _ = limits.period(datetime.now(UTC))
    async with database.connection() as connection:
        rows = await accounts_store.fetch_usage(connection, account_id, period)
    return {row["platform_id"]: row["used"] for row in rows if row["used"]}


def month():
    """Return the running period as the API shows it."""
    start, end = limits.period(datetime.now(UTC))
    return {"periodStart": iso(start), "periodEnd": iso(end)}


async def put_on(system, plan):
    """Give the system's account a plan: a key, or the columns to change."""
    changes = plan if isinstance(plan, dict) else {"plan_key": plan}
    await change_account(system.database, system.account_id, **changes)


async def set_group(database, group_id, status, *, processing="pending"):
    """Put a group into a state as the engine would leave it."""
    await run_sql(
        database,
        "UPDATE post_groups SET status = $2, processing_status = $3, due_at = NULL WHERE id = $1",
        group_id,
        status,
        processing,
    )


async def set_post(database, group_id, platform_id, status, *, error=None, begun=True, posted_id=None):
    """Put one platform post into a state as the engine would leave it; `error` is a code."""
    await run_sql(
        database,
        """
        UPDATE platform_posts SET status = $3, begun = $4, posted_id = $5, error = $6
        WHERE group_id = $1 AND platform_id = $2
        """,
        group_id,
        platform_id,
        status,
        begun,
        posted_id,
        None if error is None else error_object(error),
    )


async def fail(database, group_id, **errors):
    """End a group: the platform posts named (`twitter_1="RATE_LIMITED"`) have failed, the others are published."""
    failed = {name.replace("_", "-"): code for name, code in errors.items()}
    rows = await run_sql(database, "SELECT platform_id FROM platform_posts WHERE group_id = $1", group_id)
    for platform_id in (row["platform_id"] for row in rows):
        if platform_id in failed:
            await set_post(database, group_id, platform_id, "failed", error=failed[platform_id])
        else:
            await set_post(database, group_id, platform_id, "published", posted_id="9")
    status = "failed" if len(failed) == len(rows) else "partially_published"
    await set_group(database, group_id, status, processing="finished")


def error_object(code, **more):
    return {
        "code": code,
        "message": "It did not work",
        "platformStatusCode": 503,
        "platformError": "Over capacity",
        "failedAt": "2026-05-04T08:30:09.871Z",
        "retryable": True,
        **more,
    }


def limit_body(code, error, message, metric, **more):
    """Return the body of a plan limit: the eleven fields, null unless given, then the context."""
    fields = ("limit", "used", "requested", "remaining", "periodStart", "periodEnd", "planName")
    return {"code": code, "error": error, "message": message, "metric": metric, **dict.fromkeys(fields), **more}


def ago(**delta):
    return iso(datetime.now(UTC) - timedelta(**delta))


def close_to(text, moment, *, within_seconds=10):
    """Say whether a time of the API lies near a moment."""
    return abs(datetime.fromisoformat(text) - moment) < timedelta(seconds=within_seconds)
