import pytest

from tests.e2e.processes import open_outside
from tests.publishing.watching import check_notes, watch


@pytest.fixture
async def outside(dsn):
    """API and sandbox in this process, workers as processes of their own: `await outside.start_worker()`."""
    await watch(dsn)
    async with open_outside(dsn) as outside:
        yield outside
        await check_notes(outside.system.database)
