"""Publish jobs on PGQueuer: one for each platform post that becomes pending or is to be tried again.

A job's payload is the platform post's id and nothing else; a repeated or late job finds its post ended or held by
another run and does nothing.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pgqueuer import Queries

from postpost.database.pool import Connection

PUBLISH = "publish"
"""Entrypoint of the jobs, part of the stored format: old workers must understand it for one release."""


async def enqueue_posts(connection: Connection, post_ids: Sequence[str]) -> None:
    """Enqueue one job for each post, inside the caller's transaction."""
    if post_ids:
        count = len(post_ids)
        await _queries(connection).enqueue([PUBLISH] * count, [_payload(one) for one in post_ids], [0] * count)


async def enqueue_later(connection: Connection, due: Sequence[tuple[str, datetime]], now: datetime) -> None:
    """Enqueue jobs that become visible at the given times, inside the caller's transaction."""
    if due:
        await _queries(connection).enqueue(
            [PUBLISH] * len(due),
            [_payload(post_id) for post_id, _ in due],
            [0] * len(due),
            execute_after=[max(moment - now, timedelta(0)) for _, moment in due],
        )


async def enqueue_forgotten(connection: Connection, post_ids: Sequence[str]) -> None:
    """Enqueue a job for posts that seem to have lost theirs, unless a sweep has done so already."""
    if post_ids:
        count = len(post_ids)
        await _queries(connection).enqueue(
            [PUBLISH] * count,
            [_payload(one) for one in post_ids],
            [0] * count,
            dedupe_key=[f"sweep:{one}" for one in post_ids],
            on_conflict="skip",
        )


def post_id_of(payload: bytes | None) -> str:
    """Read a job's payload."""
    return (payload or b"").decode()


def _payload(post_id: str) -> bytes:
    return post_id.encode()


def _queries(connection: Connection) -> Queries:
    return Queries.from_asyncpg_connection(connection)
