"""Use cases of accounts: who calls, keys, operators' changes, usage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

from postpost import errors
from postpost.accounts import keys, limits, store
from postpost.accounts.plans import ActivePlan, Plan, resolve
from postpost.accounts.throttle import Throttle
from postpost.clock import utc_now
from postpost.database.batching import Batcher
from postpost.database.pool import Database, Row
from postpost.errors import ApiError
from postpost.ids import new_id, normal_id
from postpost.values import Json

CALLER_BATCH = 64
TOUCH_AFTER = timedelta(minutes=1)
"""`lastUsedAt` may lag by this much (spec rest-api.md 2.1)."""

MAX_ACTIVE_KEYS = 10
MAX_KEY_CHARACTERS = 200
"""Longer header values are no keys of ours, and are not looked up."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request: the key owner, whoever pays, and the account whose things are touched."""

    key_id: str
    owner_id: str
    billing_id: str
    account_id: str
    plan: ActivePlan


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request brings along to say who it is: the headers of spec rest-api.md 1.6, as they came."""

    api_key: str | None
    user_id: str | None = None
    client: str | None = None


class Accounts:
    """The use cases, bound to one database. Key look-ups of concurrent requests share statements."""

    def __init__(
        self, database: Database, plans: Mapping[str, Plan], default_plan: str | None, throttle: Throttle
    ) -> None:
        self._database = database
        self._throttle = throttle
        self._plans = plans
        self._default_plan = default_plan
        self._callers: Batcher[tuple[str, str | None], Row] = Batcher(self._caller_batch, most=CALLER_BATCH)
        self._touched: dict[str, datetime] = {}

    async def _caller_batch(self, questions: Sequence[tuple[str, str | None]]) -> Sequence[Row]:
        now = utc_now()
        async with self._database.connection() as connection:
            rows = await store.fetch_callers(connection, questions)
            stale = {row["key_id"] for row in rows if self._wants_touch(row, now)}
            if stale:
                await store.touch_keys(connection, sorted(stale), now)
                self._touched = {key: moment for key, moment in self._touched.items() if now - moment < TOUCH_AFTER}
                self._touched.update(dict.fromkeys(stale, now))
        return rows

    def _wants_touch(self, row: Row, now: datetime) -> bool:
        if row["key_id"] is None or row["revoked_at"] is not None:
            return False
        last = max(filter(None, (row["last_used_at"], self._touched.get(row["key_id"]))), default=None)
        return last is None or now - last >= TOUCH_AFTER

    async def authenticate(self, given: Credentials) -> Caller:
        """Say who calls, in one statement shared with other requests of the moment.

        Raises ApiError A1 to A10 and T7 in the order of errors.md section 2, stages 1 to 4.
        """
        raw = (given.api_key or "").strip()
        if not raw:
            raise ApiError(errors.A1)
        prefix = keys.split(raw) if len(raw) <= MAX_KEY_CHARACTERS else None
        if prefix is None or "\0" in prefix:
            raise ApiError(errors.A2)
        target = (given.user_id or "").strip()
        target_id = normal_id(target) if target else None
        row = await self._callers.submit((prefix, target_id))
        if row["key_id"] is None or row["revoked_at"] is not None or not keys.verify(raw, row["digest"]):
            raise ApiError(errors.A2)
        wait = self._throttle.take(row["key_id"], monotonic())
        if wait is not None:
            raise ApiError(errors.T7, headers={"Retry-After": str(wait)})
        plan = self._plan_of(row)
        if (given.client or "").strip().lower() == "mcp" and not plan.entitlements.mcp_access:
            raise ApiError(errors.A7)
        return Caller(
            key_id=row["key_id"],
            owner_id=row["owner_id"],
            billing_id=row["billing_id"],
            account_id=_acting_account(row, target, target_id),
            plan=plan,
        )

    def _plan_of(self, row: Row) -> ActivePlan:
        if row["owner_id"] is None or row["billing_id"] is None:
            raise ApiError(errors.A3)
        if not row["owner_active"] or not row["billing_active"]:
            raise ApiError(errors.A4)
        plan = self.resolve_plan(row)
        if plan is None:
            raise ApiError(errors.A5)
        if not plan.entitlements.api_access:
            raise ApiError(errors.A6)
        return plan

    def resolve_plan(self, row: Row) -> ActivePlan | None:
        """Return what holds for a billing owner's row (`plan_key`, `entitlements`, `seats`)."""
        return resolve(
            row["plan_key"],
            row["entitlements"],
            row["seats"],
            plans=self._plans,
            default_plan=self._default_plan,
        )


def _acting_account(row: Row, target: str, target_id: str | None) -> str:
    owner_id: str = row["owner_id"]
    if not target:
        return owner_id
    if target_id is None:
        raise ApiError(errors.A8)
    if target_id == owner_id:
        return owner_id
    if not (row["workspaces"] or row["is_admin"]):
        raise ApiError(errors.A9)
    if row["target_parent_id"] != owner_id:
        raise ApiError(errors.A10)
    if not row["target_active"]:
        raise ApiError(errors.A4)
    return target_id


class KeyLimitError(Exception):
    """The account has ten active keys already."""


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What an operator says of a new account."""

    email: str
    display_name: str
    plan_key: str | None = None
    entitlements: Mapping[str, Json] | None = None
    seats: int | None = None
    workspaces: bool = False
    is_admin: bool = False
    parent_id: str | None = None


async def create_account(database: Database, new: NewAccount) -> str:
    """Create an account and return its id."""
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
    return account_id


async def create_key(database: Database, account_id: str, name: str) -> str:
    """Make an API key and return it whole: the only time that it can be seen.

    Raises LookupError without such an account, KeyLimitError when it has ten active keys.
    """
    raw, prefix, digest = keys.new_key(int(utc_now().timestamp() * 1000))
    async with database.transaction() as connection:
        if not await store.lock_account(connection, account_id):
            raise LookupError(account_id)
        if len(await store.fetch_active_keys(connection, account_id)) >= MAX_ACTIVE_KEYS:
            raise KeyLimitError
        await store.insert_key(connection, new_id(), account_id, name, prefix, digest)
    return raw


async def create_first_account(database: Database) -> tuple[str, str] | None:
    """Create the owner's account (Premium, admin, workspaces) on an empty database; returns its id and key."""
    async with database.connection() as connection:
        if await store.has_accounts(connection):
            return None
    owner = NewAccount("owner@localhost", "Owner", plan_key="premium", workspaces=True, is_admin=True)
    account_id = await create_account(database, owner)
    return account_id, await create_key(database, account_id, "First key")


@dataclass(frozen=True, slots=True)
class UsageLine:
    """What is counted for one platform id."""

    platform_id: str
    used: int
    pending: int


async def show_usage(database: Database, account: Row) -> tuple[tuple[datetime, datetime], list[UsageLine]]:
    """Return the running period and what the account's billing owner has used in it, by platform id."""
    period = limits.period(utc_now())
    async with database.connection() as connection:
        rows = await store.fetch_usage(connection, account["parent_id"] or account["id"], period[0])
    return period, [UsageLine(row["platform_id"], row["used"], row["pending"]) for row in rows]
