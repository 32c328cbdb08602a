"""Sleeps until the earliest due time and turns due groups into publish jobs, in every worker."""

import asyncio
from datetime import timedelta

import asyncpg
import structlog

from postpost.clock import utc_now
from postpost.database.pool import DATABASE_AWAY, Database
from postpost.metrics import Metrics
from postpost.posts.store import ANNOUNCE_WITHIN, DUE_CHANNEL
from postpost.publishing import jobs, store_dispatch

BATCH_GROUPS = 1000
"""Groups taken in one transaction: ten thousand due at once are ten short transactions, not one long one."""

POLL_INTERVAL = ANNOUNCE_WITHIN / 2
"""Longest sleep of a dispatcher: whatever was not announced is due later than this."""

TAKEN_ELSEWHERE = timedelta(milliseconds=20)
"""Pause when a group is due that somebody else holds."""

RECONNECT_DELAY_SECONDS = 1.0

_log = structlog.get_logger()


class Dispatcher:
    """One worker's dispatcher. Any number of them share the work: locked groups are skipped, not waited for."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        self._metrics = metrics
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """End `run` after the batch in hand."""
        self._stop.set()
        self._wake.set()

    async def run(self) -> None:
        """Dispatch until stopped; survives the database going away and coming back."""
        while not self._stop.is_set():
            try:
                listener = await asyncpg.connect(self._database.dsn, timeout=5)
                try:
                    # Deaf, it must not sleep on: what is due now would wait for the next look.
                    listener.add_termination_listener(self._on_due)
                    await listener.add_listener(DUE_CHANNEL, self._on_due)
                    await self._loop(listener)
                finally:
                    await listener.close(timeout=1)
            except DATABASE_AWAY as error:
                _log.warning("dispatcher_waits_for_database", error=type(error).__name__)
                await _sleep(self._stop, RECONNECT_DELAY_SECONDS)
            except Exception:  # noqa: BLE001 -- a dispatcher that ends would take its worker with it
                _log.exception("dispatcher_failed")
                await _sleep(self._stop, RECONNECT_DELAY_SECONDS)

    async def dispatch(self) -> int:
        """Take one batch of due groups, in one transaction; returns the number of jobs enqueued."""
        now = utc_now()
        async with self._database.transaction() as connection:
            posts = await store_dispatch.claim_due_groups(connection, now, BATCH_GROUPS)
            await jobs.enqueue_posts(connection, [post["id"] for post in posts])
        for post in posts:
            self._metrics.dispatched(now - post["due_at"])
        return len(posts)

    async def _loop(self, listener: asyncpg.Connection) -> None:
        while not self._stop.is_set() and not listener.is_closed():
            self._wake.clear()
            if await self.dispatch():
                continue
            async with self._database.connection() as connection:
                due = await store_dispatch.fetch_next_due(connection)
            wait = POLL_INTERVAL if due is None else min(due - utc_now(), POLL_INTERVAL)
            # A millisecond more: due times have milliseconds, and to wake early would mean to look twice.
            # What is due and was not taken is held by somebody for a moment.
            await _sleep(
                self._wake,
                max(wait, TAKEN_ELSEWHERE if due is not None and due <= utc_now() else timedelta(0)).total_seconds()
                + 0.001,
            )

    def _on_due(self, *_: object) -> None:
        self._wake.set()


async def _sleep(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
