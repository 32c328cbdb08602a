"""Looking behind the API: rows of the engine, the queue, and logs in a form that tests can compare."""

from datetime import datetime

from postpost.publishing import jobs
from tests.eventually import eventually

SHORT_EVENT_FIELDS = ("error", "httpStatus", "retryCount", "metadata")


async def rows(system, group_id):
    """Return the platform posts of a group as they are stored, in order."""
    async with system.database.connection() as connection:
        query = "SELECT * FROM platform_posts WHERE group_id = $1 ORDER BY position"
        return [dict(row) for row in await connection.fetch(query, group_id)]


async def post_ids(system, group_id):
    return [row["id"] for row in await rows(system, group_id)]


async def fetch(system, query, *arguments):
    """Read rows of the test's own database."""
    async with system.database.connection() as connection:
        return await connection.fetch(query, *arguments)


async def execute(system, query, *arguments):
    async with system.database.connection() as connection:
        return await connection.fetch(query, *arguments)


async def queued_jobs(system):
    [row] = await execute(system, "SELECT count(*) AS jobs FROM pgqueuer")
    return row["jobs"]


async def enqueue(system, *ids):
    """Enqueue publish jobs by hand, as a queue that repeats itself would."""
    async with system.database.transaction() as connection:
        await jobs.enqueue_posts(connection, list(ids))


async def connection_of(system, platform_id):
    """Return a connection as platform-connections shows it."""
    answer = await system.call("GET", "/platform-connections")
    return next(one for one in answer.body["connections"] if one["platformId"] == platform_id)


async def until_posts(system, group_id, check, *, within=10.0):
    """Return the stored platform posts once `check` holds for each of them."""

    async def reached():
        found = await rows(system, group_id)
        assert all(check(row) for row in found), found
        return found

    return await eventually(reached, within=within)


async def events(system, group_id, post_id=None):
    """Return a group's log, or one platform post's, as (event, what else it says) in order."""
    return [
        (entry["event"], {name: entry[name] for name in SHORT_EVENT_FIELDS if name in entry})
        for entry in await system.logs(group_id)
        if post_id is None or entry.get("postId") == post_id
    ]


def moment(text):
    return datetime.fromisoformat(text)
