"""SQL of accounts, API keys and usage. Every function takes the connection first."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from postpost.database.pool import Connection, Row, affected
from postpost.values import Json

# No lock. Indexes: api_keys_prefix_key, accounts_pkey (three times). One row per question, in order.
_FETCH_CALLERS = """
    SELECT k.id AS key_id, k.digest, k.revoked_at, k.last_used_at,
           o.id AS owner_id, o.active AS owner_active, o.workspaces, o.is_admin,
           b.id AS billing_id, b.active AS billing_active, b.plan_key, b.entitlements, b.seats,
           t.parent_id AS target_parent_id, t.active AS target_active
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS q (prefix, target_id, n)
    LEFT JOIN api_keys k ON k.prefix = q.prefix
    LEFT JOIN accounts o ON o.id = k.account_id
    LEFT JOIN accounts b ON b.id = coalesce(o.parent_id, o.id)
    LEFT JOIN accounts t ON t.id = q.target_id
    ORDER BY q.n
"""


async def fetch_callers(connection: Connection, questions: Sequence[tuple[str, str | None]]) -> list[Row]:
    """Answer for each (key prefix, id of the acting account or None) who that is; absent things are NULL."""
    return list(
        await connection.fetch(_FETCH_CALLERS, [prefix for prefix, _ in questions], [target for _, target in questions])
    )


# Locks the key rows for the moment of the UPDATE. Index: api_keys_pkey.
_TOUCH_KEYS = "UPDATE api_keys SET last_used_at = $2 WHERE id = ANY($1::text[])"


async def touch_keys(connection: Connection, key_ids: Sequence[str], now: datetime) -> None:
    """Note that these keys were used."""
    await connection.execute(_TOUCH_KEYS, list(key_ids), now)


# Inserts only.
_INSERT_ACCOUNT = """
    INSERT INTO accounts (id, email, display_name, plan_key, entitlements, seats, workspaces, is_admin, parent_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""


async def insert_account(
    connection: Connection,
    account_id: str,
    email: str,
    display_name: str,
    *,
    plan_key: str | None = None,
    entitlements: Mapping[str, Json] | None = None,
    seats: int | None = None,
    workspaces: bool = False,
    is_admin: bool = False,
    parent_id: str | None = None,
) -> None:
    """Write a new account."""
    await connection.execute(
        _INSERT_ACCOUNT,
        account_id,
        email,
        display_name,
        plan_key,
        dict(entitlements or {}),
        seats,
        workspaces,
        is_admin,
        parent_id,
    )


SETTABLE = (
    "email",
    "display_name",
    "plan_key",
    "entitlements",
    "seats",
    "workspaces",
    "is_admin",
    "active",
    "on_hold",
    "hold_reason",
    "hold_until",
    "parent_id",
)
"""Columns of an account that an operator may change."""


async def update_account(connection: Connection, account_id: str, changes: Mapping[str, object]) -> bool:
    """Change the given columns of an account (names from SETTABLE); returns whether it exists.

    Locks the row for the moment of the UPDATE. Index: accounts_pkey.
    """
    names = [name for name in SETTABLE if name in changes]
    assert len(names) == len(changes), f"not settable: {set(changes) - set(SETTABLE)}"
    sets = "".join(f"{name} = ${place}, " for place, name in enumerate(names, start=2))
    query = f"UPDATE accounts SET {sets}updated_at = now() WHERE id = $1"
    return affected(await connection.execute(query, account_id, *[changes[name] for name in names])) == 1


# Locks the groups it deletes and their posts. Indexes: post_groups_by_created, post_logs_group.
_DELETE_GROUPS_OF_ACCOUNT = """
    WITH gone AS (DELETE FROM post_groups WHERE account_id = $1 RETURNING id)
    DELETE FROM post_logs USING gone WHERE post_logs.group_id = gone.id
"""

# Locks the account and, through the cascades, everything that is its own. Index: accounts_pkey.
_DELETE_ACCOUNT = "DELETE FROM accounts WHERE id = $1"


async def delete_account(connection: Connection, account_id: str) -> bool:
    """Delete an account with its posts and connections; its keys stay, to be answered with A3."""
    await connection.execute(_DELETE_GROUPS_OF_ACCOUNT, account_id)
    return affected(await connection.execute(_DELETE_ACCOUNT, account_id)) == 1


_ACCOUNT_COLUMNS = """
    a.id, a.email, a.display_name, a.plan_key, a.entitlements, a.seats, a.workspaces, a.is_admin, a.active, a.on_hold,
    a.hold_reason, a.hold_until, a.parent_id, a.created_at
"""

# No lock. Index: accounts_pkey; the list reads the whole table, an operator's command and no request's.
_FETCH_ACCOUNT = f"SELECT {_ACCOUNT_COLUMNS} FROM accounts a WHERE a.id = $1"
_FETCH_ACCOUNTS = f"SELECT {_ACCOUNT_COLUMNS} FROM accounts a ORDER BY a.created_at, a.id LIMIT $1"
_FETCH_ACCOUNTS_BY_EMAIL = f"SELECT {_ACCOUNT_COLUMNS} FROM accounts a WHERE lower(a.email) = lower($1) ORDER BY a.id"


async def fetch_account(connection: Connection, account_id: str) -> Row | None:
    """Return one account."""
    return await connection.fetchrow(_FETCH_ACCOUNT, account_id)


async def fetch_accounts(connection: Connection, most: int) -> list[Row]:
    """Return the oldest accounts."""
    return list(await connection.fetch(_FETCH_ACCOUNTS, most))


async def fetch_accounts_by_email(connection: Connection, email: str) -> list[Row]:
    """Return the accounts with this address, upper and lower case alike."""
    return list(await connection.fetch(_FETCH_ACCOUNTS_BY_EMAIL, email))


# No lock. Reads at most one row.
_HAS_ACCOUNTS = "SELECT EXISTS (SELECT FROM accounts)"


async def has_accounts(connection: Connection) -> bool:
    """Return whether anybody is there yet."""
    there: bool = await connection.fetchval(_HAS_ACCOUNTS)
    return there


# Locks the account: at most ten keys holds when two are made at once. Index: accounts_pkey.
_LOCK_ACCOUNT = "SELECT id FROM accounts WHERE id = $1 FOR NO KEY UPDATE"


async def lock_account(connection: Connection, account_id: str) -> bool:
    """Hold an account until the transaction ends; returns whether it exists."""
    return await connection.fetchval(_LOCK_ACCOUNT, account_id) is not None


# No lock. Index: api_keys_account.
_FETCH_KEYS = """
    SELECT id, name, prefix, created_at, last_used_at FROM api_keys
    WHERE account_id = $1 AND revoked_at IS NULL ORDER BY created_at DESC, id DESC
"""


async def fetch_active_keys(connection: Connection, account_id: str) -> list[Row]:
    """Return an account's active keys, newest first."""
    return list(await connection.fetch(_FETCH_KEYS, account_id))


# Inserts only.
_INSERT_KEY = "INSERT INTO api_keys (id, account_id, name, prefix, digest) VALUES ($1, $2, $3, $4, $5)"


async def insert_key(
    connection: Connection, key_id: str, account_id: str, name: str, prefix: str, digest: bytes
) -> None:
    """Write a key; only the digest of its secret is stored."""
    await connection.execute(_INSERT_KEY, key_id, account_id, name, prefix, digest)


# Locks the key row for the moment of the UPDATE. Index: api_keys_account.
_REVOKE_KEY = """
    UPDATE api_keys SET revoked_at = now()
    WHERE account_id = $1 AND (id = $2 OR prefix = $2) AND revoked_at IS NULL
"""


async def revoke_key(connection: Connection, account_id: str, key: str) -> bool:
    """Revoke an account's active key, named by id or prefix; returns whether there was one."""
    return affected(await connection.execute(_REVOKE_KEY, account_id, key)) == 1


# No lock. Indexes: usage_counters_pkey, accounts_parent, platform_posts_open.
_FETCH_USAGE = """
    SELECT platform_id, coalesce(sum(used), 0) AS used, coalesce(sum(pending), 0) AS pending FROM (
        SELECT u.platform_id, u.used, 0 AS pending FROM usage_counters u
        WHERE u.billing_account_id = $1 AND u.period_start = $2
        UNION ALL
        SELECT p.platform_id, 0, 1 FROM platform_posts p
        WHERE p.status IN ('scheduled', 'pending', 'processing')
          AND p.account_id IN (SELECT $1 UNION ALL SELECT id FROM accounts WHERE parent_id = $1)
    ) AS counted
    GROUP BY platform_id ORDER BY platform_id
"""


async def fetch_usage(connection: Connection, billing_id: str, period_start: datetime) -> list[Row]:
    """Return charged and pending platform posts of a billing owner, by platform id."""
    return list(await connection.fetch(_FETCH_USAGE, billing_id, period_start))


# Locks the counter row. Index: usage_counters_pkey.
_SET_USAGE = """
    INSERT INTO usage_counters (billing_account_id, period_start, platform_id, used) VALUES ($1, $2, $3, $4)
    ON CONFLICT (billing_account_id, period_start, platform_id) DO UPDATE SET used = excluded.used
"""


async def set_usage(
    connection: Connection, billing_id: str, period_start: datetime, platform_id: str, used: int
) -> None:
    """Set what is counted for one platform id in one period."""
    await connection.execute(_SET_USAGE, billing_id, period_start, platform_id, used)
