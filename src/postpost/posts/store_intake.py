"""SQL of creating post groups: usage locks, the facts a decision needs, the batched insert, idempotency keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from postpost.database.pool import Connection, Row, affected
from postpost.times import format_time
from postpost.values import Json

IDEMPOTENCY_LIFETIME = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class NewGroup:
    """A post group to be written: `posts` are (id, platform, platform id) in the order of the request."""

    id: str
    account_id: str
    content: str
    settings: Json
    status: str
    scheduled_at: datetime | None
    due_at: datetime | None
    posts: tuple[tuple[str, str, str], ...]
    charged_to: str | None
    idempotency_key: str | None
    body_digest: bytes | None


@dataclass(frozen=True, slots=True)
class IntakeQuestion:
    """What must be known before one create-post may be written; None as scope: that count is not needed."""

    account_id: str
    billing_id: str
    platform_ids: tuple[str, ...]
    idempotency_key: str | None
    count_connections: bool
    monthly_scope: str | None
    pending_scope: str | None


@dataclass(frozen=True, slots=True)
class IntakeFacts:
    """The answer to an `IntakeQuestion`. Counts by platform id in connection scope, under `""` in account scope."""

    connected: frozenset[str]
    connections: int
    monthly: Mapping[str, int]
    pending: Mapping[str, int]
    used_key_digest: bytes | None
    used_key_group: str | None
    inactive: bool = False


# Locks the accounts in id order, so that two batches never wait for each other in a circle. Index: accounts_pkey.
_LOCK_ACCOUNTS = """
    SELECT id FROM accounts WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE
"""


async def lock_accounts(connection: Connection, account_ids: Sequence[str]) -> None:
    """Hold the usage locks of these accounts until the transaction ends: counting and writing become one step."""
    await connection.fetch(_LOCK_ACCOUNTS, list(account_ids))


# No lock of its own: runs after lock_accounts, in a statement of its own, so that its snapshot holds whatever
# the previous holder committed. Indexes: connections (account_id, platform_id), accounts_parent, usage_counters_pkey,
# platform_posts_open, idempotency_keys_pkey.
_FETCH_INTAKE_FACTS = """
    SELECT
        q.n,
        ARRAY(
            SELECT c.platform_id FROM connections c
            WHERE c.account_id = q.account_id AND c.platform_id = ANY(string_to_array(q.platform_ids, ' '))
        ) AS connected,
        CASE WHEN q.count_connections THEN (
            SELECT count(*) FROM connections c WHERE c.account_id IN (
                SELECT q.billing_id UNION ALL SELECT a.id FROM accounts a WHERE a.parent_id = q.billing_id
            )
        ) END AS connections,
        CASE q.monthly_scope
            WHEN 'account' THEN (
                SELECT jsonb_build_object('', coalesce(sum(u.used), 0)) FROM usage_counters u
                WHERE u.billing_account_id = q.billing_id AND u.period_start = $8
            )
            WHEN 'connection' THEN (
                SELECT jsonb_object_agg(u.platform_id, u.used) FROM usage_counters u
                WHERE u.billing_account_id = q.billing_id AND u.period_start = $8
                  AND u.platform_id = ANY(string_to_array(q.platform_ids, ' '))
            )
        END AS monthly,
        CASE q.pending_scope
            WHEN 'account' THEN (
                SELECT jsonb_build_object('', count(*)) FROM platform_posts p
                WHERE p.status IN ('scheduled', 'pending', 'processing') AND p.account_id IN (
                    SELECT q.billing_id UNION ALL SELECT a.id FROM accounts a WHERE a.parent_id = q.billing_id
                )
            )
            WHEN 'connection' THEN (
                SELECT jsonb_object_agg(s.platform_id, (
                    SELECT count(*) FROM platform_posts p
                    WHERE p.status IN ('scheduled', 'pending', 'processing')
                      AND p.platform_id = s.platform_id
                      AND p.account_id IN (
                          SELECT q.billing_id UNION ALL SELECT a.id FROM accounts a WHERE a.parent_id = q.billing_id
                      )
                ))
                FROM unnest(string_to_array(q.platform_ids, ' ')) AS s (platform_id)
            )
        END AS pending,
        k.body_digest,
        k.group_id,
        EXISTS (
            SELECT FROM accounts a WHERE a.id IN (q.account_id, q.billing_id) AND NOT a.active
        ) AS inactive
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::text[], $7::text[])
        WITH ORDINALITY
        AS q (account_id, billing_id, platform_ids, key, count_connections, monthly_scope, pending_scope, n)
    LEFT JOIN idempotency_keys k ON k.account_id = q.account_id AND k.key = q.key AND k.created_at > $9
    ORDER BY q.n
"""


async def fetch_intake_facts(
    connection: Connection, questions: Sequence[IntakeQuestion], period_start: datetime, now: datetime
) -> list[IntakeFacts]:
    """Answer the questions in order, in one statement however many there are."""
    rows = await connection.fetch(
        _FETCH_INTAKE_FACTS,
        [q.account_id for q in questions],
        [q.billing_id for q in questions],
        [" ".join(q.platform_ids) for q in questions],
        [q.idempotency_key for q in questions],
        [q.count_connections for q in questions],
        [q.monthly_scope for q in questions],
        [q.pending_scope for q in questions],
        period_start,
        now - IDEMPOTENCY_LIFETIME,
    )
    return [
        IntakeFacts(
            connected=frozenset(row["connected"]),
            connections=row["connections"] or 0,
            monthly=row["monthly"] or {},
            pending=row["pending"] or {},
            used_key_digest=row["body_digest"],
            used_key_group=row["group_id"],
            inactive=row["inactive"],
        )
        for row in rows
    ]


# One statement for the whole batch. Row locks: usage_counters rows, in sorted order, under the billing accounts'
# locks (index usage_counters_pkey). The foreign keys are checked at the statement's end, when the groups are there.
_INSERT_GROUPS = """
    WITH new_groups AS (
        INSERT INTO post_groups
            (id, account_id, content, settings, status, processing_status, scheduled_at, due_at, created_at, updated_at)
        SELECT g.id, g.account_id, g.content, g.settings, g.status, 'pending', g.scheduled_at, g.due_at, $1, $1
        FROM unnest($2::text[], $3::text[], $4::text[], $5::jsonb[], $6::text[], $7::timestamptz[], $8::timestamptz[])
            AS g (id, account_id, content, settings, status, scheduled_at, due_at)
    ), new_posts AS (
        INSERT INTO platform_posts
            (id, group_id, account_id, position, platform, platform_id, status, charged_to, charged_period, updated_at)
        SELECT p.id, p.group_id, p.account_id, p.position, p.platform, p.platform_id, p.status, p.charged_to,
               CASE WHEN p.charged_to IS NOT NULL THEN $17::timestamptz END, $1
        FROM unnest(
            $9::text[], $10::text[], $11::text[], $12::int[], $13::text[], $14::text[], $15::text[], $16::text[]
        ) AS p (id, group_id, account_id, position, platform, platform_id, status, charged_to)
    ), new_logs AS (
        INSERT INTO post_logs (group_id, post_id, platform, event, metadata, created_at)
        SELECT p.group_id, p.id, p.platform, 'scheduled', jsonb_build_object('scheduledTime', p.scheduled_time), $1
        FROM unnest($9::text[], $10::text[], $13::text[], $18::text[]) AS p (id, group_id, platform, scheduled_time)
        WHERE p.scheduled_time IS NOT NULL
    ), charges AS (
        INSERT INTO usage_counters (billing_account_id, period_start, platform_id, used)
        SELECT c.billing_id, $17, c.platform_id, c.used
        FROM unnest($19::text[], $20::text[], $21::int[]) AS c (billing_id, platform_id, used)
        ON CONFLICT (billing_account_id, period_start, platform_id)
            DO UPDATE SET used = usage_counters.used + excluded.used
    ), used_keys AS (
        INSERT INTO idempotency_keys (account_id, key, body_digest, group_id, created_at)
        SELECT k.account_id, k.key, k.body_digest, k.group_id, $1
        FROM unnest($22::text[], $23::text[], $24::bytea[], $25::text[]) AS k (account_id, key, body_digest, group_id)
        ON CONFLICT (account_id, key) DO UPDATE
            SET body_digest = excluded.body_digest, group_id = excluded.group_id, created_at = excluded.created_at
    )
    SELECT CASE WHEN $26::text IS NOT NULL THEN pg_notify('postpost_due', $26) END
"""


async def insert_groups(
    connection: Connection,
    groups: Sequence[NewGroup],
    charges: Mapping[tuple[str, str], int],
    period_start: datetime,
    now: datetime,
    notify_due: datetime | None,
) -> None:
    """Write groups, platform posts, log entries, charges by (billing id, platform id) and idempotency keys at once."""
    posts = [(group, index, post) for group in groups for index, post in enumerate(group.posts)]
    keyed = [group for group in groups if group.idempotency_key is not None]
    sorted_charges = sorted(charges.items())
    await connection.execute(
        _INSERT_GROUPS,
        now,
        [group.id for group in groups],
        [group.account_id for group in groups],
        [group.content for group in groups],
        [group.settings for group in groups],
        [group.status for group in groups],
        [group.scheduled_at for group in groups],
        [group.due_at for group in groups],
        [post[0] for _, _, post in posts],
        [group.id for group, _, _ in posts],
        [group.account_id for group, _, _ in posts],
        [index for _, index, _ in posts],
        [post[1] for _, _, post in posts],
        [post[2] for _, _, post in posts],
        [group.status for group, _, _ in posts],
        [group.charged_to for group, _, _ in posts],
        period_start,
        [_scheduled_text(group) for group, _, _ in posts],
        [billing_id for (billing_id, _), _ in sorted_charges],
        [platform_id for (_, platform_id), _ in sorted_charges],
        [used for _, used in sorted_charges],
        [group.account_id for group in keyed],
        [group.idempotency_key for group in keyed],
        [group.body_digest for group in keyed],
        [group.id for group in keyed],
        format_time(notify_due) if notify_due else None,
    )


def _scheduled_text(group: NewGroup) -> str | None:
    if group.status != "scheduled" or group.scheduled_at is None:
        return None
    return format_time(group.scheduled_at)


# No lock. Index: idempotency_keys_pkey.
_FETCH_USED_KEY = """
    SELECT body_digest, group_id FROM idempotency_keys WHERE account_id = $1 AND key = $2 AND created_at > $3
"""


async def fetch_used_key(connection: Connection, account_id: str, key: str, now: datetime) -> Row | None:
    """Return body digest and group id of an idempotency key that still holds."""
    return await connection.fetchrow(_FETCH_USED_KEY, account_id, key, now - IDEMPOTENCY_LIFETIME)


# No lock. Index: idempotency_keys_created.
_DELETE_OLD_KEYS = "DELETE FROM idempotency_keys WHERE created_at <= $1"


async def delete_old_keys(connection: Connection, now: datetime) -> int:
    """Forget idempotency keys past their 24 hours; returns how many."""
    return affected(await connection.execute(_DELETE_OLD_KEYS, now - IDEMPOTENCY_LIFETIME))
