"""SQL of connections. Every function takes the connection to the database first."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from postpost.database.pool import Connection, Row, affected
from postpost.values import Json

_COLUMNS = """
    id, account_id, platform, platform_id, username, display_name, profile_image_url, profile_url, base_url, sandbox,
    credentials, facts, token_expires_at, refused_at, last_successful_post_at, last_error, last_error_at, created_at
"""

# No lock. Index: connections (account_id, platform_id).
_FETCH_CONNECTIONS = f"SELECT {_COLUMNS} FROM connections WHERE account_id = $1 ORDER BY created_at, id"


async def fetch_connections(connection: Connection, account_id: str) -> list[Row]:
    """Return an account's connections in the order of connecting."""
    return list(await connection.fetch(_FETCH_CONNECTIONS, account_id))


# No lock. Index: connections (account_id, platform_id).
_FETCH_CONNECTION = f"SELECT {_COLUMNS} FROM connections WHERE account_id = $1 AND platform_id = $2"


async def fetch_connection(connection: Connection, account_id: str, platform_id: str) -> Row | None:
    """Return one connection of this account."""
    return await connection.fetchrow(_FETCH_CONNECTION, account_id, platform_id)


@dataclass(frozen=True, slots=True)
class NewConnection:
    """A connection to be written; `credentials` are encrypted already."""

    id: str
    account_id: str
    platform: str
    platform_id: str
    username: str
    display_name: str | None
    profile_image_url: str | None
    profile_url: str | None
    base_url: str | None
    sandbox: bool
    credentials: bytes
    facts: Mapping[str, Json]
    token_expires_at: datetime | None


# Locks the connection when it exists: reconnecting keeps its id and its history. Index: connections (account_id,
# platform_id).
_UPSERT_CONNECTION = """
    INSERT INTO connections (id, account_id, platform, platform_id, username, display_name, profile_image_url,
        profile_url, base_url, sandbox, credentials, facts, token_expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
    ON CONFLICT (account_id, platform_id) DO UPDATE SET
        username = excluded.username, display_name = excluded.display_name,
        profile_image_url = excluded.profile_image_url, profile_url = excluded.profile_url,
        base_url = excluded.base_url, sandbox = excluded.sandbox, credentials = excluded.credentials,
        facts = excluded.facts, token_expires_at = excluded.token_expires_at, refused_at = NULL, held_until = NULL,
        refresh_lease_until = NULL, connected_at = clock_timestamp(), updated_at = now()
    RETURNING id
"""


async def upsert_connection(connection: Connection, new: NewConnection) -> str:
    """Write a connection, over the old one of the same account and platform id; returns its id."""
    kept: str = await connection.fetchval(
        _UPSERT_CONNECTION,
        new.id,
        new.account_id,
        new.platform,
        new.platform_id,
        new.username,
        new.display_name,
        new.profile_image_url,
        new.profile_url,
        new.base_url,
        new.sandbox,
        new.credentials,
        dict(new.facts),
        new.token_expires_at,
    )
    return kept


# Locks the row it deletes. Index: connections (account_id, platform_id).
_DELETE_CONNECTION = "DELETE FROM connections WHERE account_id = $1 AND platform_id = $2"


async def delete_connection(connection: Connection, account_id: str, platform_id: str) -> bool:
    """Disconnect; the posts that still wait for it fail with F14. Returns whether there was such a connection."""
    return affected(await connection.execute(_DELETE_CONNECTION, account_id, platform_id)) == 1


# Locks the row for the moment of the UPDATE. Index: connections_pkey.
_CLAIM_REFRESH = """
    UPDATE connections SET refresh_lease_until = $2
    WHERE id = $1 AND (refresh_lease_until IS NULL OR refresh_lease_until < $3)
    RETURNING credentials, token_expires_at, connected_at
"""


async def claim_refresh(connection: Connection, connection_id: str, until: datetime, now: datetime) -> Row | None:
    """Take the right to refresh a connection's credentials until `until`; None while another process has it."""
    return await connection.fetchrow(_CLAIM_REFRESH, connection_id, until, now)


# Locks the row for the moment of the UPDATE. Index: connections_pkey.
_STORE_CREDENTIALS = """
    UPDATE connections SET credentials = $2, token_expires_at = $3, refresh_lease_until = NULL, refused_at = NULL,
        updated_at = now()
    WHERE id = $1 AND connected_at = $4
"""


async def store_credentials(
    connection: Connection, connection_id: str, connected_at: datetime, credentials: bytes, expires_at: datetime | None
) -> None:
    """Store refreshed credentials and give the right to refresh back, unless the account was reconnected meanwhile."""
    await connection.execute(_STORE_CREDENTIALS, connection_id, credentials, expires_at, connected_at)


# Locks the row for the moment of the UPDATE. Index: connections_pkey.
_RELEASE_REFRESH = """
    UPDATE connections SET refresh_lease_until = NULL,
        refused_at = CASE WHEN $2 THEN coalesce(refused_at, now()) ELSE refused_at END
    WHERE id = $1 AND connected_at = $3
"""


async def release_refresh(connection: Connection, connection_id: str, connected_at: datetime, *, refused: bool) -> None:
    """Give the right to refresh back; `refused` marks credentials that the platform has explicitly rejected.

    Touches nothing when the account was reconnected meanwhile.
    """
    await connection.execute(_RELEASE_REFRESH, connection_id, refused, connected_at)


# Locks the row for the moment of the UPDATE. Index: connections (account_id, platform_id).
_STORE_IDENTITY = """
    UPDATE connections SET username = $3, display_name = coalesce($4, display_name), facts = $5, refused_at = NULL,
        updated_at = now()
    WHERE account_id = $1 AND platform_id = $2
"""


async def store_identity(
    connection: Connection,
    account_id: str,
    platform_id: str,
    username: str,
    display_name: str | None,
    facts: Mapping[str, Json],
) -> None:
    """Store what a successful test found out; the credentials work, so the connection counts as alive."""
    await connection.execute(_STORE_IDENTITY, account_id, platform_id, username, display_name, dict(facts))


# No lock. Reads the whole table in the order of its key, an operator's command and no request's.
_FETCH_STORED_CREDENTIALS = "SELECT credentials FROM connections ORDER BY id LIMIT $1"


async def fetch_stored_credentials(connection: Connection, most: int) -> list[bytes]:
    """Return encrypted credentials of whatever accounts, for `postpost doctor` to see whether the key opens them."""
    return [row["credentials"] for row in await connection.fetch(_FETCH_STORED_CREDENTIALS, most)]


# No lock. Reads the whole table up to the first one, for an operator's command.
_HAS_SANDBOX_CONNECTIONS = "SELECT EXISTS (SELECT FROM connections WHERE sandbox)"


async def has_sandbox_connections(connection: Connection) -> bool:
    """Return whether any account has a connection to the sandbox, for `postpost doctor`."""
    there: bool = await connection.fetchval(_HAS_SANDBOX_CONNECTIONS)
    return there
