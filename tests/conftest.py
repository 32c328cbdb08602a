"""A real PostgreSQL for every test: one server a run, one migrated template, one copy of it a test."""

import asyncio
import itertools
import shutil
import tempfile
from pathlib import Path

import asyncpg
import pytest
import structlog

from postpost.database.embedded import EmbeddedPostgres
from postpost.database.migrate import migrate
from postpost.database.pool import Database
from tests.system import System, open_system

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "300"}
"""Safe only because the data are thrown away."""

MEMORY = Path("/dev/shm")
"""Where there is memory to spare, a copy of the template takes 15 ms there and 400 ms on a disk."""

_numbers = itertools.count()


def _fast_folder() -> Path | None:
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2**30 else None


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    """Log tracebacks as they are: rendering every local variable takes a second for each 500 that a test provokes."""
    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, renderer]
    )


@pytest.fixture(scope="session")
def postgres():
    """The DSN of a running server's `postpost` database, which becomes the template of all others."""
    home = Path(tempfile.mkdtemp(prefix="postpost-tests-", dir=_fast_folder()))
    home.chmod(0o755)
    server = EmbeddedPostgres(home, options=FAST)
    dsn = server.start()
    try:
        asyncio.run(migrate(dsn))
        yield dsn
    finally:
        server.close()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
async def dsn(postgres, anyio_backend):
    """The DSN of a database of the test's own, with the newest schema."""
    name = f"test_{next(_numbers)}"
    admin_dsn = postgres.replace("/postpost?", "/postgres?", 1)
    admin = await asyncpg.connect(admin_dsn)
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE postpost STRATEGY FILE_COPY")
        yield postgres.replace("/postpost?", f"/{name}?", 1)
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


@pytest.fixture
async def database(dsn):
    database = await Database.open(dsn, size=8)
    yield database
    await database.close()


@pytest.fixture
async def api(dsn) -> System:
    """The API with one Premium account, without a worker: what is scheduled stays scheduled."""
    async with open_system(dsn) as system:
        yield system


@pytest.fixture
async def system(dsn) -> System:
    """API, worker and sandbox in this process, with one Premium account."""
    async with open_system(dsn, worker=True, sandbox=True) as system:
        yield system
