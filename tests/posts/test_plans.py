"""What requests cost: how many statements each sends, and which indexes the hot ones use on large tables."""

import asyncio
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from postpost.accounts import limits
from postpost.accounts import store as accounts_store
from postpost.connections import store as connections_store
from postpost.database.pool import Database
from postpost.posts import store, store_intake
from postpost.posts.store import ListFilter
from postpost.posts.store_intake import IntakeQuestion
from postpost.publishing import store_dispatch
from tests.factories import in_future
from tests.web.support import run_sql

pytestmark = pytest.mark.anyio


# How many statements


class WatchedPool:
    """The pool itself; it only takes down what is sent over the connections that it lends."""

    def __init__(self, pool):
        self.pool = pool
        self.sent = []

    async def acquire(self, **options):
        connection = await self.pool.acquire(**options)
        connection.add_query_logger(self.sent.append)
        return connection

    async def release(self, connection):
        connection.remove_query_logger(self.sent.append)
        await self.pool.release(connection)


@contextmanager
def statements(database):
    """Collect every statement that is sent meanwhile, over all connections of the pool."""
    watched = WatchedPool(database.pool)
    database.pool = watched
    try:
        yield watched.sent
    finally:
        database.pool = watched.pool


async def cost(system, method, path, **options):
    """Return how many statements a request sends, the one that finds the caller included."""
    await system.call("GET", "/platform-connections")  # The key's last use is noted; that costs one once a minute.
    with statements(system.database) as seen:
        answer = await system.call(method, path, **options)
    assert answer.status == 200, answer
    return len(seen)


async def grow(system, groups):
    """Give the account a long history: groups of two, each with twenty lines of log."""
    query = """
        WITH new AS (
            INSERT INTO post_groups (
                id, account_id, content, settings, status, processing_status, scheduled_at, created_at, updated_at
            )
            SELECT lpad(to_hex($3 + n), 24, 'f'), $1, 'x', '{}', 'published', 'finished', now(), now(), now()
            FROM generate_series(1, $2) AS n RETURNING id
        ), posts AS (
            INSERT INTO platform_posts (id, group_id, account_id, position, platform, platform_id, status, updated_at)
            SELECT substr(id, 2) || p, id, $1, p, 'twitter', 'twitter-' || p, 'published', now()
            FROM new, generate_series(0, 1) AS p
        )
        INSERT INTO post_logs (group_id, event, created_at)
        SELECT id, 'processing', now() FROM new, generate_series(1, 20)
    """
    await run_sql(system.database, query, system.account_id, groups, 0x100000)


async def test_requests_when_the_account_has_a_long_history_then_they_send_as_many_statements_as_without(api):
    await api.connect("twitter-1", "twitter-2")
    group = await api.create("twitter-1", "twitter-2", at=in_future())
    body = {"content": "Hello", "platforms": ["twitter-1", "twitter-2"], "scheduledTime": in_future()}
    requests = {
        # The caller; then BEGIN, lock, facts, insert, COMMIT.
        ("POST", "/create-post"): (6, {"json": body}),
        ("GET", f"/get-post/{group}"): (2, {}),
        ("GET", "/list-posts?limit=100"): (2, {}),
        ("GET", "/list-posts?platform=twitter&status=published&sortBy=updatedAt&fromDate=2020"): (2, {}),
        ("GET", f"/post-logs/{group}"): (2, {}),
        ("GET", "/platform-connections"): (2, {}),
        ("POST", "/validate-post"): (2, {"json": body}),
        # The caller; then BEGIN, lock, group, posts, counts, schedule, log, COMMIT.
        ("PUT", f"/update-post/{group}"): (9, {"json": {"scheduledTime": in_future(days=2)}}),
    }
    for (method, path), (expected, options) in requests.items():
        assert await cost(api, method, path, **options) == expected, path
    await grow(api, 500)
    for (method, path), (expected, options) in requests.items():
        assert await cost(api, method, path, **options) == expected, path


async def test_creates_when_they_come_at_once_then_they_share_transactions(api):
    await api.connect("twitter-1")
    body = {"content": "Hello", "platforms": ["twitter-1"], "scheduledTime": in_future()}
    with statements(api.database) as seen:
        answers = await asyncio.gather(*(api.call("POST", "/create-post", json=body) for _ in range(64)))
    assert {answer.status for answer in answers} == {200}
    assert len(seen) < 64 * 2


async def test_callers_when_many_ask_at_once_then_they_share_statements(api):
    await api.call("GET", "/platform-connections")
    with statements(api.database) as seen:
        await asyncio.gather(*(api.call("GET", "/platform-connections") for _ in range(64)))
    assert sum("api_keys" in record.query for record in seen) < 32


# Which indexes

ACCOUNTS = 20_000
GROUPS = 40_000
BIG = {"accounts", "api_keys", "connections", "post_groups", "platform_posts", "post_logs", "usage_counters"}
"""Tables that a hot statement may not read from end to end."""

FILL = f"""
    INSERT INTO accounts (id, email, display_name, parent_id)
    SELECT lpad(to_hex(n), 24, '0'), n || '@example.org', 'x',
           CASE WHEN n % 10 > 0 THEN lpad(to_hex(n - n % 10), 24, '0') END
    FROM generate_series(0, {ACCOUNTS - 1}) AS n;
    INSERT INTO api_keys (id, account_id, name, prefix, digest)
    SELECT id, id, 'x', 'sk_' || id, ''::bytea FROM accounts;
    INSERT INTO connections (id, account_id, platform, platform_id, username, credentials)
    SELECT substr(a.id, 2) || c, a.id, 'twitter', 'twitter-' || c, 'x', ''::bytea
    FROM accounts a, generate_series(1, 2) AS c;
    INSERT INTO usage_counters (billing_account_id, period_start, platform_id, used)
    SELECT a.id, date_trunc('month', now()) - m * interval '1 month', 'twitter-' || c, 5
    FROM accounts a, generate_series(1, 2) AS c, generate_series(0, 1) AS m;
    INSERT INTO post_groups (
        id, account_id, content, settings, status, processing_status, scheduled_at, due_at, created_at, updated_at
    )
    SELECT lpad(to_hex(n), 24, '0'), lpad(to_hex(CASE WHEN n % 200 = 0 THEN 0 ELSE n % {ACCOUNTS} END), 24, '0'),
           'x', '{{}}',
           CASE WHEN n % 10 = 0 THEN 'scheduled' ELSE 'published' END,
           CASE WHEN n % 10 = 0 THEN 'pending' ELSE 'finished' END,
           now() + n * interval '1 min', CASE WHEN n % 10 = 0 THEN now() + n * interval '1 min' END,
           now() - n * interval '1 s', now()
    FROM generate_series(1, {GROUPS}) AS n;
    INSERT INTO platform_posts (id, group_id, account_id, position, platform, platform_id, status, updated_at)
    SELECT id, id, account_id, 0, 'twitter', 'twitter-1', status, now() FROM post_groups;
    INSERT INTO post_logs (group_id, event, created_at)
    SELECT id, 'processing', now() FROM post_groups, generate_series(1, 2);
    INSERT INTO idempotency_keys (account_id, key, body_digest, group_id, created_at)
    SELECT account_id, id, ''::bytea, id, created_at FROM post_groups;
    ANALYZE;
    CREATE FUNCTION generic_plan(query text) RETURNS jsonb LANGUAGE plpgsql AS $$
    DECLARE plan jsonb;
    BEGIN
        EXECUTE 'EXPLAIN (GENERIC_PLAN, FORMAT JSON) ' || query INTO plan;
        RETURN plan;
    END $$;
"""
"""One group in two hundred belongs to account 0, the others to thousands of small ones: on a server where one account
has most of the rows, reading all of them to count that account's is the better plan, and PostgreSQL takes it."""

BUSY = "0" * 24
"""The account with the long history; it pays for nine managed users."""

GROUP = f"{GROUPS // 2:024x}"
NOW = datetime.now(UTC)
PERIOD = limits.period(NOW)[0]


@pytest.fixture(scope="module")
def large_dsn(postgres):
    """The DSN of a database with tens of thousands of rows in every table that grows."""

    async def make():
        admin = await asyncpg.connect(postgres.replace("/postpost?", "/postgres?", 1))
        await admin.execute("CREATE DATABASE test_large TEMPLATE postpost")
        await admin.close()
        dsn = postgres.replace("/postpost?", "/test_large?", 1)
        connection = await asyncpg.connect(dsn)
        await connection.execute(FILL)
        await connection.close()
        return dsn

    return asyncio.run(make())


def nodes(plan):
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


async def plans_of(dsn, work):
    """Run the work, undo it, and return the nodes of its statements' plans: for their values, and for any values."""
    database = await Database.open(dsn, size=1)
    custom, generic = [], []
    try:
        async with database.connection() as connection:
            seen = []
            transaction = connection.transaction()
            await transaction.start()
            with connection.query_logger(seen.append):
                await work(connection)
            await transaction.rollback()
            for query, arguments in ((record.query, record.args) for record in seen):
                if "typeinfo_tree" in query or "set_config" in query:
                    continue  # asyncpg's own, once for each connection
                [plan] = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *arguments)
                custom += nodes(plan["Plan"])
                [plan] = await connection.fetchval("SELECT generic_plan($1)", query)
                generic += nodes(plan["Plan"])
    finally:
        await database.close()
    return custom, generic


def listing(**changes):
    wanted = {
        "account_id": BUSY,
        "status": None,
        "platform": None,
        "from_time": None,
        "to_time": None,
        "sort_by": "createdAt",
        "descending": True,
        "limit": 20,
        "offset": 0,
    }
    return lambda connection: store.fetch_page(connection, ListFilter(**{**wanted, **changes}))


def question(scope, key=None):
    asked = IntakeQuestion(BUSY, BUSY, ("twitter-1", "twitter-2"), key, True, scope, scope)
    return lambda connection: store_intake.fetch_intake_facts(connection, [asked] * 20, PERIOD, NOW)


CHARGES = {(BUSY, PERIOD, "twitter-1"): 1, (BUSY, PERIOD, "twitter-2"): 2}
HOT = {
    "callers": (
        lambda c: accounts_store.fetch_callers(c, [(f"sk_{n:024x}", f"{n:024x}") for n in range(50)]),
        {"api_keys_prefix_key", "accounts_pkey"},
    ),
    "usage": (lambda c: accounts_store.fetch_usage(c, BUSY, PERIOD), {"usage_counters_pkey", "platform_posts_open"}),
    "connections": (
        lambda c: connections_store.fetch_connections(c, BUSY),
        {"connections_account_id_platform_id_key"},
    ),
    "entries": (lambda c: store.fetch_entries(c, [(BUSY, GROUP)] * 20), {"post_groups_pkey", "platform_posts_group"}),
    "logs": (lambda c: store.fetch_logs(c, BUSY, GROUP), {"post_groups_pkey", "post_logs_group"}),
    "lock of a group": (lambda c: store.lock_group(c, BUSY, GROUP), {"post_groups_pkey"}),
    "posts of a group": (lambda c: store.fetch_group_posts(c, BUSY, GROUP), {"platform_posts_group"}),
    "delete": (lambda c: store.delete_group(c, BUSY, GROUP), {"post_groups_pkey"}),
    "charges taken back": (lambda c: store.take_back_charges(c, CHARGES), {"usage_counters_pkey"}),
    "page, newest first": (listing(), {"post_groups_by_created", "platform_posts_group"}),
    "page, oldest first": (listing(descending=False), {"post_groups_by_created", "platform_posts_group"}),
    "page, by time": (
        listing(sort_by="scheduledTime", from_time=NOW, to_time=NOW + timedelta(days=1)),
        {"post_groups_by_scheduled"},
    ),
    "page, of a platform": (listing(platform="twitter"), {"platform_posts_group"}),
    "page, of a status": (listing(status="scheduled"), {"platform_posts_group"}),
    "lock of payers": (lambda c: store_intake.lock_accounts(c, [BUSY]), {"accounts_pkey"}),
    "facts, by account": (
        question("account"),
        {"connections_account_id_platform_id_key", "accounts_parent", "usage_counters_pkey", "platform_posts_open"},
    ),
    "facts, by connection": (
        question("connection", "k"),
        {
            "connections_account_id_platform_id_key",
            "accounts_parent",
            "usage_counters_pkey",
            "platform_posts_open",
            "idempotency_keys_pkey",
        },
    ),
    "used key": (lambda c: store_intake.fetch_used_key(c, BUSY, "k", NOW), {"idempotency_keys_pkey"}),
    "next due": (store_dispatch.fetch_next_due, {"post_groups_due"}),
    "due groups": (
        lambda c: store_dispatch.claim_due_groups(c, NOW + timedelta(minutes=300), 100),
        {"post_groups_due", "platform_posts_group"},
    ),
}


@pytest.mark.parametrize("name", HOT)
async def test_statement_when_the_tables_are_large_then_it_uses_its_indexes_and_reads_no_table_whole(large_dsn, name):
    work, expected = HOT[name]
    custom, generic = await plans_of(large_dsn, work)
    for plan in (custom, generic):
        whole = {node["Relation Name"] for node in plan if node["Node Type"] == "Seq Scan"}
        assert not whole & BIG
        assert {node["Index Name"] for node in plan if "Index Name" in node} >= expected
