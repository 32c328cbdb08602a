"""`postpost demo`: a whole PostPost for some seconds, posts through its real API, and what became of them."""

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import msgspec
import typer
from rich.live import Live
from rich.table import Table

from postpost import logs
from postpost.accounts.service import create_first_account
from postpost.cli import options
from postpost.cli.demo_story import ACCOUNTS, Api, Story
from postpost.cli.output import CommandError, console, fail, print_json, say, state, table
from postpost.cli.running import FAILED, own_command, run
from postpost.config import LogFormat, LogLevel, Settings
from postpost.connections import service as connections
from postpost.connections.service import NewConnection
from postpost.database.embedded import EmbeddedPostgres
from postpost.outgoing import HttpClient
from postpost.runtime import (
    Parts,
    listen,
    open_process,
    run_until_signal,
    start,
    start_api,
    start_sandbox,
    start_worker,
)
from postpost.services import Services

DEADLINE_SECONDS = 60.0
"""The demonstration has failed when its posts have not ended by then; it takes about five."""

SHUTDOWN_SECONDS = 5.0
LOOPBACK = "127.0.0.1"


def demo(as_json: options.AsJson = False) -> None:
    """Show posts being published, one group partially, in a PostPost of its own that is gone afterwards."""
    logs.configure(LogFormat.AUTO, LogLevel.ERROR)
    if not as_json:
        say("Starting PostPost with a database of its own and the look-alike platforms ...")
    began = time.monotonic()
    story = run(_play(_Screen(quiet=as_json)))
    seconds = round(time.monotonic() - began, 1)
    problems = story.problems()
    if as_json:
        print_json({"ok": not problems, "seconds": seconds, "problems": problems, **story.result()})
    else:
        _summarise(story, seconds)
    if problems:
        fail(f"{'; '.join(problems)}. Next step: run `postpost demo --json` and report what it says.")
        raise typer.Exit(FAILED)


def _summarise(story: Story, seconds: float) -> None:
    if story.partial is not None:
        say("\nThe partially published group, as get-post answers:")
        say(msgspec.json.format(msgspec.json.encode(story.partial), indent=2).decode())
    counts = ", ".join(f"{count} {status}" for status, count in story.counts().items())
    say(f"\n{len(story.groups)} post groups; platform posts: {counts}. {seconds} s, starting and stopping included.")
    say(f"Next, a PostPost that stays: {own_command()} up --sandbox")


class _Screen:
    """What is seen while it runs: a live table in a terminal, elsewhere a line for each post that ends."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live = Live(console=console(), auto_refresh=False) if not quiet and sys.stdout.isatty() else None
        self._told: set[tuple[str, str]] = set()

    def __enter__(self) -> "_Screen":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, story: Story) -> None:
        """Show how far the story is."""
        if self._live is not None:
            self._live.update(_table(story), refresh=True)
        elif not self._quiet:
            self._tell(story)

    def _tell(self, story: Story) -> None:
        for group in story.groups:
            for post in group.posts:
                mark = (group.id, post.platform_id)
                if post.latency is not None and mark not in self._told:
                    self._told.add(mark)
                    took = f"{post.milliseconds} ms"
                    what = f"{post.status:<10} {post.platform_id:<22} {took:>8} after its time"
                    say(f"{what}  {group.order.title}: {post.outcome}")


def _table(story: Story) -> Table:
    rows = [
        (
            group.order.title if index == 0 else " ",
            post.platform_id,
            state(post.status),
            post.outcome,
            None if post.milliseconds is None else f"{post.milliseconds} ms",
        )
        for group in story.groups
        for index, post in enumerate(group.posts)
    ]
    columns = ("post group", "platform post", "status", "posted id or error", "latency")
    shown = table(columns, rows, whole=("platform post", "status", "latency"))
    shown.caption = "latency: from the time of the post until it was out, or had failed"
    return shown


async def _play(screen: _Screen) -> Story:
    """Run everything until the posts have ended, the deadline is over, or somebody presses Ctrl-C."""
    story = Story()
    with _home() as home:
        async with AsyncExitStack() as stack:
            parts = Parts([], [])
            api, look_alikes = (stack.enter_context(listen(LOOPBACK, 0)) for _ in range(2))
            sandbox_url = f"http://{LOOPBACK}:{look_alikes.getsockname()[1]}"
            settings = Settings(home=home, shutdown_seconds=SHUTDOWN_SECONDS, sandbox_url=sandbox_url)
            await start_sandbox(parts, settings, look_alikes)
            services = await stack.enter_async_context(open_process(settings, migrated=True))
            port = await start_api(parts, services, api)
            start_worker(parts, services)
            http = HttpClient(settings.platform_timeout_seconds)
            stack.push_async_callback(http.close)
            client = Api(http, f"http://{LOOPBACK}:{port}/api/v1", sandbox_url, await _prepare(services))
            stopping = asyncio.Event()
            with screen:
                # The first part that ends, by itself or by a signal, ends the process: here it is the story.
                telling = story.tell(client, screen.show, stopping, within_seconds=DEADLINE_SECONDS)
                start(parts, "story", telling, stopping.set)
                await run_until_signal(parts, shutdown_seconds=SHUTDOWN_SECONDS)
    return story


async def _prepare(services: Services) -> str:
    """Make the account with its connections to the sandbox; returns its API key."""
    first = await create_first_account(services.database)
    if first is None:
        raise CommandError("The demonstration's database is not empty", "run it again.")
    account_id, key = first
    for platform_id in ACCOUNTS:
        platform, _, external_id = platform_id.partition("-")
        new = NewConnection(account_id, platform, sandbox=True, external_id=external_id)
        await connections.connect(services.database, services.outside, new)
    return key


@contextmanager
def _home() -> Iterator[Path]:
    """Lend a home that is gone afterwards, with a database that had to live elsewhere too."""
    with tempfile.TemporaryDirectory(prefix="postpost-demo-", ignore_cleanup_errors=True) as folder:
        if sys.platform != "win32" and os.geteuid() == 0:
            # Root's PostgreSQL runs as another user, who has to pass through this folder that we have made.
            Path(folder).chmod(0o711)
        home = Path(folder) / "home"
        try:
            yield home
        finally:
            place = Path(EmbeddedPostgres(home).describe()["data"]).parent
            if not place.is_relative_to(home.resolve()):
                shutil.rmtree(place.parent, ignore_errors=True)


def add_to(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command(epilog=options.examples("postpost demo", "postpost demo --json"))(demo)
