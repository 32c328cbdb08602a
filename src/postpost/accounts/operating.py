"""Use cases of the operator: find, make and change accounts, their keys and what is counted for them.

An operator's commands read and change any account; nothing here is reachable over HTTP.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

import msgspec

from postpost.accounts import limits, store
from postpost.accounts.plans import ActivePlan
from postpost.accounts.service import Accounts, NewAccount
from postpost.clock import utc_now
from postpost.database.pool import Connection, Database, Row
from postpost.errors import Period
from postpost.ids import new_id, normal_id
from postpost.times import format_time
from postpost.values import Json


class HoldView(msgspec.Struct, frozen=True, rename="camel"):
    """Why and until when an account is on hold; null is no end."""

    reason: str | None
    until: str | None


class AccountView(msgspec.Struct, frozen=True, rename="camel"):
    """An account as the command line shows it.

    `plan` is its own, null for the operator's default. A hold that is over counts as none (spec errors.md S3).
    """

    account_id: str
    email: str
    display_name: str
    plan: str | None
    entitlements: dict[str, Json]
    seats: int | None
    workspaces: bool
    admin: bool
    active: bool
    hold: HoldView | None
    parent_id: str | None
    created_at: str

    @property
    def billing_id(self) -> str:
        """The account that pays: the parent of a managed user, else the account itself."""
        return self.parent_id or self.account_id


class KeyView(msgspec.Struct, frozen=True, rename="camel"):
    """An active API key, without its secret."""

    key_id: str
    name: str
    key_prefix: str
    created_at: str
    last_used_at: str | None


def _account_view(row: Row) -> AccountView:
    held = row["on_hold"] and (row["hold_until"] is None or row["hold_until"] > utc_now())
    return AccountView(
        account_id=row["id"],
        email=row["email"],
        display_name=row["display_name"],
        plan=row["plan_key"],
        entitlements=row["entitlements"],
        seats=row["seats"],
        workspaces=row["workspaces"],
        admin=row["is_admin"],
        active=row["active"],
        hold=HoldView(row["hold_reason"], _time(row["hold_until"])) if held else None,
        parent_id=row["parent_id"],
        created_at=format_time(row["created_at"]),
    )


def _time(moment: datetime | None) -> str | None:
    return format_time(moment) if moment is not None else None


async def list_accounts(database: Database, most: int) -> list[AccountView]:
    """Return the oldest accounts, at most `most`."""
    async with database.connection() as connection:
        return [_account_view(row) for row in await store.fetch_accounts(connection, most)]


async def find_accounts(database: Database, text: str | None) -> list[AccountView]:
    """Return the accounts with this id or e-mail address; without a text the two oldest: one is the only one."""
    if text is None:
        return await list_accounts(database, 2)
    async with database.connection() as connection:
        account_id = normal_id(text.strip())
        if account_id is None:
            rows = await store.fetch_accounts_by_email(connection, text.strip())
        else:
            row = await store.fetch_account(connection, account_id)
            rows = [] if row is None else [row]
    return [_account_view(row) for row in rows]


async def active_plan(database: Database, accounts: Accounts, account: AccountView) -> ActivePlan | None:
    """Return what holds for an account: the plan of whoever pays for it; None when there is none (A3, A5)."""
    async with database.connection() as connection:
        row = await store.fetch_account(connection, account.billing_id)
    return accounts.resolve_plan(row) if row is not None else None


async def create_account(database: Database, new: NewAccount, changes: Mapping[str, object]) -> AccountView:
    """Create an account, with `changes` (columns of store.SETTABLE) applied in the same transaction."""
    account_id = new_id()
    async with database.transaction() as connection:
        await store.insert_account(
            connection,
            account_id,
            new.email,
            new.display_name,
            plan_key=new.plan_key,
            entitlements=new.entitlements,
            seats=new.seats,
            workspaces=new.workspaces,
            is_admin=new.is_admin,
            parent_id=new.parent_id,
        )
        await store.update_account(connection, account_id, changes)
        return await _fetch(connection, account_id)


async def change_account(
    database: Database,
    account_id: str,
    changes: Mapping[str, object],
    *,
    granted: Mapping[str, Json],
    withdrawn: Collection[str],
) -> AccountView:
    """Change an account: columns of store.SETTABLE, and single entitlements set or taken away.

    Raises LookupError when there is no such account.
    """
    async with database.transaction() as connection:
        if not await store.lock_account(connection, account_id):
            raise LookupError(account_id)
        before = await _fetch(connection, account_id)
        kept = {key: value for key, value in before.entitlements.items() if key not in withdrawn}
        await store.update_account(connection, account_id, {**changes, "entitlements": {**kept, **granted}})
        return await _fetch(connection, account_id)


async def _fetch(connection: Connection, account_id: str) -> AccountView:
    row = await store.fetch_account(connection, account_id)
    if row is None:
        raise LookupError(account_id)
    return _account_view(row)


async def delete_account(database: Database, account_id: str) -> bool:
    """Delete an account with its posts and connections; its keys answer A3 from then on."""
    async with database.transaction() as connection:
        return await store.delete_account(connection, account_id)


async def list_keys(database: Database, account_id: str) -> list[KeyView]:
    """Return an account's active keys, newest first."""
    async with database.connection() as connection:
        rows = await store.fetch_active_keys(connection, account_id)
    return [
        KeyView(row["id"], row["name"], row["prefix"], format_time(row["created_at"]), _time(row["last_used_at"]))
        for row in rows
    ]


async def revoke_key(database: Database, account_id: str, key: str) -> bool:
    """Revoke an active key, named by its id or prefix, for every process at once; returns whether there was one."""
    async with database.transaction() as connection:
        return await store.revoke_key(connection, account_id, key)


async def set_usage(database: Database, account: AccountView, platform_id: str, used: int) -> Period:
    """Set what is counted for a platform id in the running period, on whoever pays; returns the period."""
    period = limits.period(utc_now())
    async with database.transaction() as connection:
        await store.set_usage(connection, account.billing_id, period[0], platform_id, used)
    return period
