"""SQL around the queue: what is due, what was forgotten, how much is in hand, and the queue's own log."""

from datetime import datetime

from postpost.database.pool import Connection, Row, affected

# No lock. Index: post_groups_due.
_FETCH_NEXT_DUE = "SELECT min(due_at) FROM post_groups WHERE due_at IS NOT NULL"


async def fetch_next_due(connection: Connection) -> datetime | None:
    """Return when the earliest waiting group is due."""
    due: datetime | None = await connection.fetchval(_FETCH_NEXT_DUE)
    return due


# Locks the due groups it takes, skipping those that another dispatcher, an update or a delete holds. The ids go through
# arrays: a join would tempt the planner to read whole tables, since it cannot know that few groups are due.
# Indexes: post_groups_due, post_groups_pkey, platform_posts_group.
_CLAIM_DUE_GROUPS = """
    WITH due AS MATERIALIZED (
        SELECT id, due_at FROM post_groups WHERE due_at <= $1 ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE post_groups SET due_at = NULL, processing_status = 'processing', updated_at = $1
        WHERE id = ANY(ARRAY(SELECT id FROM due))
        RETURNING id
    ), logged AS (
        INSERT INTO post_logs (group_id, event, created_at) SELECT id, 'processing', $1 FROM taken
    ), posts AS (
        UPDATE platform_posts SET status = 'pending', updated_at = $1
        WHERE group_id = ANY(ARRAY(SELECT id FROM taken)) AND status = 'scheduled'
        RETURNING id, group_id, position
    )
    SELECT posts.id, posts.group_id, due.due_at
    FROM posts JOIN due ON due.id = posts.group_id
    ORDER BY due.due_at, posts.group_id, posts.position
"""


async def claim_due_groups(connection: Connection, now: datetime, most: int) -> list[Row]:
    """Take up to `most` due groups: their platform posts become pending. Returns those posts with their due time."""
    return list(await connection.fetch(_CLAIM_DUE_GROUPS, now, most))


# No lock. Index: platform_posts_in_hand. Two kinds: posts whose run died (its lease is over), and posts that wait for
# nothing and yet were not taken for a long while. Posts that wait for a stated time have a job of their own for it.
_FETCH_FORGOTTEN_POSTS = """
    SELECT p.id FROM platform_posts p
    LEFT JOIN connections c ON c.account_id = p.account_id AND c.platform_id = p.platform_id
    WHERE p.status IN ('pending', 'processing')
      AND coalesce(c.busy_until, $1) <= $1
      AND CASE p.status
          WHEN 'processing' THEN p.lease_until <= $1
          ELSE p.updated_at < $2 AND coalesce(p.not_before, $2) <= $2 AND coalesce(c.held_until, $2) <= $2
      END
    ORDER BY p.updated_at LIMIT $3
"""


async def fetch_forgotten_posts(connection: Connection, now: datetime, before: datetime, most: int) -> list[str]:
    """Return posts whose run died, and waiting ones that nothing holds and nobody has touched since `before`."""
    return [row["id"] for row in await connection.fetch(_FETCH_FORGOTTEN_POSTS, now, before, most)]


# No lock. Index: platform_posts_in_hand.
_COUNT_IN_HAND = "SELECT count(*) FROM platform_posts WHERE status IN ('pending', 'processing')"


async def count_in_hand(connection: Connection) -> int:
    """Return how many platform posts are taken up and not ended: the queue's depth."""
    count: int = await connection.fetchval(_COUNT_IN_HAND)
    return count


# No lock. Index: the log's primary key, oldest first; the library has read these lines when it marks them.
_DELETE_OLD_QUEUE_LOG = """
    DELETE FROM pgqueuer_log WHERE id IN (
        SELECT id FROM pgqueuer_log WHERE aggregated AND created < $1 ORDER BY id LIMIT $2
    )
"""


async def delete_old_queue_log(connection: Connection, before: datetime, most: int) -> int:
    """Delete up to `most` lines of the queue's own log that are summed up and older than `before`."""
    return affected(await connection.execute(_DELETE_OLD_QUEUE_LOG, before, most))
