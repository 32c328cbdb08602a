from collections.abc import AsyncIterator

import pytest

from postpost.outgoing import HttpClient
from tests.platforms.journal import Journal
from tests.platforms.scripted import Scripted, scripted


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with scripted() as platform:
        yield platform


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient(timeout_seconds=5)
    yield client
    await client.close()


@pytest.fixture
def journal() -> Journal:
    return Journal()
