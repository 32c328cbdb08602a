"""SQL of runs: leases, durable steps and results, all of it in batches."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from postpost.database.pool import Connection, Row, encode_json
from postpost.posts.store import LogEntry
from postpost.values import Json

# Locks the connections of these posts in id order. Indexes: platform_posts_pkey, connections (account_id, platform_id).
_LOCK_CONNECTIONS_OF_POSTS = """
    SELECT p.id AS post_id, c.id AS connection_id, c.busy_until, c.held_until,
           CASE p.status WHEN 'pending' THEN coalesce(p.not_before, $2) <= $2 ELSE p.lease_until < $2 END AS can_run
    FROM platform_posts p
    JOIN connections c ON c.account_id = p.account_id AND c.platform_id = p.platform_id
    WHERE p.id = ANY($1::text[]) AND p.status IN ('pending', 'processing')
    ORDER BY c.id
    FOR NO KEY UPDATE OF c
"""


async def lock_connections_of_posts(connection: Connection, post_ids: Sequence[str], now: datetime) -> list[Row]:
    """Hold the connections through which these posts go out. Posts that ended or lost their connection have no row."""
    return list(await connection.fetch(_LOCK_CONNECTIONS_OF_POSTS, list(post_ids), now))


# Under lock_connections_of_posts; locks the posts. A post is taken when it waits and may be tried now, or when the
# lease of whoever held it is over. Indexes: platform_posts_pkey, post_groups_pkey, connections_pkey.
_CLAIM_POSTS = """
    WITH before AS (
        SELECT p.id, p.status = 'processing' AS abandoned, p.tries + p.failures = 0 AS first_turn, w.lease_id,
               w.connection_id
        FROM unnest($1::text[], $2::text[], $3::text[]) AS w (post_id, lease_id, connection_id)
        JOIN platform_posts p ON p.id = w.post_id
        WHERE ((p.status = 'pending' AND (p.not_before IS NULL OR p.not_before <= $4))
            OR (p.status = 'processing' AND p.lease_until < $4))
          -- A post that was not yet pending when its connection was looked for has one all the same.
          AND (w.connection_id IS NOT NULL OR NOT EXISTS (
              SELECT FROM connections c WHERE c.account_id = p.account_id AND c.platform_id = p.platform_id))
        ORDER BY p.id
        FOR UPDATE OF p
    ), taken AS (
        UPDATE platform_posts p SET status = 'processing', begun = true, not_before = NULL,
            -- Whoever was sending it has died: a post that kills its worker must end some time.
            failures = p.failures + before.abandoned::int,
            lease_id = before.lease_id, lease_until = $5, updated_at = $4
        FROM before WHERE p.id = before.id
        RETURNING p.*, before.first_turn, before.connection_id
    ), logged AS (
        INSERT INTO post_logs (group_id, post_id, platform, event, created_at)
        SELECT group_id, id, platform, 'processing', $4 FROM taken WHERE first_turn
    ), busy AS (
        UPDATE connections c SET busy_lease = taken.lease_id, busy_until = $5
        FROM taken WHERE c.id = taken.connection_id
    )
    SELECT t.id, t.group_id, t.account_id, t.platform, t.platform_id, t.tries, t.failures, t.lease_id, t.steps,
           t.intent, t.parts, g.content, g.settings -> t.platform AS settings,
           c.id AS connection_id, c.username, c.base_url, c.sandbox, c.credentials, c.facts, c.token_expires_at,
           c.refused_at, c.connected_at
    FROM taken t
    JOIN post_groups g ON g.id = t.group_id
    LEFT JOIN connections c ON c.id = t.connection_id
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A wish to run one platform post under a new lease."""

    post_id: str
    lease_id: str
    connection_id: str | None


async def claim_posts(connection: Connection, claims: Sequence[Claim], now: datetime, until: datetime) -> list[Row]:
    """Take these posts and their connections under lease until `until`; returns what could be taken, whole."""
    return list(
        await connection.fetch(
            _CLAIM_POSTS,
            [claim.post_id for claim in claims],
            [claim.lease_id for claim in claims],
            [claim.connection_id for claim in claims],
            now,
            until,
        )
    )


def _json_text(value: Json) -> str | None:
    # A list of lists would reach PostgreSQL as one array of two dimensions.
    return None if value is None else encode_json(value)


@dataclass(frozen=True, slots=True)
class StepWrite:
    """One durable change of a running post. `steps` are merged in; None leaves `intent` and `parts` as they are."""

    post_id: str
    lease_id: str
    connection_id: str | None
    steps: Json = field(default_factory=dict)
    intent: Json = None
    clear_intent: bool = False
    parts: Json = None
    log: LogEntry | None = None
    attempted: bool = False


# Locks the connections whose lease it prolongs, then the posts it changes, each held by its lease's run alone: the
# order of a claim, which may take over from a late run just now. Indexes: platform_posts_pkey, connections_pkey.
_WRITE_STEPS = """
    WITH held_connections AS (
        SELECT c.id FROM connections c
        JOIN unnest($2::text[], $3::text[]) AS w (lease_id, connection_id)
            ON c.id = w.connection_id AND c.busy_lease = w.lease_id
        WHERE c.busy_until < $10 ORDER BY c.id FOR NO KEY UPDATE OF c
    ), held_posts AS (
        SELECT p.id FROM platform_posts p
        JOIN unnest($1::text[], $2::text[]) AS w (post_id, lease_id) ON p.id = w.post_id AND p.lease_id = w.lease_id
        ORDER BY p.id FOR NO KEY UPDATE OF p
    ), written AS (
        UPDATE platform_posts p SET
            steps = CASE WHEN w.steps = '{}' THEN p.steps ELSE p.steps || w.steps END,
            intent = CASE WHEN w.clear_intent THEN NULL ELSE coalesce(w.intent, p.intent) END,
            parts = coalesce(w.parts, p.parts),
            tries = p.tries + w.attempted::int,
            lease_until = greatest(p.lease_until, $9),
            updated_at = $8
        FROM unnest(
            $1::text[], $2::text[], $3::text[], $4::jsonb[], $5::jsonb[], $6::boolean[], $7::jsonb[], $17::boolean[]
        ) AS w (post_id, lease_id, connection_id, steps, intent, clear_intent, parts, attempted)
        WHERE p.id = w.post_id AND p.lease_id = w.lease_id AND p.status = 'processing'
          AND (SELECT count(*) FROM held_connections) + (SELECT count(*) FROM held_posts) >= 0
        RETURNING p.lease_id, w.connection_id
    ), busy AS (
        UPDATE connections c SET busy_until = $9
        FROM written WHERE c.id = written.connection_id AND c.busy_lease = written.lease_id AND c.busy_until < $10
    ), logged AS (
        INSERT INTO post_logs (group_id, post_id, platform, event, retry_count, metadata, created_at)
        SELECT l.group_id, l.post_id, l.platform, l.event, l.retry_count, l.metadata, $8
        FROM unnest($11::text[], $12::text[], $13::text[], $14::text[], $15::int[], $16::jsonb[], $18::text[])
            AS l (group_id, post_id, platform, event, retry_count, metadata, lease_id)
        JOIN written ON written.lease_id = l.lease_id
    )
    SELECT lease_id FROM written
"""


async def write_steps(
    connection: Connection, writes: Sequence[StepWrite], now: datetime, until: datetime, renew_before: datetime
) -> set[str]:
    """Apply the writes whose run still holds its post and prolong those leases to `until`.

    Returns the leases that still held their post: a batch may have a late run of a post beside its present one.
    Connections are only touched when their own lease ends before `renew_before`.
    """
    logs = [write.log for write in writes if write.log is not None]
    rows = await connection.fetch(
        _WRITE_STEPS,
        [write.post_id for write in writes],
        [write.lease_id for write in writes],
        [write.connection_id for write in writes],
        [write.steps for write in writes],
        [write.intent for write in writes],
        [write.clear_intent for write in writes],
        [_json_text(write.parts) for write in writes],
        now,
        until,
        renew_before,
        [log.group_id for log in logs],
        [log.post_id for log in logs],
        [log.platform for log in logs],
        [log.event for log in logs],
        [log.retry_count for log in logs],
        [log.metadata for log in logs],
        [write.attempted for write in writes],
        [write.lease_id for write in writes if write.log is not None],
    )
    return {row["lease_id"] for row in rows}


@dataclass(frozen=True, slots=True)
class Ending:
    """How one run of a platform post ended.

    `status` is published or failed, or pending when it is to be tried again at `not_before`. `held_until` holds back
    the whole connection; `refused` is the `connected_at` of a dead credential, so that one which came in
    the meantime is not marked instead.
    """

    post_id: str
    lease_id: str
    group_id: str
    platform: str
    status: str
    connection_id: str | None
    failures: int = 0
    not_before: datetime | None = None
    steps: Json = field(default_factory=dict)
    intent: Json = None
    parts: Json = None
    posted_id: str | None = None
    url: str | None = None
    error: Json = None
    held_until: datetime | None = None
    refused: datetime | None = None
    attempted: bool = False
    logs: tuple[LogEntry, ...] = ()


# Locks the groups whose posts ended, then the connections, each in id order: the roll-up of two posts of one group
# never runs at once. Indexes: post_groups_pkey, connections_pkey.
_LOCK_FOR_ENDINGS = """
    WITH held_groups AS (
        SELECT id FROM post_groups WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE
    ), held_connections AS (
        SELECT id FROM connections WHERE id = ANY($2::text[]) ORDER BY id FOR NO KEY UPDATE
    )
    SELECT (SELECT count(*) FROM held_groups) AS groups, (SELECT count(*) FROM held_connections) AS connections
"""


async def lock_for_endings(connection: Connection, endings: Sequence[Ending]) -> None:
    """Hold the groups and connections that these endings touch."""
    await connection.fetchrow(
        _LOCK_FOR_ENDINGS,
        sorted({ending.group_id for ending in endings if ending.status != "pending"}),
        sorted({ending.connection_id for ending in endings if ending.connection_id is not None}),
    )


# Under lock_for_endings; locks the posts. The connection is given back by its own lease, even where the post is gone.
# Indexes: platform_posts_pkey, connections_pkey.
_WRITE_ENDINGS = """
    WITH given AS (
        SELECT * FROM unnest(
            $1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::timestamptz[], $7::jsonb[], $8::jsonb[],
            $9::jsonb[], $10::text[], $11::text[], $12::jsonb[], $13::timestamptz[], $14::timestamptz[], $16::boolean[]
        ) AS e (post_id, lease_id, connection_id, status, failures, not_before, steps, intent,
                parts, posted_id, url, error, held_until, refused, attempted)
    ), held_posts AS (
        SELECT p.id FROM platform_posts p
        JOIN unnest($1::text[], $2::text[]) AS w (post_id, lease_id) ON p.id = w.post_id AND p.lease_id = w.lease_id
        ORDER BY p.id FOR NO KEY UPDATE OF p
    ), ended AS (
        UPDATE platform_posts p SET
            status = e.status, failures = e.failures, tries = p.tries + e.attempted::int, not_before = e.not_before,
            steps = p.steps || e.steps, intent = e.intent, parts = coalesce(e.parts, p.parts),
            posted_id = coalesce(e.posted_id, p.posted_id),
            url = coalesce(e.url, p.url), error = e.error, lease_id = NULL, lease_until = NULL,
            updated_at = $15::timestamptz, published_at = CASE WHEN e.status = 'published' THEN $15::timestamptz END
        FROM given e
        WHERE p.id = e.post_id AND p.lease_id = e.lease_id AND p.status = 'processing'
          AND (SELECT count(*) FROM held_posts) >= 0
        RETURNING e.lease_id
    ), released AS (
        UPDATE connections c SET
            busy_lease = NULL, busy_until = NULL, updated_at = $15,
            last_successful_post_at = CASE e.status WHEN 'published' THEN $15::timestamptz
                                      ELSE c.last_successful_post_at END,
            last_error = CASE e.status WHEN 'published' THEN NULL WHEN 'failed' THEN e.error ->> 'message'
                         ELSE c.last_error END,
            last_error_at = CASE e.status
                WHEN 'published' THEN NULL WHEN 'failed' THEN (e.error ->> 'failedAt')::timestamptz
                ELSE c.last_error_at END,
            held_until = coalesce(e.held_until, c.held_until),
            refused_at = CASE WHEN e.refused = c.connected_at THEN coalesce(c.refused_at, $15) ELSE c.refused_at END
        FROM given e WHERE c.id = e.connection_id AND c.busy_lease = e.lease_id
    )
    SELECT lease_id FROM ended
"""


async def write_endings(connection: Connection, endings: Sequence[Ending], now: datetime) -> set[str]:
    """Store how runs ended and release their connections; returns the leases of those that still held their post."""
    rows = await connection.fetch(
        _WRITE_ENDINGS,
        [ending.post_id for ending in endings],
        [ending.lease_id for ending in endings],
        [ending.connection_id for ending in endings],
        [ending.status for ending in endings],
        [ending.failures for ending in endings],
        [ending.not_before for ending in endings],
        [ending.steps for ending in endings],
        [ending.intent for ending in endings],
        [_json_text(ending.parts) for ending in endings],
        [ending.posted_id for ending in endings],
        [ending.url for ending in endings],
        [ending.error for ending in endings],
        [ending.held_until for ending in endings],
        [ending.refused for ending in endings],
        now,
        [ending.attempted for ending in endings],
    )
    return {row["lease_id"] for row in rows}


# No lock beyond lock_for_endings. Index: platform_posts_group.
_FETCH_ENTRY_STATUSES = """
    SELECT g.id, g.status, array_agg(p.status) AS statuses, jsonb_agg(p.parts) AS parts
    FROM post_groups g JOIN platform_posts p ON p.group_id = g.id
    WHERE g.id = ANY($1::text[])
    GROUP BY g.id, g.status
    HAVING bool_and(p.status IN ('published', 'failed'))
"""


async def fetch_ended_groups(connection: Connection, group_ids: Sequence[str]) -> list[Row]:
    """Return those of the groups in which every platform post has ended, with the statuses to roll up."""
    return list(await connection.fetch(_FETCH_ENTRY_STATUSES, list(group_ids)))


# Under lock_for_endings. Index: post_groups_pkey.
_FINISH_GROUPS = """
    UPDATE post_groups g SET status = f.status, processing_status = 'finished', updated_at = $3
    FROM unnest($1::text[], $2::text[]) AS f (id, status)
    WHERE g.id = f.id
"""


async def finish_groups(connection: Connection, statuses: Sequence[tuple[str, str]], now: datetime) -> None:
    """Store the rolled-up status of finished groups."""
    await connection.execute(_FINISH_GROUPS, [one for one, _ in statuses], [status for _, status in statuses], now)


# No lock. Must be a statement after the connections were released under their locks: whoever found one of them busy
# has left its post to us, and that post is in this snapshot. Index: platform_posts_open.
_FETCH_NEXT_POSTS = """
    SELECT c.id AS connection_id, (
        SELECT p.id FROM platform_posts p
        WHERE p.account_id = c.account_id AND p.platform_id = c.platform_id AND p.status = 'pending'
          AND (p.not_before IS NULL OR p.not_before <= $2)
        ORDER BY p.id LIMIT 1
    ) AS post_id
    FROM connections c WHERE c.id = ANY($1::text[]) AND (c.held_until IS NULL OR c.held_until <= $2)
"""


async def fetch_next_posts(connection: Connection, connection_ids: Sequence[str], now: datetime) -> dict[str, str]:
    """Return the next waiting post of each of these connections, by connection id."""
    rows = await connection.fetch(_FETCH_NEXT_POSTS, list(connection_ids), now)
    return {row["connection_id"]: row["post_id"] for row in rows if row["post_id"] is not None}
