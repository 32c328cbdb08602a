"""One worker: queue consumer, dispatcher, sweep and housekeeping, running until told to stop."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog
from pgqueuer import Queries
from pgqueuer.errors import RetryRequested
from pgqueuer.models import Job
from pgqueuer.qm import QueueManager

from postpost.database.pool import DATABASE_AWAY, Database
from postpost.metrics import Metrics
from postpost.publishing import jobs
from postpost.publishing.claimed import Tools
from postpost.publishing.dispatcher import Dispatcher
from postpost.publishing.publisher import Publisher
from postpost.publishing.timing import SWEEP_INTERVAL

JOB_BATCH = 100
"""Jobs taken from the queue in one statement."""

HEARTBEAT_TIMEOUT = timedelta(seconds=10)
"""A job whose worker gives no sign of life for this long is given to another."""

IDLE_POLL = timedelta(seconds=5)
"""Longest wait of an idle queue consumer. New jobs wake it by NOTIFY, unless its listening connection has just died."""

FORGOTTEN_AFTER = timedelta(seconds=10)
"""A waiting post that nothing holds back and nobody has taken for this long has lost its job. Where it has not, and the
queue is merely long, a second job does no harm."""

HOUSEKEEPING_INTERVAL = timedelta(minutes=10)
RESTART_DELAY_SECONDS = 1.0

_log = structlog.get_logger()

Housekeeping = Callable[[], Awaitable[object]]


class Worker:
    """Everything that publishes, in one process. Any number of workers share one database."""

    def __init__(
        self,
        database: Database,
        publisher: Publisher,
        tools: Tools,
        metrics: Metrics,
        *,
        concurrency: int,
        housekeeping: Housekeeping,
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._tools = tools
        self._metrics = metrics
        self._concurrency = concurrency
        self._housekeeping = housekeeping
        self._dispatcher = Dispatcher(database, metrics)
        self._stopping = asyncio.Event()
        self._manager: QueueManager | None = None

    def stop(self) -> None:
        """End `run` once the posts in hand are finished."""
        self._stopping.set()
        self._publisher.stopping = True
        self._dispatcher.stop()
        if self._manager is not None:
            self._manager.shutdown.set()

    async def run(self) -> None:
        """Work until stopped. A database that goes away is waited for."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._dispatcher.run())
            group.create_task(self._consume())
            group.create_task(self._repeat("sweep", self._sweep, SWEEP_INTERVAL))
            group.create_task(self._repeat("housekeeping", self._housekeeping, HOUSEKEEPING_INTERVAL))
            group.create_task(self._repeat("queue log", self._publisher.forget_old_queue_log, HOUSEKEEPING_INTERVAL))

    async def _consume(self) -> None:
        while not self._stopping.is_set():
            manager = QueueManager(Queries.from_asyncpg_pool(self._database.pool))
            manager.entrypoint(jobs.PUBLISH)(self._publish)
            self._manager = manager
            try:
                await manager.run(
                    dequeue_timeout=IDLE_POLL,
                    batch_size=min(JOB_BATCH, max(self._concurrency // 2, 1)),
                    max_concurrent_tasks=max(self._concurrency, 2),
                    heartbeat_timeout=HEARTBEAT_TIMEOUT,
                    shutdown_on_listener_failure=True,
                )
            except Exception as error:  # noqa: BLE001 -- the consumer must outlive whatever its library raises
                _log.warning("queue_consumer_restarts", error=type(error).__name__, detail=str(error)[:200])
                await _wait(self._stopping, RESTART_DELAY_SECONDS)

    async def _publish(self, job: Job) -> None:
        try:
            await self._publisher.publish(jobs.post_id_of(job.payload), self._tools)
        except DATABASE_AWAY as error:
            # To the queue every other failure is the end of the job.
            raise RetryRequested(timedelta(seconds=RESTART_DELAY_SECONDS), type(error).__name__) from error

    async def _sweep(self) -> None:
        await self._publisher.sweep(FORGOTTEN_AFTER)
        self._metrics.queue_depth(await self._publisher.depth())

    async def _repeat(self, name: str, work: Housekeeping, interval: timedelta) -> None:
        while not self._stopping.is_set():
            try:
                await work()
            except DATABASE_AWAY as error:
                _log.warning("background_work_waits_for_database", work=name, error=type(error).__name__)
            except Exception:  # noqa: BLE001 -- the next round must come whatever this one met
                _log.exception("background_work_failed", work=name)
            await _wait(self._stopping, interval.total_seconds())


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
