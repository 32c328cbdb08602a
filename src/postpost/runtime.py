"""Assembles a process: database, services, server, worker and sandbox, opened and closed in order."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import structlog
import uvicorn

from postpost.accounts.plans import check_plan_key, load_plans
from postpost.accounts.service import Accounts
from postpost.accounts.throttle import Throttle
from postpost.config import Settings
from postpost.connections import service as connections
from postpost.connections.service import Outside
from postpost.database.embedded import EmbeddedPostgres
from postpost.database.migrate import migrate
from postpost.database.pool import Database
from postpost.metrics import Metrics
from postpost.outgoing import HttpClient
from postpost.platforms import connector
from postpost.platforms.base import Connector, Grant
from postpost.posts import validation
from postpost.posts.service import Posts, off_loop_if_long
from postpost.publishing.claimed import Checked, ClaimedPost, Tools
from postpost.publishing.publisher import Publisher
from postpost.publishing.timing import Timing
from postpost.publishing.worker import Worker
from postpost.sandbox.app import create_app as create_sandbox
from postpost.services import Services
from postpost.vault import Vault, load_or_create_key
from postpost.web.app import create_app

_log = structlog.get_logger()

BACKLOG = 2048
SANDBOX = "sandbox"
"""Name of the sandbox among the parts of a process."""

KEEP_ALIVE_SECONDS = 75


@asynccontextmanager
async def open_dsn(settings: Settings) -> AsyncIterator[str]:
    """Lend the address of the database: the configured one, or an embedded server that runs as long as it is used."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    server = EmbeddedPostgres(settings.home)
    try:  # around the start, too: a signal may end the wait for a server that comes up all the same
        yield await asyncio.to_thread(server.start)
    finally:
        await asyncio.to_thread(server.close)


@asynccontextmanager
async def open_database(settings: Settings, *, migrated: bool = False) -> AsyncIterator[Database]:
    """Lend the database, brought to the newest schema first if `migrated`."""
    async with open_dsn(settings) as dsn:
        if migrated:
            await migrate(dsn)
        database = await Database.open(dsn, size=settings.database_pool_size)
        try:
            yield database
        finally:
            await database.close()


@asynccontextmanager
async def open_services(settings: Settings, database: Database) -> AsyncIterator[Services]:
    """Lend the use cases over a database."""
    plans = load_plans(settings.plans_file)
    check_plan_key(settings.default_plan, plans)
    vault = Vault(settings.secret_key or (load_or_create_key(settings.home),))
    http = HttpClient(settings.platform_timeout_seconds)
    try:
        yield Services(
            settings=settings,
            database=database,
            accounts=Accounts(database, plans, settings.default_plan, Throttle(settings.requests_per_minute)),
            posts=Posts(database, settings),
            outside=Outside(settings, vault, http),
            metrics=Metrics(),
        )
    finally:
        await http.close()


def build_worker(services: Services) -> Worker:
    """Return a worker over these services."""
    settings = services.settings
    timing = Timing(
        call=timedelta(seconds=settings.platform_timeout_seconds),
        attempts=settings.publish_attempts,
        backoff=timedelta(seconds=settings.retry_base_seconds),
        longest_wait=timedelta(seconds=settings.max_rate_limit_wait_seconds),
    )
    publisher = Publisher(services.database, timing, services.outside.account, services.metrics)

    async def check(claimed: ClaimedPost) -> Checked:
        assert claimed.account is not None
        rendered = partial(
            validation.render,
            validation.Target(claimed.platform, claimed.account.facts),
            claimed.content,
            {claimed.platform: claimed.settings},
            (),
            threads_reply_chains=settings.threads_reply_chains,
            public_media=settings.public_media_url is not None,
        )
        outcome = await off_loop_if_long(claimed.content, rendered)
        if isinstance(outcome, validation.Ready):
            return Checked(outcome.parts)
        found = outcome.validation
        return Checked(problem=outcome.message, items=msgspec.to_builtins([*found.errors, *found.warnings]))

    async def refresh(claimed: ClaimedPost, of: Connector) -> Grant:
        assert claimed.account is not None
        assert claimed.connection_id is not None
        return await connections.refresh(
            services.database, services.outside, claimed.connection_id, claimed.account, of
        )

    tools = Tools(connector, check, refresh, services.outside.http, publisher, timing)
    return Worker(
        services.database,
        publisher,
        tools,
        services.metrics,
        concurrency=settings.worker_concurrency,
        housekeeping=services.posts.forget_old_keys,
    )


class Server(uvicorn.Server):
    """A uvicorn server that leaves the signals to us: several servers and a worker share one process."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture nothing: `run_until_signal` does."""
        yield


class PortError(Exception):
    """A port cannot be listened on; the message says which and why."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 lets the system choose. Raises PortError."""
    try:
        listening = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=BACKLOG
        )
    except OSError as error:
        raise PortError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    # Inherited by the accepted connections. asyncio's own loop leaves it out for sockets that it did not make, and an
    # answer's body, written after its head, would wait 40 ms for the client's delayed acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def http_server(app: Any, *, shutdown_seconds: float) -> Server:
    """Return a server for `app` that is not started yet."""
    return Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(shutdown_seconds) or 1,
            server_header=False,
        )
    )


@dataclass(slots=True)
class Parts:
    """What is running: each part with how to ask it to stop."""

    running: list[asyncio.Task[None]]
    stops: list[Callable[[], None]]


def start(parts: Parts, name: str, work: Coroutine[Any, Any, None], stop: Callable[[], None]) -> None:
    """Start one part of the process."""
    parts.running.append(asyncio.create_task(work, name=name))
    parts.stops.append(stop)


async def _start_server(parts: Parts, name: str, server: Server, listening: socket.socket) -> int:
    """Start a server on a listening socket and return its port once it answers."""

    def stop() -> None:
        server.should_exit = True

    start(parts, name, server.serve([listening]), stop)
    while not server.started and not parts.running[-1].done():  # noqa: ASYNC110 -- uvicorn sets a flag, no event
        await asyncio.sleep(0.005)
    port: int = listening.getsockname()[1]
    return port


async def run_until_signal(parts: Parts, *, shutdown_seconds: float) -> None:
    """Let everything run until SIGINT or SIGTERM, or until a part ends; then finish what is in hand, in order."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    waiting = asyncio.create_task(asked.wait())
    await asyncio.wait({waiting, *parts.running}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    together = list(zip(parts.running, parts.stops, strict=True))
    ended: set[asyncio.Task[None]] = set()
    # The sandbox goes last: the worker may have a post in hand that is on its way there.
    for last in (False, True):
        phase = [(task, stop) for task, stop in together if (task.get_name() == SANDBOX) is last]
        for _, stop in phase:
            stop()
        if phase:
            done, late = await asyncio.wait([task for task, _ in phase], timeout=shutdown_seconds)
            ended |= done
            for task in late:
                _log.warning("stopped_in_the_middle", part=task.get_name())
                task.cancel()
    for task in ended:
        task.result()


@asynccontextmanager
async def open_process(settings: Settings, *, migrated: bool) -> AsyncIterator[Services]:
    """Lend everything that a serving or working process needs."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings, migrated=migrated))
        yield await stack.enter_async_context(open_services(settings, database))


async def start_api(parts: Parts, services: Services, listening: socket.socket) -> int:
    """Start the API on a listening socket and return its port."""
    server = http_server(create_app(services), shutdown_seconds=services.settings.shutdown_seconds)
    return await _start_server(parts, "api", server, listening)


async def start_sandbox(parts: Parts, settings: Settings, listening: socket.socket) -> int:
    """Start the sandbox on a listening socket and return its port."""
    app = create_sandbox(allow_remote=settings.sandbox_allow_remote)
    return await _start_server(parts, SANDBOX, http_server(app, shutdown_seconds=1), listening)


def start_worker(parts: Parts, services: Services) -> Worker:
    """Start a worker."""
    worker = build_worker(services)
    start(parts, "worker", worker.run(), worker.stop)
    return worker
