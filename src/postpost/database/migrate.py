"""Brings a database to the schema that this version of the code needs."""

from functools import cache
from importlib.resources import files

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from pgqueuer import Queries
from sqlalchemy import Connection as SqlConnection
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from postpost.database.pool import Connection

MIGRATION_LOCK = 0x706F7374706F7374
"""Advisory lock held while migrating, so that two processes that start at once do not race."""

LOCK_TIMEOUT_MILLISECONDS = 10_000
"""How long one statement of a migration may wait for a table that is in use."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("postpost.database") / "migrations"))
    return config


@cache
def head_revision() -> str:
    """Return the revision that this version of the code needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def _upgrade(connection: SqlConnection) -> None:
    connection.execute(text(f"SET lock_timeout = {LOCK_TIMEOUT_MILLISECONDS}"))
    connection.commit()
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def _upgrade_own_tables(dsn: str) -> None:
    url = make_url(dsn).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_upgrade)
            await connection.commit()
    finally:
        await engine.dispose()


async def migrate(dsn: str) -> None:
    """Apply every missing migration, ours and the queue's. Safe to run from several processes at once."""
    guard = await asyncpg.connect(dsn)
    try:
        await guard.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
        await _upgrade_own_tables(dsn)
        queue = Queries.from_asyncpg_connection(guard)
        if await queue.schema_is_installed():
            await queue.upgrade()
        else:
            await queue.install()
            await queue.optimize_autovacuum()
    finally:
        await guard.close()


async def fetch_revision(connection: Connection) -> str | None:
    """Return the revision the database stands at, None for an empty database."""
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return None
    revision: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    return revision
