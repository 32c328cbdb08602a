"""SQL of the operator's questions about posts. Every function takes the connection first."""

from datetime import datetime

from postpost.database.pool import Connection, Row

# No lock. Index: post_groups_pkey.
_FETCH_GROUP_OWNER = "SELECT account_id FROM post_groups WHERE id = $1"


async def fetch_group_owner(connection: Connection, group_id: str) -> str | None:
    """Return whose group this is, whoever asks: for operators, who know a group's id and not its account."""
    owner: str | None = await connection.fetchval(_FETCH_GROUP_OWNER, group_id)
    return owner


# No lock. Indexes: post_groups_pkey, accounts_pkey.
_FETCH_GROUP_STATE = """
    SELECT g.id, g.status, g.processing_status, g.scheduled_at, g.due_at, g.created_at, g.updated_at, g.content,
           a.active
    FROM post_groups g JOIN accounts a ON a.id = g.account_id
    WHERE g.id = $1 AND g.account_id = $2
"""


async def fetch_group_state(connection: Connection, account_id: str, group_id: str) -> Row | None:
    """Return where a group stands, for an operator who asks why it is not out."""
    return await connection.fetchrow(_FETCH_GROUP_STATE, group_id, account_id)


# No lock. Indexes: platform_posts_group, connections (account_id, platform_id), post_logs_group.
_FETCH_POST_STATES = """
    SELECT p.id, p.platform, p.platform_id, p.status, p.tries, p.failures, p.not_before, p.lease_until, p.intent,
           p.parts, p.posted_id, p.url, p.error, p.published_at, p.updated_at,
           c.id AS connection_id, c.held_until, c.refused_at, c.busy_until, c.token_expires_at,
           l.error AS said, l.http_status AS said_status, l.metadata AS said_more, l.created_at AS said_at
    FROM platform_posts p
    LEFT JOIN connections c ON c.account_id = p.account_id AND c.platform_id = p.platform_id
    LEFT JOIN LATERAL (
        SELECT f.error, f.http_status, f.metadata, f.created_at FROM post_logs f
        WHERE f.group_id = p.group_id AND f.post_id = p.id AND f.event = 'publish_failed'
        ORDER BY f.created_at DESC, f.seq DESC LIMIT 1
    ) AS l ON true
    WHERE p.group_id = $1 AND p.account_id = $2
    ORDER BY p.position
"""


async def fetch_post_states(connection: Connection, account_id: str, group_id: str) -> list[Row]:
    """Return where each platform post of a group stands, with its connection and its latest failure."""
    return list(await connection.fetch(_FETCH_POST_STATES, group_id, account_id))


# Locks the due groups it changes. Indexes: post_groups_by_created (account_id), platform_posts_group.
_PAUSE_SCHEDULED = """
    WITH paused AS (
        UPDATE post_groups SET status = 'draft', due_at = NULL, updated_at = $2
        WHERE account_id = $1 AND status = 'scheduled' AND processing_status = 'pending'
          AND NOT EXISTS (
              SELECT FROM platform_posts p
              WHERE p.group_id = post_groups.id AND p.status NOT IN ('draft', 'scheduled')
          )
        RETURNING id
    ), before AS (
        SELECT p.id, p.group_id, p.platform_id, p.charged_to, p.charged_period, p.begun
        FROM platform_posts p JOIN paused ON paused.id = p.group_id
    ), posts AS (
        UPDATE platform_posts p SET status = 'draft', updated_at = $2,
            charged_to = CASE WHEN p.begun THEN p.charged_to END,
            charged_period = CASE WHEN p.begun THEN p.charged_period END
        FROM before WHERE before.id = p.id
    )
    SELECT * FROM before
"""


async def pause_scheduled_groups(connection: Connection, account_id: str, now: datetime) -> list[Row]:
    """Move an account's waiting groups to draft, their times kept; returns their posts with the charges they held."""
    return list(await connection.fetch(_PAUSE_SCHEDULED, account_id, now))
