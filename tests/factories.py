"""Everything that tests put into the database, valid by default."""

from datetime import UTC, datetime, timedelta

from postpost.accounts import service as accounts
from postpost.accounts import store as accounts_store
from postpost.connections import service as connections

FOUR = ("twitter-101", "linkedin-Lin1", "bluesky-did:plc:abc", "mastodon-404")
"""Platform ids of the four platforms that connect to the sandbox by default."""


async def make_account(database, *, plan="premium", email="owner@example.org", **more) -> str:
    """Create an account and return its id."""
    return await accounts.create_account(
        database, accounts.NewAccount(email, more.pop("display_name", "Owner"), plan_key=plan, **more)
    )


async def change_account(database, account_id, **changes) -> None:
    async with database.transaction() as connection:
        assert await accounts_store.update_account(connection, account_id, changes)


async def make_key(database, account_id) -> str:
    """Create an API key and return it whole."""
    return await accounts.create_key(database, account_id, "Test")


async def make_connection(services, account_id, platform_id, **more) -> str:
    """Connect a sandbox account, by compound id."""
    platform, _, external_id = platform_id.partition("-")
    new = connections.NewConnection(account_id, platform, sandbox=True, external_id=external_id, **more)
    return await connections.connect(services.database, services.outside, new)


def iso(moment: datetime) -> str:
    """Return a time as the API takes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def in_future(**delta) -> str:
    """Return the time `timedelta(**delta)` from now, one hour without arguments."""
    return iso(datetime.now(UTC) + timedelta(**(delta or {"hours": 1})))


def now() -> str:
    """Return the present, which publishes at once."""
    return iso(datetime.now(UTC))
