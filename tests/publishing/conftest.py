"""Systems whose every commit is watched: a test fails when a state was ever reached or seen that must not be."""

from contextlib import asynccontextmanager

import pytest

from tests.publishing.watching import check_notes, watch
from tests.system import open_system


@pytest.fixture
def open_watched(dsn):
    """Open systems on the test's database, `open_watched(worker=True, ...)`; the first one begins the watch."""
    opened = False

    @asynccontextmanager
    async def opener(**options):
        nonlocal opened
        if not opened:
            await watch(dsn)
            opened = True
        async with open_system(dsn, **options) as system:
            yield system
            await check_notes(system.database)

    return opener


@pytest.fixture
async def system(open_watched):
    """API, worker and sandbox in this process, with one Premium account, two attempts and short waits."""
    async with open_watched(worker=True, sandbox=True, publish_attempts=2) as system:
        yield system


@pytest.fixture
async def idle(open_watched):
    """API and sandbox without a worker: the test does the engine's work by hand."""
    async with open_watched(sandbox=True) as system:
        yield system
