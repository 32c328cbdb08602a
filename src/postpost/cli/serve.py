"""The commands that run PostPost: everything at once, the API, a worker or the sandbox; migrations and the doctor."""

import os
from contextlib import ExitStack
from dataclasses import replace
from socket import socket
from typing import Annotated, Any

import typer
from rich.panel import Panel

from postpost import doctor as checks
from postpost import logs
from postpost.accounts.service import create_first_account
from postpost.cli import options
from postpost.cli.output import console, facts, hint, print_json, say, show, state
from postpost.cli.running import FAILED, load_settings, require_schema, run
from postpost.config import LogFormat, LogLevel, Settings
from postpost.config_kinds import MAX_PORT
from postpost.database.migrate import fetch_revision, migrate
from postpost.doctor import Check, State
from postpost.metrics import MetricsServer
from postpost.runtime import (
    Parts,
    PortError,
    listen,
    open_database,
    open_process,
    run_until_signal,
    start_api,
    start_sandbox,
    start_worker,
)
from postpost.services import Services

LOOPBACK = "127.0.0.1"
_ANY_ADDRESS = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 -- looked for, not listened on


def up(
    host: options.Host = None,
    port: options.Port = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", metavar=options.FLAG, help="Run the look-alike platforms too.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Run everything in one process: database, migrations, API and worker, with --sandbox the look-alike platforms."""
    settings = load_settings(quiet=False)
    sandbox_port = _sandbox_port(settings, port)
    run(_up(_with_address(settings, host, port), sandbox_port if sandbox else None, as_json=as_json))


def serve(host: options.Host = None, port: options.Port = None, as_json: options.AsJson = False) -> None:
    """Run the API alone; any number of them share a database with any number of workers."""
    run(_serve(_with_address(load_settings(quiet=False), host, port), as_json=as_json))


def work(as_json: options.AsJson = False) -> None:
    """Run a worker alone: it dispatches and publishes what is due."""
    run(_work(load_settings(quiet=False), as_json=as_json))


def sandbox_(host: options.Host = None, port: options.Port = None, as_json: options.AsJson = False) -> None:
    """Run the look-alike platforms alone; what is posted to them is gone when they stop."""
    settings = load_settings(quiet=False)
    own = settings.host if settings.sandbox_allow_remote else LOOPBACK
    run(_sandbox(settings, host or own, settings.sandbox_port if port is None else port, as_json=as_json))


def migrate_(as_json: options.AsJson = False) -> None:
    """Bring the database to the schema that this version needs; `postpost up` does so by itself."""
    before, after = run(_migrate(load_settings(quiet=True)))
    if as_json:
        print_json({"from": before, "to": after})
    elif before == after:
        say(f"The database stands at revision {after} already.")
    else:
        say(f"Migrated the database from {before or 'nothing'} to revision {after}.")


def doctor(as_json: options.AsJson = False) -> None:
    """Check the configuration and what it leads to; exit code 1 when something is wrong."""
    # The settings may be what is wrong, so their log level is not asked for.
    logs.configure(LogFormat.AUTO, LogLevel.ERROR)
    found = run(checks.examine())
    if as_json:
        print_json({"ok": not checks.any_failed(found), "checks": found})
    else:
        _show_checks(found)
    if checks.any_failed(found):
        raise typer.Exit(FAILED)


def _show_checks(found: list[Check]) -> None:
    rows = [(state(one.state), one.name, one.detail, one.next_step) for one in found]
    show(("", "check", "found", "next step"), rows, none="")
    failed = sum(one.state is State.FAILED for one in found)
    say("Everything is in order." if not failed else f"{failed} of {len(found)} checks failed.")


def _with_address(settings: Settings, host: str | None, port: int | None) -> Settings:
    return replace(settings, host=host or settings.host, port=settings.port if port is None else port)


def _sandbox_port(settings: Settings, port: int | None) -> int:
    """Return the sandbox's port: it follows a --port unless the operator has chosen one of its own."""
    follows = settings.sandbox_port == Settings(port=settings.port).sandbox_port
    if port is None or not follows:
        return settings.sandbox_port
    if port == 0:
        return 0
    return port + 1 if port < MAX_PORT else port - 1


def _address(host: str, listening: socket) -> str:
    """Return the URL at which this machine reaches a listening socket."""
    port: int = listening.getsockname()[1]
    shown = _ANY_ADDRESS.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


async def _up(settings: Settings, sandbox_port: int | None, *, as_json: bool) -> None:
    parts = Parts([], [])
    with ExitStack() as sockets:
        # Ports first: nothing is started, or made in a fresh home, that a taken port would end again.
        api = sockets.enter_context(listen(settings.host, settings.port))
        ready: dict[str, Any] = {"url": _address(settings.host, api), "pid": os.getpid()}
        if sandbox_port is not None:
            host = settings.host if settings.sandbox_allow_remote else LOOPBACK
            look_alikes = sockets.enter_context(listen(host, sandbox_port))
            settings = replace(settings, sandbox_url=_address(host, look_alikes))
            ready["sandboxUrl"] = settings.sandbox_url
            await start_sandbox(parts, settings, look_alikes)
        async with open_process(settings, migrated=True) as services:
            first = await create_first_account(services.database)
            if first is not None:
                ready["accountId"], ready["apiKey"] = first
            await start_api(parts, services, api)
            start_worker(parts, services)
            if as_json:
                print_json(ready)
            else:
                _welcome(ready)
            await run_until_signal(parts, shutdown_seconds=settings.shutdown_seconds)


def _welcome(ready: dict[str, Any]) -> None:
    url, sandbox_url, key = ready["url"], ready.get("sandboxUrl"), ready.get("apiKey")
    rows = [("API", f"{url}/api/v1"), ("Docs", f"{url}/docs")]
    if sandbox_url:
        rows.append(("Sandbox", f"{sandbox_url}/_sandbox/"))
    if key:
        rows.append(("Account", ready["accountId"]))
    console().print(Panel.fit(facts(rows), title="PostPost is running", border_style="green"))
    if key:
        say("Your API key, shown this once (`postpost keys create` makes others):")
        say(f"  {key}")
    shown = key or "$POSTPOST_API_KEY"
    say("Try it:")
    if sandbox_url:
        say("  postpost connections add --platform mastodon --id demo --sandbox")
        body = '{"content": "Hello", "platforms": ["mastodon-demo"], "scheduledTime": "\'$(date -u +%FT%TZ)\'"}'
        say(f"  curl {url}/api/v1/create-post -H 'x-api-key: {shown}' -H 'content-type: application/json' -d '{body}'")
    else:
        say(f'  curl {url}/api/v1/platform-connections -H "x-api-key: {shown}"')
    hint("Stop it with Ctrl-C.")


async def _serve(settings: Settings, *, as_json: bool) -> None:
    parts = Parts([], [])
    with listen(settings.host, settings.port) as api:
        async with open_process(settings, migrated=False) as services:
            await require_schema(services.database)
            await start_api(parts, services, api)
            url = _address(settings.host, api)
            _say_ready({"url": url, "pid": os.getpid()}, f"The API is at {url}/api/v1.", as_json=as_json)
            await run_until_signal(parts, shutdown_seconds=settings.shutdown_seconds)


async def _work(settings: Settings, *, as_json: bool) -> None:
    parts = Parts([], [])
    with ExitStack() as ports:
        async with open_process(settings, migrated=False) as services:
            await require_schema(services.database)
            ready: dict[str, Any] = {"pid": os.getpid()}
            if settings.worker_metrics_port:
                ports.callback(_serve_metrics(services).close)
                ready["metricsUrl"] = f"http://{settings.host}:{settings.worker_metrics_port}/metrics"
            start_worker(parts, services)
            _say_ready(ready, f"The worker runs as process {os.getpid()}.", as_json=as_json)
            await run_until_signal(parts, shutdown_seconds=settings.shutdown_seconds)


def _serve_metrics(services: Services) -> MetricsServer:
    host, port = services.settings.host, services.settings.worker_metrics_port
    try:
        return services.metrics.serve(host, port)
    except OSError as error:
        raise PortError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


async def _sandbox(settings: Settings, host: str, port: int, *, as_json: bool) -> None:
    parts = Parts([], [])
    with listen(host, port) as look_alikes:
        await start_sandbox(parts, settings, look_alikes)
        url = _address(host, look_alikes)
        ready = {"sandboxUrl": url, "pid": os.getpid()}
        _say_ready(ready, f"The sandbox is at {url}, its pages at {url}/_sandbox/.", as_json=as_json)
        await run_until_signal(parts, shutdown_seconds=settings.shutdown_seconds)


def _say_ready(ready: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(ready)
    else:
        say(sentence)


async def _migrate(settings: Settings) -> tuple[str | None, str | None]:
    async with open_database(settings) as database:
        async with database.connection() as connection:
            before = await fetch_revision(connection)
        await migrate(database.dsn)
        async with database.connection() as connection:
            return before, await fetch_revision(connection)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    show_examples = options.examples
    app.command(epilog=show_examples("postpost up", "postpost up --sandbox", "postpost up --port 0 --json"))(up)
    app.command(epilog=show_examples("postpost serve --host 0.0.0.0 --port 8080"))(serve)
    app.command(epilog=show_examples("postpost work"))(work)
    app.command("sandbox", epilog=show_examples("postpost sandbox", "postpost sandbox --port 9000"))(sandbox_)
    app.command("migrate", epilog=show_examples("postpost migrate"))(migrate_)
    app.command(epilog=show_examples("postpost doctor", "postpost doctor --json"))(doctor)
