"""House rule 19: what the migrations build, down and up again, and what every table must have."""

import re

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from postpost.database.migrate import head_revision, migrate
from tests.house.source import PACKAGE, none_found, text_of

pytestmark = pytest.mark.anyio

VERSIONS = PACKAGE / "database" / "migrations" / "versions"

NOT_OURS = r"(?:alembic_version|pgqueuer.*)"
"""Tables that are kept by libraries."""

TABLES = f"""
    SELECT c.oid, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind = 'r' AND c.relname !~ '^{NOT_OURS}$'
    ORDER BY c.relname
"""

COLUMNS = f"""
    SELECT table_name, column_name, ordinal_position, data_type, collation_name, is_nullable, column_default,
           is_identity
    FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name !~ '^{NOT_OURS}$'
    ORDER BY table_name, ordinal_position
"""

CONSTRAINTS = f"""
    SELECT c.conrelid::regclass::text AS table_name, c.conname, pg_get_constraintdef(c.oid) AS definition
    FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE n.nspname = 'public' AND t.relname !~ '^{NOT_OURS}$'
    ORDER BY 1, 2
"""

INDEXES = f"""
    SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename !~ '^{NOT_OURS}$' ORDER BY 1
"""

WITHOUT_INDEX = """
    SELECT k.conrelid::regclass || ' (' || pg_get_constraintdef(k.oid) || ')' AS key FROM pg_constraint k
    WHERE k.contype = 'f' AND NOT EXISTS (
        SELECT FROM pg_index i
        WHERE i.indrelid = k.conrelid AND i.indpred IS NULL
          AND (i.indkey::smallint[])[0:cardinality(k.conkey) - 1] = k.conkey
    )
"""
"""Foreign keys without an index that begins with their columns: deleting a parent would read the whole child table."""


async def test_schema_when_migrated_then_every_table_has_a_primary_key(dsn: str) -> None:
    rows = await _fetch(dsn, TABLES)
    keyed = await _fetch(dsn, "SELECT indrelid FROM pg_index WHERE indisprimary")
    assert rows
    none_found({row["name"] for row in rows if row["oid"] not in {key["indrelid"] for key in keyed}})


async def test_schema_when_migrated_then_every_foreign_key_has_an_index(dsn: str) -> None:
    none_found(row["key"] for row in await _fetch(dsn, WITHOUT_INDEX))


async def test_schema_when_migrated_then_times_have_zones_and_ids_compare_as_bytes(dsn: str) -> None:
    rows = await _fetch(dsn, COLUMNS)
    none_found(
        f"{row['table_name']}.{row['column_name']} is {row['data_type']}"
        for row in rows
        if row["data_type"].startswith(("timestamp without", "character", "json")) and row["data_type"] != "jsonb"
    )
    none_found(
        f"{row['table_name']}.{row['column_name']} is compared by the rules of a language"
        for row in rows
        if row["data_type"] == "text"
        and re.fullmatch(r"id|.*_id|platform|status|prefix|lease_id", row["column_name"])
        and row["collation_name"] != "C"
        and row["column_name"] not in TEXTS_OF_PLATFORMS
    )


TEXTS_OF_PLATFORMS = {"posted_id"}
"""Ids that platforms give; shown, never compared."""


async def test_schema_when_taken_down_and_built_again_then_is_the_same(dsn: str) -> None:
    before = await _describe(dsn)
    await _move(dsn, "base")
    assert await _fetch(dsn, TABLES) == []

    await migrate(dsn)

    assert await _describe(dsn) == before


async def test_migrations_when_run_again_then_change_nothing(dsn: str) -> None:
    before = await _describe(dsn)
    await migrate(dsn)
    assert await _describe(dsn) == before


def test_migrations_when_listed_then_form_one_line() -> None:
    script = ScriptDirectory.from_config(_config())
    assert script.get_heads() == [head_revision()]
    assert [one.revision for one in script.walk_revisions()][::-1] == [
        f"{number:04d}" for number in range(1, len(list(VERSIONS.glob("*.py"))) + 1)
    ]


def test_migrations_when_read_then_can_be_undone_and_say_what_they_do() -> None:
    none_found(
        path.name
        for path in VERSIONS.glob("*.py")
        if "def downgrade()" not in text_of(path) or not text_of(path).startswith('"""')
    )


async def _fetch(dsn: str, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(query)
    finally:
        await connection.close()


async def _describe(dsn: str) -> list[list[tuple[object, ...]]]:
    return [[tuple(row.values()) for row in await _fetch(dsn, query)] for query in (COLUMNS, CONSTRAINTS, INDEXES)]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(VERSIONS.parent))
    return config


async def _move(dsn: str, revision: str) -> None:
    def downgrade(connection: Connection) -> None:
        config = _config()
        config.attributes["connection"] = connection
        command.downgrade(config, revision)

    engine = create_async_engine(make_url(dsn).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(downgrade)
            await connection.commit()
    finally:
        await engine.dispose()
