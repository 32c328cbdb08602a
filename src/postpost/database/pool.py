"""The connection pool: typed JSON, bounded waits, one place where connections are made."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeAlias

import asyncpg
import msgspec

from postpost.values import Json

Connection: TypeAlias = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
"""What a store function takes first: a connection with or without an open transaction, never the pool."""

STATEMENT_TIMEOUT = timedelta(seconds=15)
"""Longest that one statement may run; nothing on a request's or a worker's path comes near it."""

LOCK_TIMEOUT = timedelta(seconds=5)
"""Longest wait for a row that another transaction holds; transactions here last milliseconds."""

IDLE_TRANSACTION_TIMEOUT = timedelta(seconds=30)
"""After this the server ends a transaction whose process hangs, so that it holds no locks for ever."""

ACQUIRE_TIMEOUT_SECONDS = 5.0
"""Longest wait for a free connection before the request is shed with 503."""

DATABASE_AWAY: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    # What a statement meets that is begun just as the server ends the connection: asyncpg loses its place.
    asyncpg.InternalClientError,
)
"""What asyncpg raises when the database cannot be reached or is going down: passing trouble, never a wrong request."""


def is_away(error: BaseException) -> bool:
    """Say whether the database could not be reached. A value that cannot be encoded is no such thing."""
    return isinstance(error, DATABASE_AWAY) and not isinstance(error, ValueError)


def may_pass(error: BaseException) -> bool:
    """Say whether the same statement may well succeed in a moment: away, a lock time-out, a deadlock, cancelled."""
    passing = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, asyncpg.QueryCanceledError)
    return is_away(error) or isinstance(error, passing)


def is_faulty_value(error: BaseException) -> bool:
    """Say whether PostgreSQL cannot store a value as it is: U+0000 in a text, half a surrogate pair."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith("22")
    return isinstance(error, ValueError)


_encoder = msgspec.json.Encoder(decimal_format="number")


def encode_json(value: Json) -> str:
    """Return compact JSON text. A str is taken for JSON text already: the queue library writes its own.

    Characters that jsonb refuses (U+0000) never get this far: request bodies with them are turned away, and what
    platforms answer is cleaned when it is decoded.
    """
    if isinstance(value, str):
        return value
    return _encoder.encode(value).decode()


class PooledConnection(asyncpg.Connection):
    """A pool's connection. Nobody here leaves session state behind, so giving it back needs no round trip to reset."""

    def get_reset_query(self) -> str:
        """Return no query."""
        return ""


async def _prepare(connection: asyncpg.Connection) -> None:
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(kind, schema="pg_catalog", encoder=encode_json, decoder=msgspec.json.decode)


class Database:
    """A pool of connections. `transaction` and `connection` are the only ways to one."""

    def __init__(self, pool: asyncpg.Pool, dsn: str) -> None:
        self.pool = pool
        self.dsn = dsn

    @classmethod
    async def open(cls, dsn: str, *, size: int) -> "Database":
        """Connect with up to `size` connections; they are made as they are needed."""
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            init=_prepare,
            connection_class=PooledConnection,
            command_timeout=STATEMENT_TIMEOUT.total_seconds() + 5,
            timeout=ACQUIRE_TIMEOUT_SECONDS,
            server_settings={
                "application_name": "postpost",
                "timezone": "UTC",
                "statement_timeout": _milliseconds(STATEMENT_TIMEOUT),
                "lock_timeout": _milliseconds(LOCK_TIMEOUT),
                "idle_in_transaction_session_timeout": _milliseconds(IDLE_TRANSACTION_TIMEOUT),
            },
        )
        return cls(pool, dsn)

    async def close(self) -> None:
        """Close every connection, waiting for those in use."""
        await self.pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection without a transaction: each statement commits by itself."""
        connection = await self._acquire()
        try:
            yield connection
        finally:
            await self.pool.release(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection inside one READ COMMITTED transaction; an exception rolls it back."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def _acquire(self) -> Connection:
        try:
            return await self.pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS)
        except asyncpg.PostgresError as error:
            # The server is there and lets nobody in: the database is taken out of service, restored or renamed. Those
            # errors look like wrong statements by their SQLSTATE; only here it is known that none was sent.
            raise asyncpg.CannotConnectNowError(str(error)) from error


def _milliseconds(duration: timedelta) -> str:
    return str(int(duration / timedelta(milliseconds=1)))


def affected(status: str) -> int:
    """Return the row count in a command tag such as `UPDATE 3`."""
    return int(status.rsplit(" ", 1)[-1])


Row = Any
"""A row as asyncpg returns it: values by column name."""
