"""SQL of post groups, platform posts and their log. Every function takes the connection first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from postpost.database.pool import Connection, Row
from postpost.times import format_time
from postpost.values import Json

DUE_CHANNEL = "postpost_due"
"""NOTIFY channel on which a dispatcher hears that something is due soon."""

ANNOUNCE_WITHIN = timedelta(seconds=10)
"""Only what is due sooner than this is announced by NOTIFY; for the rest the dispatchers look by themselves, twice as
often. NOTIFY makes commits queue up one behind the other, so it is used sparingly."""


# No lock. Indexes: post_groups_pkey, platform_posts_group.
_FETCH_ENTRIES = """
    SELECT q.n, g.content, p.id, p.platform, p.platform_id, p.status, p.posted_id, p.error, p.parts
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS q (account_id, group_id, n)
    JOIN post_groups g ON g.id = q.group_id AND g.account_id = q.account_id
    JOIN platform_posts p ON p.group_id = g.id
    ORDER BY q.n, p.position
"""


async def fetch_entries(connection: Connection, wanted: Sequence[tuple[str, str]]) -> list[list[Row]]:
    """Return for each (account id, group id) the platform posts in order; none where that account has no such group."""
    rows = await connection.fetch(
        _FETCH_ENTRIES, [account_id for account_id, _ in wanted], [group_id for _, group_id in wanted]
    )
    found: list[list[Row]] = [[] for _ in wanted]
    for row in rows:
        found[row["n"] - 1].append(row)
    return found


# Locks the group row: update, delete, retry and the dispatcher's claim exclude each other. Index: post_groups_pkey.
_LOCK_GROUP = """
    SELECT id, status, processing_status, scheduled_at, content, settings
    FROM post_groups WHERE id = $1 AND account_id = $2 FOR UPDATE
"""


async def lock_group(connection: Connection, account_id: str, group_id: str) -> Row | None:
    """Return the group and hold it until the transaction ends; None when it is not this account's."""
    return await connection.fetchrow(_LOCK_GROUP, group_id, account_id)


# No lock. Index: post_groups_pkey.
_FETCH_GROUP = """
    SELECT id, status, processing_status, scheduled_at, content, settings
    FROM post_groups WHERE id = $1 AND account_id = $2
"""


async def fetch_group(connection: Connection, account_id: str, group_id: str) -> Row | None:
    """Return the group without holding it."""
    return await connection.fetchrow(_FETCH_GROUP, group_id, account_id)


# Locks the posts in id order, as everybody does who locks several. Index: platform_posts_group.
_LOCK_GROUP_POSTS = """
    SELECT id, platform_id, charged_to, charged_period, begun FROM platform_posts
    WHERE group_id = $1 AND account_id = $2 ORDER BY id FOR UPDATE
"""


async def lock_group_posts(connection: Connection, account_id: str, group_id: str) -> list[Row]:
    """Hold the platform posts of a held group; returns them with the charges they hold."""
    return list(await connection.fetch(_LOCK_GROUP_POSTS, group_id, account_id))


# No lock. Index: platform_posts_group.
_FETCH_GROUP_POSTS = """
    SELECT id, platform, platform_id, status, charged_to, charged_period, begun, error, parts
    FROM platform_posts WHERE group_id = $1 AND account_id = $2 ORDER BY position
"""


async def fetch_group_posts(connection: Connection, account_id: str, group_id: str) -> list[Row]:
    """Return the platform posts of a group in order."""
    return list(await connection.fetch(_FETCH_GROUP_POSTS, group_id, account_id))


# Under lock_group. Indexes: post_groups_pkey, platform_posts_group.
_UPDATE_SCHEDULE = """
    WITH changed AS (
        UPDATE post_groups SET status = $3, scheduled_at = $4, due_at = $5, updated_at = $6
        WHERE id = $1 AND account_id = $2
        RETURNING id
    ), posts AS (
        UPDATE platform_posts p SET status = $3, updated_at = $6,
            charged_to = CASE WHEN $3 = 'draft' AND NOT p.begun THEN NULL ELSE coalesce(p.charged_to, $7) END,
            charged_period = CASE WHEN $3 = 'draft' AND NOT p.begun THEN NULL ELSE coalesce(p.charged_period, $8) END
        FROM changed WHERE p.group_id = changed.id AND p.status IN ('draft', 'scheduled')
        RETURNING p.id
    )
    SELECT CASE WHEN $9::text IS NOT NULL THEN pg_notify('postpost_due', $9) END
"""


async def update_schedule(
    connection: Connection,
    account_id: str,
    group_id: str,
    *,
    status: str,
    scheduled_at: datetime | None,
    due_at: datetime | None,
    now: datetime,
    charged_to: str | None,
    charged_period: datetime | None,
    notify_due: datetime | None,
) -> None:
    """Move a held group and its posts to draft or scheduled; charges are kept, and given up on the way to draft."""
    await connection.execute(
        _UPDATE_SCHEDULE,
        group_id,
        account_id,
        status,
        scheduled_at,
        due_at,
        now,
        charged_to,
        charged_period,
        format_time(notify_due) if notify_due else None,
    )


# Locks usage_counters rows in sorted order. Index: usage_counters_pkey.
_ADD_CHARGES = """
    INSERT INTO usage_counters (billing_account_id, period_start, platform_id, used)
    SELECT c.billing_id, c.period_start, c.platform_id, c.used
    FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::int[]) AS c (billing_id, period_start, platform_id, used)
    ON CONFLICT (billing_account_id, period_start, platform_id)
        DO UPDATE SET used = greatest(usage_counters.used + excluded.used, 0)
"""

# Locks usage_counters rows in sorted order too: the join alone would visit them as the planner likes, and two of these
# could wait for each other. Index: usage_counters_pkey.
_TAKE_BACK_CHARGES = """
    WITH held AS (
        SELECT u.billing_account_id, u.period_start, u.platform_id, c.used
        FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::int[])
            AS c (billing_id, period_start, platform_id, used)
        JOIN usage_counters u
          ON u.billing_account_id = c.billing_id AND u.period_start = c.period_start AND u.platform_id = c.platform_id
        ORDER BY u.billing_account_id, u.period_start, u.platform_id
        FOR NO KEY UPDATE OF u
    )
    UPDATE usage_counters u SET used = greatest(u.used - held.used, 0)
    FROM held
    WHERE u.billing_account_id = held.billing_account_id AND u.period_start = held.period_start
      AND u.platform_id = held.platform_id
"""

Charges = Mapping[tuple[str, datetime, str], int]
"""Platform posts by (billing account id, start of the period, platform id)."""


async def add_charges(connection: Connection, charges: Charges) -> None:
    """Count platform posts against their periods."""
    if charges:
        await connection.execute(_ADD_CHARGES, *_charge_columns(charges))


async def take_back_charges(connection: Connection, charges: Charges) -> None:
    """Give back what was counted for platform posts whose first attempt had not begun."""
    if charges:
        await connection.execute(_TAKE_BACK_CHARGES, *_charge_columns(charges))


def _charge_columns(charges: Charges) -> tuple[list[str], list[datetime], list[str], list[int]]:
    ordered = sorted(charges.items())
    return (
        [billing_id for (billing_id, _, _), _ in ordered],
        [period for (_, period, _), _ in ordered],
        [platform_id for (_, _, platform_id), _ in ordered],
        [used for _, used in ordered],
    )


# Under lock_group; the cascade takes the posts with it and waits for whoever writes one. Index: post_groups_pkey.
_DELETE_GROUP = "DELETE FROM post_groups WHERE id = $1 AND account_id = $2"

# A statement of its own after the group is gone: its snapshot holds what the last writer logged. Locks the lines that
# it deletes. Index: post_logs_group.
_DELETE_LOGS = "DELETE FROM post_logs WHERE group_id = $1"


async def delete_group(connection: Connection, account_id: str, group_id: str) -> None:
    """Delete a held group with its platform posts and its log."""
    await connection.execute(_DELETE_GROUP, group_id, account_id)
    await connection.execute(_DELETE_LOGS, group_id)


# Under lock_group. Indexes: post_groups_pkey, platform_posts_group.
_REQUEUE_POSTS = """
    WITH changed AS (
        UPDATE post_groups SET status = 'scheduled', processing_status = 'pending', due_at = $4, updated_at = $4
        WHERE id = $1 AND account_id = $2
        RETURNING id
    ), posts AS (
        UPDATE platform_posts p SET status = 'scheduled', error = NULL, failures = 0, tries = 0, not_before = NULL,
            intent = NULL, steps = p.steps - 'limited-since', updated_at = $4,
            parts = (
                SELECT jsonb_agg(
                    CASE WHEN part.value ->> 'status' = 'failed'
                         THEN part.value - 'error' || '{"status": "scheduled"}' ELSE part.value END
                    ORDER BY part.ordinality)
                FROM jsonb_array_elements(p.parts) WITH ORDINALITY AS part
            )
        FROM changed WHERE p.group_id = changed.id AND p.id = ANY($3::text[]) AND p.status = 'failed'
        RETURNING p.id
    )
    SELECT pg_notify('postpost_due', $5)
"""


async def requeue_posts(
    connection: Connection, account_id: str, group_id: str, post_ids: Sequence[str], now: datetime
) -> None:
    """Set failed platform posts of a held group to scheduled, due now; finished steps and published parts stay."""
    await connection.execute(_REQUEUE_POSTS, group_id, account_id, list(post_ids), now, format_time(now))


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of a group's log (spec rest-api.md 3.6). `post_id` and `platform` are None on events of the group."""

    group_id: str
    event: str
    post_id: str | None = None
    platform: str | None = None
    error: str | None = None
    http_status: int | None = None
    retry_count: int | None = None
    metadata: Json = None


# Appends only. The join drops entries of groups that were deleted meanwhile instead of failing the whole batch.
_INSERT_LOGS = """
    INSERT INTO post_logs (group_id, post_id, platform, event, error, http_status, retry_count, metadata, created_at)
    SELECT l.group_id, l.post_id, l.platform, l.event, l.error, l.http_status, l.retry_count, l.metadata, $9
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $7::int[], $8::jsonb[])
        WITH ORDINALITY
        AS l (group_id, post_id, platform, event, error, http_status, retry_count, metadata, n)
    JOIN post_groups g ON g.id = l.group_id
    ORDER BY l.n
"""


async def insert_logs(connection: Connection, entries: Sequence[LogEntry], now: datetime) -> None:
    """Append log entries in the given order."""
    if not entries:
        return
    await connection.execute(
        _INSERT_LOGS,
        [entry.group_id for entry in entries],
        [entry.post_id for entry in entries],
        [entry.platform for entry in entries],
        [entry.event for entry in entries],
        [entry.error for entry in entries],
        [entry.http_status for entry in entries],
        [entry.retry_count for entry in entries],
        [entry.metadata for entry in entries],
        now,
    )


MAX_LOGS = 100
"""Entries that post-logs shows (spec rest-api.md 3.6)."""

# No lock. Indexes: post_groups_pkey, post_logs_group. The group's own row comes first, so that a group without a log
# can be told from no group.
_FETCH_LOGS = """
    SELECT l.seq, l.post_id, l.platform, l.event, l.error, l.http_status, l.retry_count, l.metadata, l.created_at
    FROM post_groups g LEFT JOIN post_logs l ON l.group_id = g.id
    WHERE g.id = $1 AND g.account_id = $2
    ORDER BY l.created_at, l.seq
    LIMIT $3
"""


async def fetch_logs(connection: Connection, account_id: str, group_id: str) -> list[Row] | None:
    """Return the oldest entries of a group's log; None when the group is not this account's."""
    rows = await connection.fetch(_FETCH_LOGS, group_id, account_id, MAX_LOGS)
    if not rows:
        return None
    return [row for row in rows if row["seq"] is not None]


SORT_COLUMNS: Mapping[str, str] = {
    "createdAt": "created_at",
    "updatedAt": "updated_at",
    "scheduledTime": "scheduled_at",
}


@dataclass(frozen=True, slots=True)
class ListFilter:
    """What list-posts was asked for; the values are checked already."""

    account_id: str
    status: str | None
    platform: str | None
    from_time: datetime | None
    to_time: datetime | None
    sort_by: str
    descending: bool
    limit: int
    offset: int


async def fetch_page(connection: Connection, wanted: ListFilter) -> list[Row]:
    """Return one page of groups with their platform posts; each row carries the number of matching groups.

    A page past the end gives one row whose `id` is None. No lock. Indexes: post_groups_by_created or
    post_groups_by_scheduled, platform_posts_group.
    """
    arguments: list[object] = [wanted.account_id, wanted.limit, wanted.offset]
    conditions = ["g.account_id = $1"]

    def condition(template: str, value: object) -> None:
        arguments.append(value)
        conditions.append(template.format(f"${len(arguments)}"))

    if wanted.status is not None:
        condition("g.status = {}", wanted.status)
    if wanted.platform is not None:
        condition(
            "EXISTS (SELECT FROM platform_posts f WHERE f.group_id = g.id AND starts_with(lower(f.platform_id), {}))",
            wanted.platform.lower() + "-",
        )
    if wanted.from_time is not None:
        condition("g.scheduled_at >= {}", wanted.from_time)
    if wanted.to_time is not None:
        condition("g.scheduled_at <= {}", wanted.to_time)
    where = " AND ".join(conditions)
    # PostgreSQL's own order: NULLs last ascending, first descending; the contract wants the opposite.
    direction = "DESC NULLS LAST" if wanted.descending else "ASC NULLS FIRST"
    column = SORT_COLUMNS[wanted.sort_by]
    nulls = direction if column == "scheduled_at" else direction.split(" ")[0]
    order = f"g.{column} {nulls}, g.id {direction.split(' ')[0]}"
    query = f"""
        WITH page AS (
            SELECT g.id, g.content, g.status, g.scheduled_at, g.created_at, g.updated_at,
                   row_number() OVER (ORDER BY {order}) AS place
            FROM post_groups g WHERE {where} ORDER BY {order} LIMIT $2 OFFSET $3
        )
        SELECT total.n AS total, page.*, posts.platform_ids, posts.platforms, posts.statuses, posts.part_statuses
        FROM (SELECT count(*) AS n FROM post_groups g WHERE {where}) AS total
        LEFT JOIN page ON true
        LEFT JOIN LATERAL (
            SELECT array_agg(p.platform_id) AS platform_ids, array_agg(p.platform) AS platforms,
                   array_agg(p.status) AS statuses, array_agg(p.part_statuses) AS part_statuses
            FROM (
                SELECT platform_id, platform, status, jsonb_path_query_array(parts, '$[*].status') AS part_statuses
                FROM platform_posts WHERE group_id = page.id ORDER BY position
            ) AS p
        ) AS posts ON true
        ORDER BY page.place
    """
    return list(await connection.fetch(query, *arguments))


# No lock. Index: connections (account_id, platform_id).
_FETCH_CONNECTION_FACTS = """
    SELECT platform_id, facts FROM connections WHERE account_id = $1 AND platform_id = ANY($2::text[])
"""


async def fetch_connection_facts(
    connection: Connection, account_id: str, platform_ids: Sequence[str]
) -> dict[str, Mapping[str, Json]]:
    """Return what is known of these connected accounts' own limits; those not connected are missing."""
    rows = await connection.fetch(_FETCH_CONNECTION_FACTS, account_id, list(platform_ids))
    return {row["platform_id"]: row["facts"] for row in rows}
