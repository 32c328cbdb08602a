"""The engine against a bare PGQueuer loop: publishing, dispatching, lateness."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pgqueuer import Queries
from pgqueuer.models import Job
from pgqueuer.qm import QueueManager

from bench.report import Figure
from postpost import runtime
from postpost.clock import utc_now
from postpost.ids import new_id
from postpost.metrics import Metrics
from postpost.platforms.base import (
    Account,
    App,
    Connected,
    Grant,
    Http,
    Identity,
    Intent,
    NotPublished,
    Outcome,
    Platform,
    Post,
    Published,
    Reconciles,
    Steps,
)
from postpost.publishing.claimed import Checked, ClaimedPost, Tools
from postpost.publishing.dispatcher import Dispatcher
from postpost.publishing.publisher import Publisher
from postpost.publishing.timing import Timing
from postpost.publishing.worker import Worker
from postpost.services import Services

POSTS = 10_000
ROUNDS = 3
CONCURRENCY = 400


class Instant:
    """A connector that answers at once: what is left is the engine."""

    platform = Platform("twitter", "Instant", "", (), Reconciles.CERTAIN)

    async def connect(self, base_url: str, credentials: Mapping[str, str], app: App, http: Http) -> Connected:
        raise NotImplementedError

    async def refresh(self, account: Account, app: App, http: Http) -> Grant:
        raise NotImplementedError

    async def identify(self, account: Account, http: Http) -> Identity:
        raise NotImplementedError

    async def publish(self, post: Post, steps: Steps, http: Http) -> None:
        """Publish each part as one public step."""

        async def call() -> Published:
            return Published(post.id)

        for part in range(len(post.parts)):
            await steps.public(part, {"text": post.parts[part]}, call)

    async def reconcile(self, post: Post, intent: Intent, steps: Steps, http: Http) -> Outcome:
        return NotPublished()

    def sandbox_credentials(self, account_id: str) -> Mapping[str, str]:
        return {}


# One group of one post each.
_FILL = """
    WITH given AS (
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
            AS g (group_id, post_id, account_id, platform, platform_id)
    ), new_groups AS (
        INSERT INTO post_groups (id, account_id, content, settings, status, processing_status, scheduled_at, due_at,
                                 created_at, updated_at)
        SELECT group_id, account_id, 'Hello', '{}', 'scheduled', 'pending', $6, $6, now(), now() FROM given
    )
    INSERT INTO platform_posts (id, group_id, account_id, position, platform, platform_id, status, updated_at)
    SELECT post_id, group_id, account_id, 0, platform, platform_id, 'scheduled', now() FROM given
"""


async def fill(services: Services, count: int, due: datetime) -> None:
    """Write scheduled groups of one post each, spread over all connections."""
    async with services.database.connection() as connection:
        targets = await connection.fetch("SELECT account_id, platform, platform_id FROM connections ORDER BY id")
        for start in range(0, count, 20_000):
            chosen = [targets[number % len(targets)] for number in range(start, min(start + 20_000, count))]
            await connection.execute(
                _FILL,
                [new_id() for _ in chosen],
                [new_id() for _ in chosen],
                [target["account_id"] for target in chosen],
                [target["platform"] for target in chosen],
                [target["platform_id"] for target in chosen],
                due,
            )


def _worker(services: Services) -> Worker:
    timing = Timing(timedelta(seconds=10), 5, timedelta(seconds=1), timedelta(days=1))
    account = Account("1", "bench", "", {})
    publisher = Publisher(services.database, timing, lambda _row: account, Metrics())
    instant = Instant()

    async def check(claimed: ClaimedPost) -> Checked:
        return Checked((claimed.content,))

    async def refresh(claimed: ClaimedPost, connector: Any) -> Grant:
        raise NotImplementedError

    tools = Tools(lambda _key: instant, check, refresh, services.outside.http, publisher, timing)
    return Worker(
        services.database,
        publisher,
        tools,
        Metrics(),
        concurrency=CONCURRENCY,
        housekeeping=services.posts.forget_old_keys,
    )


async def _wait_until_none(services: Services, query: str) -> None:
    while True:
        async with services.database.connection() as connection:
            if not await connection.fetchval(query):
                return
        await asyncio.sleep(0.05)


async def publish_all(services: Services) -> float:
    """Publish POSTS posts that are due at once; returns posts a second from the first dispatch to the last ending."""
    await fill(services, POSTS, utc_now() - timedelta(seconds=1))
    worker = _worker(services)
    begun = time.perf_counter()
    running = asyncio.create_task(worker.run())
    await _wait_until_none(services, "SELECT EXISTS (SELECT FROM post_groups WHERE due_at <= now())")
    await _wait_until_none(
        services, "SELECT EXISTS (SELECT FROM platform_posts WHERE status IN ('pending', 'processing'))"
    )
    took = time.perf_counter() - begun
    worker.stop()
    await running
    return POSTS / took


async def bare_loop(services: Services) -> float:
    """Run POSTS bare PGQueuer jobs with one UPDATE each; returns jobs a second."""
    pool = services.database.pool
    await pool.execute("CREATE TABLE IF NOT EXISTS bare (id int PRIMARY KEY, done boolean NOT NULL)")
    await pool.execute("TRUNCATE bare")
    await pool.execute("INSERT INTO bare SELECT i, false FROM generate_series(1, $1::int) AS i", POSTS)
    queries = Queries.from_asyncpg_pool(pool)
    await queries.enqueue(["bare"] * POSTS, [str(i + 1).encode() for i in range(POSTS)], [0] * POSTS)
    manager = QueueManager(queries)
    left = POSTS

    @manager.entrypoint("bare")
    async def handle(job: Job) -> None:
        nonlocal left
        await pool.execute("UPDATE bare SET done = true WHERE id = $1", int(job.payload or b"0"))
        left -= 1
        if not left:
            manager.shutdown.set()

    begun = time.perf_counter()
    await manager.run(batch_size=100, max_concurrent_tasks=CONCURRENCY)
    return POSTS / (time.perf_counter() - begun)


async def measure_publishing(services: Services) -> list[Figure]:
    """Measure both loops in turn."""
    ours, bare = [], []
    for _ in range(ROUNDS):
        ours.append(await publish_all(services))
        bare.append(await bare_loop(services))
    ratio = statistics.median(one / other for one, other in zip(ours, bare, strict=True))
    value = statistics.median(ours)
    return [
        Figure(
            "publishing, instant connector",
            value,
            "posts/s",
            statistics.median(bare),
            ratio,
            target=">= 1,000/s, ratio >= 0.5",
            met=value >= 1000 and ratio >= 0.5,
        )
    ]


async def measure_dispatching(services: Services) -> list[Figure]:
    """Measure how long it takes until 10,000 posts due in one second are all queued."""
    times = []
    for _ in range(ROUNDS):
        await fill(services, POSTS, utc_now() - timedelta(milliseconds=1))
        dispatcher = Dispatcher(services.database, Metrics())
        begun = time.perf_counter()
        while await dispatcher.dispatch():
            pass
        times.append(time.perf_counter() - begun)
        async with services.database.connection() as connection:
            await connection.execute(
                "TRUNCATE pgqueuer; DELETE FROM post_groups WHERE processing_status = 'processing'"
            )
    value = statistics.median(times)
    return [Figure("10,000 due at once, all queued", value, "s", target="<= 1 s", met=value <= 1)]


@contextlib.asynccontextmanager
async def _running(services: Services) -> AsyncIterator[None]:
    worker = runtime.build_worker(services)
    running = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await running


async def measure_lateness(services: Services, account: str, read_posts: Any) -> list[Figure]:
    """Measure how late a single due post reaches the sandbox while everything else waits."""
    late: list[float] = []
    async with _running(services):
        for number in range(20):
            due = utc_now() + timedelta(seconds=0.5)
            group, post = new_id(), new_id()
            async with services.database.connection() as connection:
                await connection.execute(
                    """
                    WITH g AS (
                        INSERT INTO post_groups (id, account_id, content, settings, status, processing_status,
                                                 scheduled_at, due_at, created_at, updated_at)
                        VALUES ($1, $2, $3, '{}', 'scheduled', 'pending', $4, $4, now(), now())
                    ), p AS (
                        INSERT INTO platform_posts (id, group_id, account_id, position, platform, platform_id, status,
                                                    updated_at)
                        VALUES ($5, $1, $2, 0, 'twitter', 'twitter-1', 'scheduled', now())
                    ) SELECT pg_notify('postpost_due', '')
                    """,
                    group,
                    account,
                    f"Single post {number}",
                    due,
                    post,
                )
            while len(posts := await read_posts()) <= number:
                await asyncio.sleep(0.01)
            created = datetime.fromisoformat(posts[-1]["createdAt"].replace("Z", "+00:00")).astimezone(UTC)
            late.append((created - due).total_seconds() * 1000)
    value = statistics.median(late)
    return [
        Figure(
            "a due post reaches the sandbox after",
            value,
            "ms",
            remark=f"worst of 20: {max(late):.0f} ms",
            target="median <= 250 ms",
            met=value <= 250,
        )
    ]
