"""The API against bare handlers: create-post, get-post and list-posts at sixteen connections."""

import asyncio
import contextlib
import random
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from bench.load import Load, request_bytes, run_load
from bench.report import Figure
from postpost.accounts import service as accounts
from postpost.connections import service as connections
from postpost.services import Services

CONNECTIONS = 16
SECONDS = 3.0
ROUNDS = 3
PLATFORMS = ("twitter-1", "linkedin-2")
PLAN = """
[unlimited]
name = "Unlimited"
apiAccess = true
mcpAccess = true
monthlyPosts = 1000000000
monthlyPostsScope = "connection"
scheduledPosts = "unlimited"
scheduledPostsScope = "account"
scheduleHorizonDays = "none"
connections = "unlimited"
allowedPlatforms = "all"
"""
"""Monthly posts are counted and checked; a limit of pending posts would end the benchmark."""


@dataclass
class People:
    """Accounts with their keys and one post group each."""

    ids: list[str]
    keys: list[str]
    groups: list[str]


async def make_people(services: Services, count: int) -> People:
    """Create accounts with two sandbox connections each."""
    people = People([], [], [])
    for number in range(count):
        account = await accounts.create_account(
            services.database, accounts.NewAccount(f"a{number}@example.org", f"A{number}", plan_key="unlimited")
        )
        people.ids.append(account)
        people.keys.append(await accounts.create_key(services.database, account, "bench"))
        for platform_id in PLATFORMS:
            platform, _, one = platform_id.partition("-")
            new = connections.NewConnection(account, platform, sandbox=True, external_id=one)
            await connections.connect(services.database, services.outside, new)
    return people


@contextlib.asynccontextmanager
async def serving(kind: str, *arguments: str) -> AsyncIterator[int]:
    """Run one of the servers of `bench.serving` as a child process and lend its port."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.serving", kind, *arguments, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
    )
    assert child.stdout is not None
    try:
        yield int(await child.stdout.readline())
    finally:
        child.terminate()
        await child.wait()


def _create_requests(people: People, *, bare: bool) -> Callable[[int], bytes]:
    due = (datetime.now(UTC) + timedelta(days=300)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    prepared: list[bytes] = []
    for account, key in zip(people.ids, people.keys, strict=True):
        body = {"content": "Hello from the benchmark, which is no long text.", "scheduledTime": due}
        extra = {"account": account} if bare else {}
        encoded = msgspec.json.encode({**body, "platforms": PLATFORMS, **extra})
        headers = {"content-type": "application/json", "x-api-key": key}
        prepared.append(request_bytes("POST", "/api/v1/create-post", headers, encoded))
    return lambda number: prepared[number % len(prepared)]


def _get_requests(people: People, *, bare: bool) -> Callable[[int], bytes]:
    prepared = [
        request_bytes("GET", f"/get/{account}/{group}" if bare else f"/api/v1/get-post/{group}", {"x-api-key": key})
        for account, key, group in zip(people.ids, people.keys, people.groups, strict=True)
    ]
    return lambda number: prepared[number % len(prepared)]


def _list_requests(people: People, *, bare: bool) -> Callable[[int], bytes]:
    prepared = [
        request_bytes("GET", f"/list/{account}" if bare else "/api/v1/list-posts", {"x-api-key": key})
        for account, key in zip(people.ids, people.keys, strict=True)
    ]
    return lambda number: prepared[number % len(prepared)]


async def compare(
    name: str, ours: int, bare: int, make: Callable[..., Callable[[int], bytes]], people: People
) -> Figure:
    """Measure both servers in turn, ROUNDS times, in an order that changes; returns medians and the median ratio."""
    runs: dict[bool, list[Load]] = {False: [], True: []}
    for _ in range(ROUNDS):
        order = [False, True]
        random.shuffle(order)
        for is_bare in order:
            port = bare if is_bare else ours
            requests = make(people, bare=is_bare)
            runs[is_bare].append(await run_load(port, requests, connections=CONNECTIONS, seconds=SECONDS))
    ratios = [one.per_second / other.per_second for one, other in zip(runs[False], runs[True], strict=True)]
    return Figure(
        name,
        statistics.median(load.per_second for load in runs[False]),
        "req/s",
        statistics.median(load.per_second for load in runs[True]),
        statistics.median(ratios),
        f"p99 {statistics.median(load.p99_ms for load in runs[False]):.1f} ms",
    )


async def measure(services: Services, home: Path, plans: Path, people: People, label: str) -> list[Figure]:
    """Measure the three routes for one account and for all of them."""
    dsn = services.database.dsn
    one = People(people.ids[:1], people.keys[:1], people.groups[:1])
    figures: list[Figure] = []
    async with serving("postpost", dsn, str(home), str(plans)) as ours, serving("bare", dsn) as bare:
        for crowd, who in ((one, "one account"), (people, f"{len(people.ids):,} accounts")):
            figures.append(await compare(f"create-post, {who}{label}", ours, bare, _create_requests, crowd))
        for crowd, who in ((one, "one account"), (people, f"{len(people.ids):,} accounts")):
            figures.append(await compare(f"get-post, {who}{label}", ours, bare, _get_requests, crowd))
        figures.append(
            await compare(f"list-posts, {len(people.ids):,} accounts{label}", ours, bare, _list_requests, people)
        )
    return figures
