"""Group commit in the program: calls that arrive while a write is under way share the next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import asyncpg

from postpost.database.pool import is_away

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Hands items to `flush` in batches, at most one at a time; `submit` returns the item's own result.

    There is no waiting for company: an idle batcher flushes a lone item at once, and a busy one flushes whatever has
    gathered in the meantime, so batches grow with the load and only then. `flush` gets items in the order of
    submission and returns one result each, an exception as a value for an item that failed by itself. When `flush`
    raises and there was more than one item, each is flushed alone, so one bad item spoils nobody else's; only when
    the database is away or a lock is not to be had does everybody get that answer at once.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        most: int,
    ) -> None:
        self._flush = flush
        self._most = most
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._runner: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Result:
        """Queue `item` and return its result once the batch that held it has been flushed."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
                await self._flush_batch(batch)
        finally:
            self._runner = None

    async def _flush_batch(self, batch: list[tuple[Item, "asyncio.Future[Result]"]]) -> None:
        try:
            results = await self._flush([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 -- handed to every caller of the batch, none is lost
            if len(batch) == 1 or _concerns_all(error):
                for _, future in batch:
                    _settle(future, error)
                return
            for one in batch:
                await self._flush_batch([one])
            return
        for (_, future), result in zip(batch, results, strict=True):
            _settle(future, result)


def _concerns_all(error: Exception) -> bool:
    """Say whether each item alone would meet the same error, and wait for it: one after the other, for seconds."""
    return is_away(error) or isinstance(error, asyncpg.LockNotAvailableError | asyncpg.QueryCanceledError)


def _settle(future: "asyncio.Future[Result]", result: Result | Exception) -> None:
    if future.done():  # its caller was cancelled meanwhile; the write stands
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
