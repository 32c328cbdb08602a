"""Use cases of connections: add, list, test, remove, and refresh credentials one process at a time."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from postpost import errors
from postpost.clock import utc_now
from postpost.config import Settings
from postpost.connections import store
from postpost.database.pool import Database, Row
from postpost.errors import ApiError
from postpost.ids import new_id
from postpost.platforms import connector as connector_of
from postpost.platforms.base import (
    RAW_MESSAGES,
    Account,
    App,
    Connected,
    Connector,
    ErrorCode,
    Grant,
    Http,
    Identity,
    PlatformError,
    Retry,
)
from postpost.times import format_time, token_expires_in
from postpost.vault import Vault

EXPIRING_SOON = timedelta(days=7)
"""From here on a token counts as `expiring_soon` (spec rest-api.md 5.1)."""

REFRESHED_ELSEWHERE = timedelta(seconds=2)
"""Wait for another process that is just refreshing the same credentials; uses no attempt."""

TEST_TIMEOUT = timedelta(seconds=10)
"""Longest connection test (spec rest-api.md 5.2)."""


TokenStatus = Literal["valid", "expiring_soon", "expired", "unknown"]


class LastError(msgspec.Struct, frozen=True, rename="camel"):
    """The latest failed post of a connection, gone with the next success."""

    message: str
    occurred_at: str


class ConnectionView(msgspec.Struct, frozen=True, rename="camel"):
    """A connection as platform-connections shows it (spec rest-api.md 5.1); every field is always present."""

    platform_id: str
    platform: str
    username: str
    display_name: str | None
    profile_image_url: str | None
    profile_url: str | None
    access_token_expires_at: str | None
    token_status: TokenStatus
    token_expires_in: str | None
    last_successful_post: str | None
    last_error: LastError | None


class ConnectionCheck(msgspec.Struct, frozen=True, rename="camel"):
    """What a connection test found (spec rest-api.md 5.2)."""

    platform: str
    platform_id: str
    username: str
    status: Literal["ok", "error"]
    message: str
    permissions: list[str]
    token_expires_in: str | None
    last_successful_post: str | None
    last_error: LastError | None


@dataclass(frozen=True, slots=True)
class Outside:
    """What is needed to talk to platforms on behalf of connections."""

    settings: Settings
    vault: Vault
    http: Http
    running: set[asyncio.Task[Identity]] = field(default_factory=set, repr=False)
    """Connection tests under way: the event loop itself holds tasks only weakly."""

    def forget(self, task: asyncio.Task[Identity]) -> None:
        """Let a test go that has ended; a failure that came too late for its answer concerns nobody."""
        self.running.discard(task)
        if not task.cancelled():
            task.exception()

    def base_url(self, row: Row) -> str:
        """Return the API address of a connection: the sandbox, its own instance, or the platform's default."""
        if row["sandbox"]:
            return f"{self.settings.sandbox_url.rstrip('/')}/{row['platform']}"
        if row["base_url"]:
            return str(row["base_url"])
        known = connector_of(row["platform"])
        return known.platform.base_url if known is not None else ""

    def account(self, row: Row) -> Account:
        """Return the connector's view of a connection row."""
        return Account(
            id=row["platform_id"].partition("-")[2],
            username=row["username"],
            base_url=self.base_url(row),
            credentials=self.vault.decrypt(row["credentials"]),
            facts=row["facts"],
        )

    def app(self, platform: str) -> App:
        """Return the operator's registration with a platform."""
        return self.settings.app(platform)


def token_status(expires_at: datetime | None, refused_at: datetime | None, now: datetime) -> TokenStatus:
    """Return `valid`, `expiring_soon`, `expired` or `unknown` (spec rest-api.md 5.1)."""
    if refused_at is not None or (expires_at is not None and expires_at <= now):
        return "expired"
    if expires_at is None:
        return "unknown"
    return "expiring_soon" if expires_at - now < EXPIRING_SOON else "valid"


def _last_error(row: Row) -> LastError | None:
    if row["last_error"] is None:
        return None
    return LastError(row["last_error"], format_time(row["last_error_at"]))


def _time(moment: datetime | None) -> str | None:
    return format_time(moment) if moment is not None else None


def view(row: Row, now: datetime) -> ConnectionView:
    """Return a connection as the API shows it."""
    return ConnectionView(
        platform_id=row["platform_id"],
        platform=row["platform"],
        username=row["username"],
        display_name=row["display_name"],
        profile_image_url=row["profile_image_url"],
        profile_url=row["profile_url"],
        access_token_expires_at=_time(row["token_expires_at"]),
        token_status=token_status(row["token_expires_at"], row["refused_at"], now),
        token_expires_in=token_expires_in(row["token_expires_at"], now),
        last_successful_post=_time(row["last_successful_post_at"]),
        last_error=_last_error(row),
    )


async def list_connections(database: Database, account_id: str) -> list[ConnectionView]:
    """Return an account's connections in the order of connecting."""
    async with database.connection() as connection:
        rows = await store.fetch_connections(connection, account_id)
    now = utc_now()
    return [view(row, now) for row in rows]


async def check_connection(database: Database, outside: Outside, account_id: str, platform_id: str) -> ConnectionCheck:
    """Ask the platform who the credentials belong to. Bad news is a result, not an error.

    Raises ApiError X1 (malformed id) and X2 (not connected by this account).
    """
    prefix, dash, rest = platform_id.partition("-")
    if not (prefix and dash and rest):
        raise ApiError(errors.X1)
    if "\0" in platform_id:  # PostgreSQL cannot even be asked for it.
        raise ApiError(errors.X2)
    async with database.connection() as connection:
        row = await store.fetch_connection(connection, account_id, platform_id)
    if row is None:
        raise ApiError(errors.X2)
    connector = connector_of(row["platform"])
    if connector is None:
        return _result(row, None, f"Unknown platform: {row['platform']}")
    try:
        identity = await _identify_in_time(database, outside, row, connector)
    except PlatformError as error:
        return _result(row, None, error.message)
    async with database.connection() as connection:
        await store.store_identity(
            connection, account_id, platform_id, identity.username, identity.display_name, identity.facts
        )
        row = await store.fetch_connection(connection, account_id, platform_id) or row
    return _result(row, identity, f"Connected as {identity.username}")


async def _identify_in_time(database: Database, outside: Outside, row: Row, connector: Connector) -> Identity:
    work = asyncio.create_task(_identify(database, outside, row, connector))
    outside.running.add(work)
    work.add_done_callback(outside.forget)
    done, _ = await asyncio.wait({work}, timeout=TEST_TIMEOUT.total_seconds())
    if not done:
        # Left to itself and not cancelled: it may hold new credentials that are not stored yet.
        raise PlatformError(ErrorCode.TIMEOUT_ERROR, RAW_MESSAGES[ErrorCode.TIMEOUT_ERROR])
    return work.result()


async def _identify(database: Database, outside: Outside, row: Row, connector: Connector) -> Identity:
    account = outside.account(row)
    try:
        return await connector.identify(account, outside.http)
    except PlatformError as error:
        if error.retry is not Retry.REFRESH:
            raise
    grant = await refresh(database, outside, row["id"], account, connector, refused_in_use=True)
    return await connector.identify(replace(account, credentials=grant.credentials), outside.http)


def _result(row: Row, identity: Identity | None, message: str) -> ConnectionCheck:
    return ConnectionCheck(
        platform=row["platform"],
        platform_id=row["platform_id"],
        username=identity.username if identity else row["username"] or "unknown",
        status="ok" if identity else "error",
        message=message,
        permissions=list(identity.permissions) if identity else [],
        token_expires_in=token_expires_in(row["token_expires_at"], utc_now()),
        last_successful_post=_time(row["last_successful_post_at"]),
        last_error=_last_error(row),
    )


async def refresh(
    database: Database,
    outside: Outside,
    connection_id: str,
    account: Account,
    connector: Connector,
    *,
    refused_in_use: bool = False,
) -> Grant:
    """Get new credentials, at most one process at a time, committed before anybody uses them.

    Raises the connector's PlatformError. Only the platform's own refusal marks the connection as expired: of the
    refresh, or with `refused_in_use` of the present credentials where there is nothing to refresh them with. A network
    fault never does.
    """
    now = utc_now()
    until = now + timedelta(seconds=outside.settings.platform_timeout_seconds * 2)
    async with database.connection() as connection:
        row = await store.claim_refresh(connection, connection_id, until, now)
    if row is None:
        raise PlatformError(
            ErrorCode.NETWORK_ERROR,
            "The credentials are being refreshed by another process",
            retry=Retry.WAIT,
            wait=REFRESHED_ELSEWHERE,
        )
    current = outside.vault.decrypt(row["credentials"])
    if current != account.credentials:  # somebody else has refreshed since we read them
        async with database.connection() as connection:
            await store.release_refresh(connection, connection_id, row["connected_at"], refused=False)
        return Grant(current, row["token_expires_at"])
    try:
        grant = await connector.refresh(account, outside.app(connector.platform.key), outside.http)
    except PlatformError as error:
        asked = error.status is not None or refused_in_use
        refused = asked and error.code is ErrorCode.PLATFORM_AUTH_EXPIRED
        async with database.connection() as connection:
            await store.release_refresh(connection, connection_id, row["connected_at"], refused=refused)
        raise
    async with database.connection() as connection:
        encrypted = outside.vault.encrypt(grant.credentials)
        await store.store_credentials(connection, connection_id, row["connected_at"], encrypted, grant.expires_at)
    return grant


@dataclass(frozen=True, slots=True)
class NewConnection:
    """What an operator gives to connect an account; None as credentials: those of the sandbox."""

    account_id: str
    platform: str
    sandbox: bool
    credentials: Mapping[str, str] | None = None
    external_id: str | None = None
    username: str | None = None
    base_url: str | None = None
    token_expires_at: datetime | None = None


async def connect(database: Database, outside: Outside, new: NewConnection) -> str:
    """Connect an account with credentials in hand and return its platform id.

    With credentials the platform is asked who they belong to. In the sandbox nothing is asked: any account exists
    there. Raises PlatformError when the platform refuses, ValueError for an unknown platform or a missing id.
    """
    connector = connector_of(new.platform)
    if connector is None:
        raise ValueError(f"There is no connector for {new.platform!r}")
    if new.sandbox:
        if not new.external_id:
            raise ValueError("A sandbox connection needs an account id")
        identity = Identity(new.external_id, new.username or new.external_id)
        connected = Connected(identity, Grant(connector.sandbox_credentials(new.external_id)))
    else:
        base_url = new.base_url or connector.platform.base_url
        connected = await connector.connect(base_url, new.credentials or {}, outside.app(new.platform), outside.http)
    identity = connected.identity
    platform_id = f"{new.platform}-{new.external_id or identity.id}"
    row = store.NewConnection(
        id=new_id(),
        account_id=new.account_id,
        platform=new.platform,
        platform_id=platform_id,
        username=new.username or identity.username,
        display_name=identity.display_name,
        profile_image_url=identity.profile_image_url,
        profile_url=identity.profile_url,
        base_url=new.base_url,
        sandbox=new.sandbox,
        credentials=outside.vault.encrypt(connected.grant.credentials),
        facts=identity.facts,
        token_expires_at=new.token_expires_at or connected.grant.expires_at,
    )
    async with database.transaction() as connection:
        await store.upsert_connection(connection, row)
    return platform_id


async def disconnect(database: Database, account_id: str, platform_id: str) -> bool:
    """Remove a connection; posts still waiting for it fail with F14. Returns whether there was one."""
    async with database.transaction() as connection:
        return await store.delete_connection(connection, account_id, platform_id)
