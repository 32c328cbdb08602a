"""Takes posts under lease, runs them and stores how they ended; each of the three in batches over all running jobs."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from time import monotonic

import structlog

from postpost.clock import utc_now
from postpost.database.batching import Batcher
from postpost.database.pool import Database, Row, is_faulty_value, may_pass
from postpost.ids import new_id
from postpost.metrics import Metrics
from postpost.platforms.base import Account
from postpost.posts import rules
from postpost.posts import store as posts_store
from postpost.posts.rules import PostStatus
from postpost.posts.store import LogEntry
from postpost.publishing import jobs, store, store_dispatch
from postpost.publishing.claimed import ClaimedPost, Tools
from postpost.publishing.run import Run
from postpost.publishing.steps import LeaseLostError
from postpost.publishing.store import Claim, Ending, StepWrite
from postpost.publishing.timing import Timing
from postpost.values import Json
from postpost.vault import VaultError

CHAIN_SECONDS = 5.0
"""Longest that one job goes on with the posts of its connection; the rest gets a job of its own, so that a worker
whose queue consumer restarts need not wait for the end of a long chain."""

ENDING_PATIENCE_SECONDS = 60.0
ENDING_RETRY_SECONDS = 0.2

QUEUE_LOG_LIFETIME = timedelta(days=1)
LOG_BATCH = 5000

BATCH = 200
"""Most posts in one batched statement."""

_log = structlog.get_logger()

AccountOf = Callable[[Row], Account]
"""Builds the connector's view of the connection in a claimed row: decrypts credentials, resolves the address. Raises
VaultError when no key opens the credentials."""


class Publisher:
    """The engine behind the publish jobs of one worker process."""

    def __init__(self, database: Database, timing: Timing, account_of: AccountOf, metrics: Metrics) -> None:
        self._database = database
        self._timing = timing
        self._account_of = account_of
        self._metrics = metrics
        self._claims: Batcher[str, ClaimedPost | None] = Batcher(self._claim_batch, most=BATCH)
        self._writes: Batcher[StepWrite, bool] = Batcher(self._write_batch, most=BATCH)
        self._endings: Batcher[Ending, str | None] = Batcher(self._end_batch, most=BATCH)
        self.stopping = False
        """Set on shutdown: the post in hand is finished, the next one of its connection is left to another worker."""

    async def write(self, write: StepWrite) -> None:
        """Store one step of a run (`steps.Journal`); raises LeaseLostError when the run no longer holds its post."""
        if not await self._writes.submit(write):
            raise LeaseLostError

    async def publish(self, post_id: str, tools: Tools) -> None:
        """Run this post, then whatever else waits for the same connection, one after the other.

        A job that finds its connection busy ends at once: the run that holds the connection takes its post over.
        """
        following: str | None = post_id
        begun = monotonic()
        while following is not None:
            claimed = await self._claims.submit(following)
            if claimed is None:
                return
            ending = await Run(claimed, tools).execute()
            following = await self._store_ending(ending)
            if following is not None and (self.stopping or monotonic() - begun > CHAIN_SECONDS):
                async with self._database.transaction() as connection:
                    await jobs.enqueue_posts(connection, [following])
                return

    async def _store_ending(self, ending: Ending) -> str | None:
        """Store how a run ended, again and again while the database is away: only this process knows it.

        The lease makes that safe at any time. Returns the next post of the connection.
        """
        deadline = monotonic() + ENDING_PATIENCE_SECONDS
        while True:
            try:
                return await self._endings.submit(ending)
            except Exception as error:
                if is_faulty_value(error) and (storable := _storable(ending)) != ending:
                    _log.warning("ending_cleaned", post_id=ending.post_id, error=type(error).__name__)
                    ending = storable
                elif not may_pass(error) or monotonic() > deadline:
                    raise
                await asyncio.sleep(ENDING_RETRY_SECONDS)

    # Claims

    async def _claim_batch(self, post_ids: Sequence[str]) -> Sequence[ClaimedPost | None]:
        now = utc_now()
        until = now + self._timing.lease
        async with self._database.transaction() as connection:
            held = await store.lock_connections_of_posts(connection, post_ids, now)
            claims = _choose(post_ids, held, now)
            rows = await store.claim_posts(connection, claims, now, until) if claims else []
        claimed = {row["id"]: self._claimed_post(row, until) for row in rows}
        return [claimed.pop(post_id, None) for post_id in post_ids]

    def _claimed_post(self, row: Row, until: datetime) -> ClaimedPost:
        # The post is ours already, so whatever is wrong with its connection has to become the post's own failure.
        account, locked_away = None, False
        if row["connection_id"] is not None:
            try:
                account = self._account_of(row)
            except VaultError:
                locked_away = True
        return ClaimedPost(
            id=row["id"],
            group_id=row["group_id"],
            account_id=row["account_id"],
            platform=row["platform"],
            platform_id=row["platform_id"],
            content=row["content"],
            settings=row["settings"] or {},
            tries=row["tries"],
            failures=row["failures"],
            lease_id=row["lease_id"],
            lease_until=until,
            steps=row["steps"],
            intent=row["intent"],
            parts=row["parts"],
            connection_id=row["connection_id"],
            account=account,
            locked_away=locked_away,
            token_expires_at=row["token_expires_at"],
            refused=row["refused_at"] is not None,
            connected_at=row["connected_at"],
        )

    # Steps

    async def _write_batch(self, writes: Sequence[StepWrite]) -> Sequence[bool]:
        now = utc_now()
        until = now + self._timing.lease
        async with self._database.connection() as connection:
            written = await store.write_steps(connection, writes, now, until, now + self._timing.longest_call)
        return [write.lease_id in written for write in writes]

    # Endings

    async def _end_batch(self, endings: Sequence[Ending]) -> Sequence[str | None]:
        now = utc_now()
        async with self._database.transaction() as connection:
            await store.lock_for_endings(connection, endings)
            applied = await store.write_endings(connection, endings, now)
            stored = [ending for ending in endings if ending.lease_id in applied]
            ended_groups = {ending.group_id for ending in stored if ending.status != PostStatus.PENDING}
            finished = await store.fetch_ended_groups(connection, sorted(ended_groups)) if ended_groups else []
            statuses = [(row["id"], row["status"], _group_status(row)) for row in finished]
            if statuses:
                await store.finish_groups(connection, [(one, after) for one, _, after in statuses], now)
            logs = [entry for ending in stored for entry in ending.logs]
            logs += [
                LogEntry(group_id, "status_changed", metadata={"from": before, "to": after})
                for group_id, before, after in statuses
                if before != after
            ]
            await posts_store.insert_logs(connection, logs, now)
            later = [(ending.post_id, ending.not_before) for ending in stored if ending.not_before is not None]
            await jobs.enqueue_later(connection, later, now)
            released = [ending.connection_id for ending in endings if ending.connection_id is not None]
            # Read the clock anew: a job that came while we waited for the locks has found the connection busy, left its
            # post to us and will not come again.
            following = await store.fetch_next_posts(connection, released, utc_now()) if released else {}
        self._count(stored)
        return [following.get(ending.connection_id or "") for ending in endings]

    def _count(self, endings: Sequence[Ending]) -> None:
        for ending in endings:
            if ending.status != PostStatus.PENDING:
                self._metrics.post_ended(ending.platform, ending.status)
            if ending.logs:
                self._metrics.publish_attempted(ending.platform)

    # Sweep

    async def depth(self) -> int:
        """Return how many platform posts are taken up and not ended."""
        async with self._database.connection() as connection:
            return await store_dispatch.count_in_hand(connection)

    async def forget_old_queue_log(self) -> None:
        """Delete what the queue has logged and summed up more than a day ago."""
        deleted = LOG_BATCH
        while deleted == LOG_BATCH:
            async with self._database.connection() as connection:
                deleted = await store_dispatch.delete_old_queue_log(
                    connection, utc_now() - QUEUE_LOG_LIFETIME, LOG_BATCH
                )

    async def sweep(self, patience: timedelta) -> int:
        """Enqueue posts in hand that nobody has touched for `patience` though nothing holds them back.

        They belong to a worker that was killed between two transactions. Returns how many there were.
        """
        now = utc_now()
        async with self._database.transaction() as connection:
            forgotten = await store_dispatch.fetch_forgotten_posts(connection, now, now - patience, BATCH)
            await jobs.enqueue_forgotten(connection, forgotten)
        if forgotten:
            _log.warning("posts_recovered", count=len(forgotten))
        return len(forgotten)


def _storable(ending: Ending) -> Ending:
    """Return an ending without the characters that PostgreSQL stores in no text, wherever a platform has put them."""
    logs = [replace(entry, error=_clean(entry.error), metadata=_clean(entry.metadata)) for entry in ending.logs]
    return replace(
        ending,
        error=_clean(ending.error),
        posted_id=_clean(ending.posted_id),
        url=_clean(ending.url),
        parts=_clean(ending.parts),
        steps=_clean(ending.steps),
        intent=_clean(ending.intent),
        logs=tuple(logs),
    )


def _clean(value: Json) -> Json:
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value


def _choose(post_ids: Sequence[str], held: Sequence[Row], now: datetime) -> list[Claim]:
    """Give each free connection to the first of its posts; a post without a connection needs none to fail."""
    connection_of: Mapping[str, Row] = {row["post_id"]: row for row in held}
    taken: set[str] = set()
    claims: list[Claim] = []
    for post_id in dict.fromkeys(post_ids):
        row = connection_of.get(post_id)
        if row is None:
            claims.append(Claim(post_id, new_id(), None))
            continue
        busy = row["busy_until"] is not None and row["busy_until"] > now
        held_back = row["held_until"] is not None and row["held_until"] > now
        if busy or held_back or not row["can_run"] or row["connection_id"] in taken:
            continue
        taken.add(row["connection_id"])
        claims.append(Claim(post_id, new_id(), row["connection_id"]))
    return claims


def _group_status(row: Row) -> rules.GroupStatus:
    entries: list[PostStatus] = []
    for status, parts in zip(row["statuses"], row["parts"], strict=True):
        entries += [PostStatus(part["status"]) for part in parts] if parts else [PostStatus(status)]
    return rules.roll_up(entries)
