"""Run the benchmarks: `python -m bench [--quick]`. Everything stays on this machine and ends by itself."""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import aiohttp
import uvloop
from rich.console import Console

from bench import api, engine, idle
from bench.report import Figure, show
from postpost import logs, runtime
from postpost.clock import utc_now
from postpost.config import LogFormat, LogLevel, Settings
from postpost.database.embedded import EmbeddedPostgres
from postpost.posts.actor import Actor
from postpost.services import Services

ACCOUNTS = 1000
MANY = 1_000_000
QUICK = {"accounts": 50, "many": 20_000, "rounds": 1, "seconds": 1.0}

console = Console(stderr=True)


async def _first_groups(services: Services, people: api.People) -> None:
    async with services.database.connection() as connection:
        rows = await connection.fetch("SELECT id, plan_key, entitlements, seats FROM accounts")
    for row in {row["id"]: row for row in rows}.values():
        plan = services.accounts.resolve_plan(row)
        assert plan is not None
        body = {"content": "x", "platforms": list(api.PLATFORMS), "scheduledTime": "2031-01-01T00:00:00Z"}
        people.groups.append(await services.posts.create(Actor(row["id"], row["id"], plan), body, None))
        people.ids[len(people.groups) - 1] = row["id"]


def _grown(before: list[Figure], after: list[Figure]) -> list[Figure]:
    """Return the later figures with a remark on what is left of the earlier rates."""
    figures = []
    for one, other in zip(before, after, strict=True):
        kept = other.value / one.value
        figures.append(replace(other, remark=f"{kept:.2f} of the rate without them; {other.remark}"))
    return figures


async def _measure_all(
    services: Services, home: Path, plans: Path, sandbox: str, accounts: int, many: int
) -> list[Figure]:
    console.print(f"making {accounts:,} accounts ...")
    people = await api.make_people(services, accounts)
    await _first_groups(services, people)
    console.print("publishing ...")
    figures = await engine.measure_dispatching(services)
    figures += await engine.measure_publishing(services)
    console.print("the API on a small database ...")
    small = await api.measure(services, home, plans, people, "")
    console.print(f"writing {many:,} scheduled posts ...")
    await engine.fill(services, many, utc_now() + timedelta(days=200))
    async with services.database.connection() as connection:
        await connection.execute("ANALYZE", timeout=120)
    console.print("the API on the large database ...")
    large = await api.measure(services, home, plans, people, f", {many:,} posts")
    figures += [*small, *_grown(small, large)]
    console.print("lateness ...")
    async with aiohttp.ClientSession() as session:

        async def read_posts() -> list[dict[str, str]]:
            async with session.get(f"{sandbox}/_sandbox/twitter/1/posts") as response:
                posts: list[dict[str, str]] = await response.json()
                return posts

        return figures + await engine.measure_lateness(services, people.ids[0], read_posts)


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="postpost-bench-"))
    home.chmod(0o755)  # as root, PostgreSQL's own user has to pass
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def run(*, quick: bool) -> list[Figure]:
    """Measure everything against a fresh embedded database with its durability on."""
    accounts, many = ACCOUNTS, MANY
    if quick:
        accounts, many = int(QUICK["accounts"]), int(QUICK["many"])
        api.ROUNDS, api.SECONDS, engine.ROUNDS = int(QUICK["rounds"]), QUICK["seconds"], 1
    with _home() as home, EmbeddedPostgres(home) as server:
        plans = home / "plans.toml"
        plans.write_text(api.PLAN)
        listening = runtime.listen("127.0.0.1", 0)
        sandbox = f"http://127.0.0.1:{listening.getsockname()[1]}"
        settings = Settings(home=home, database_url=server.start(), plans_file=plans, sandbox_url=sandbox)
        async with runtime.open_process(settings, migrated=True) as services:
            parts = runtime.Parts([], [])
            await runtime.start_sandbox(parts, settings, listening)
            figures = await _measure_all(services, home, plans, sandbox, accounts, many)
            for stop in parts.stops:
                stop()
            await asyncio.wait(parts.running, timeout=5)
    console.print("idling ...")
    with _home() as home:
        return figures + await idle.measure(home)


if __name__ == "__main__":
    logs.configure(LogFormat.JSON, LogLevel.WARNING, Path(os.devnull).open("w"))  # noqa: SIM115 -- open as long as the process
    show(uvloop.run(run(quick="--quick" in sys.argv)))
