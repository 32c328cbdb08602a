import asyncio

import asyncpg
import pytest

from postpost.database.batching import Batcher

pytestmark = pytest.mark.anyio


class Flushes:
    """Flushes that note their batches, and wait as long as the `gate` is closed."""

    def __init__(self):
        self.batches = []
        self.running = 0
        self.most_running = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, items):
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.batches.append(list(items))
        await self.gate.wait()
        self.running -= 1
        return [self.result(item) for item in items]

    @staticmethod
    def result(item):
        return item * 10


class Refusing(Flushes):
    """Raises `error` for every batch that holds an item below zero."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    async def __call__(self, items):
        results = await super().__call__(items)
        if min(items) < 0:
            raise self.error
        return results


async def submit_all(batcher, *items):
    return await asyncio.gather(*(batcher.submit(item) for item in items), return_exceptions=True)


async def while_busy(flushes, batcher, *items):
    """Submit a first item alone, the others while it is flushed, and return the results of the others."""
    flushes.gate.clear()
    first = asyncio.create_task(batcher.submit(0))
    while not flushes.running:
        await asyncio.sleep(0)
    others = [asyncio.create_task(batcher.submit(item)) for item in items]
    await asyncio.sleep(0)
    flushes.gate.set()
    await first
    return await asyncio.gather(*others, return_exceptions=True)


async def test_submit_when_idle_then_flushed_at_once_and_alone():
    flushes = Flushes()
    batcher = Batcher(flushes, most=10)
    assert [await batcher.submit(1), await batcher.submit(2)] == [10, 20]
    assert flushes.batches == [[1], [2]]


async def test_submit_when_busy_then_whatever_gathers_shares_the_next_flush_in_order():
    flushes = Flushes()
    assert await while_busy(flushes, Batcher(flushes, most=10), 1, 2, 3) == [10, 20, 30]
    assert flushes.batches == [[0], [1, 2, 3]]


async def test_submit_when_more_gather_than_fit_then_several_flushes_one_after_the_other():
    flushes = Flushes()
    assert await while_busy(flushes, Batcher(flushes, most=2), 1, 2, 3, 4, 5) == [10, 20, 30, 40, 50]
    assert (flushes.batches, flushes.most_running) == ([[0], [1, 2], [3, 4], [5]], 1)


async def test_submit_when_an_item_fails_by_itself_then_only_its_caller_hears_of_it():
    class OneBad(Flushes):
        @staticmethod
        def result(item):
            return ValueError("bad") if item == 2 else item

    first, second, third = await submit_all(Batcher(OneBad(), most=10), 1, 2, 3)
    assert (first, type(second), third) == (1, ValueError, 3)


async def test_submit_when_a_batch_is_refused_then_each_is_tried_alone_and_only_the_bad_one_fails():
    flushes = Refusing(ValueError("bad batch"))
    first, bad, last = await while_busy(flushes, Batcher(flushes, most=10), 1, -1, 2)
    assert (first, type(bad), last) == (10, ValueError, 20)
    assert flushes.batches == [[0], [1, -1, 2], [1], [-1], [2]]


@pytest.mark.parametrize("error", [OSError("gone"), asyncpg.ConnectionDoesNotExistError("gone"), TimeoutError()])
async def test_submit_when_the_database_is_away_then_all_hear_it_at_once_and_nothing_is_tried_again(error):
    flushes = Refusing(error)
    assert await while_busy(flushes, Batcher(flushes, most=10), 1, -1, 2) == [error] * 3
    assert flushes.batches == [[0], [1, -1, 2]]


async def test_submit_when_a_flush_has_failed_then_the_next_one_is_made():
    batcher = Batcher(Refusing(OSError("gone")), most=10)
    [failed] = await submit_all(batcher, -1)
    assert (type(failed), await batcher.submit(1)) == (OSError, 10)


async def test_submit_when_its_caller_is_cancelled_then_the_others_get_their_results():
    flushes = Flushes()
    batcher = Batcher(flushes, most=10)
    flushes.gate.clear()
    gone, stays = (asyncio.create_task(batcher.submit(item)) for item in (1, 2))
    while not flushes.running:
        await asyncio.sleep(0)
    gone.cancel()
    flushes.gate.set()
    assert await stays == 20
    assert gone.cancelled() or (await asyncio.wait([gone]))
    assert await batcher.submit(3) == 30
