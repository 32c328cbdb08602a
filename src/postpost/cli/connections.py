"""`postpost connections`: connect, list, test and remove social accounts."""

import getpass
import sys
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
import typer

from postpost.cli import options
from postpost.cli.output import CommandError, console, facts, print_json, say, show, state
from postpost.cli.running import FAILED, open_services, run
from postpost.connections import service
from postpost.connections.service import ConnectionCheck, ConnectionView, NewConnection
from postpost.platforms import connector as connector_of

app = typer.Typer(help="Connect, list, test and remove social accounts.", no_args_is_help=True)

FROM_STDIN = "-"

PlatformId = Annotated[
    str | None,
    typer.Argument(
        metavar="PLATFORM_ID",
        help="As `list` shows it, mastodon-109876 say; or --platform with --id.",
        show_default=False,
    ),
]
Platform = Annotated[
    str | None, typer.Option("--platform", parser=options.read_platform, metavar="NAME", help="The platform.")
]
ExternalId = Annotated[
    str | None, typer.Option("--id", parser=options.read_external_id, metavar="ID", help="The account's id there.")
]


@app.command(
    epilog=options.examples(
        "postpost connections add --platform mastodon --id demo --sandbox",
        "postpost connections add --platform bluesky --credential identifier=ann.example --credential app_password=-",
        "postpost connections add --platform mastodon --base-url https://fosstodon.org --credential access_token=-",
    )
)
def add(
    platform: Annotated[
        str, typer.Option("--platform", parser=options.read_platform, metavar="NAME", help="The platform.")
    ],
    external_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            parser=options.read_external_id,
            metavar="ID",
            help="The account's id on the platform; needed in the sandbox, else the platform is asked.",
        ),
    ] = None,
    username: Annotated[
        str | None,
        typer.Option("--username", parser=options.read_text, metavar="NAME", help="Name to show; else the platform's."),
    ] = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", metavar=options.FLAG, help="Connect to the look-alike; needs no credentials.")
    ] = False,
    credential: Annotated[
        list[str] | None,
        typer.Option("--credential", metavar="KEY=VALUE", help="May be repeated; KEY=- reads the value from stdin."),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", metavar="URL", help="Address of a self-hosted instance.")
    ] = None,
    token_expires_at: Annotated[
        str | None, typer.Option("--token-expires-at", metavar="TIME", help="When the credentials end.")
    ] = None,
    account: options.Account = None,
    as_json: options.AsJson = False,
) -> None:
    """Connect a social account with credentials in hand, or one in the sandbox. Connecting again replaces them."""
    if sandbox and (credential or base_url):
        raise typer.BadParameter("a sandbox connection takes neither --credential nor --base-url.")
    if sandbox and external_id is None:
        raise typer.BadParameter("a sandbox connection needs an --id; any will do.", param_hint="--id")
    if not sandbox and not credential:
        raise typer.BadParameter(f"{_needed(platform)}, or --sandbox.", param_hint="--credential")
    expires_at = options.read_time(token_expires_at) if token_expires_at is not None else None
    address = _read_address(base_url) if base_url is not None else None
    credentials = _read_credentials(credential)
    wanted = _Wanted(account, platform, sandbox, credentials, external_id, username, address, expires_at)
    view = run(_add(wanted))
    if as_json:
        print_json({**msgspec.to_builtins(view), "sandbox": sandbox})
    else:
        say(f"Connected {view.platform_id} ({view.username}){' in the sandbox' if sandbox else ''}.")


class _Wanted(msgspec.Struct, frozen=True):
    account: str | None
    platform: str
    sandbox: bool
    credentials: dict[str, str]
    external_id: str | None
    username: str | None
    base_url: str | None
    token_expires_at: datetime | None


def _needed(platform: str) -> str:
    known = connector_of(platform)
    assert known is not None
    return "give " + ", ".join(f"--credential {name}=..." for name in known.platform.credential_fields)


def _read_credentials(given: list[str] | None) -> dict[str, str]:
    """Read KEY=VALUE; the value `-` is a line of standard input, so that no secret stands in the shell's history."""
    credentials = {}
    for key, value in options.read_pairs(given, "--credential"):
        credentials[key] = _read_secret(key) if value == FROM_STDIN else value
    return credentials


def _read_secret(key: str) -> str:
    secret = getpass.getpass(f"{key}: ") if sys.stdin.isatty() else sys.stdin.readline()
    if not secret.strip():
        raise typer.BadParameter(f"standard input has no line for {key}.", param_hint="--credential")
    return secret.strip()


def _read_address(text: str) -> str:
    try:
        parts = urlsplit(text)
        complete = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        complete = False
    if not complete or parts.query or parts.fragment or not text.isprintable() or " " in text:
        raise typer.BadParameter(f"{text!r} is no address like https://fosstodon.org.", param_hint="--base-url")
    return text.rstrip("/")


async def _add(wanted: _Wanted) -> ConnectionView:
    async with open_services() as services:
        account = await options.choose_account(services.database, wanted.account)
        new = NewConnection(
            account_id=account.account_id,
            platform=wanted.platform,
            sandbox=wanted.sandbox,
            credentials=wanted.credentials,
            external_id=wanted.external_id,
            username=wanted.username,
            base_url=wanted.base_url,
            token_expires_at=wanted.token_expires_at,
        )
        platform_id = await service.connect(services.database, services.outside, new)
        made = await service.list_connections(services.database, account.account_id)
        return next(view for view in made if view.platform_id == platform_id)


@app.command("list", epilog=options.examples("postpost connections list --account ann@example.com"))
def list_(account: options.Account = None, as_json: options.AsJson = False) -> None:
    """List an account's connections in the order of connecting."""
    views = run(_list(account))
    if as_json:
        print_json({"connections": views})
        return
    show(
        ("platform id", "user", "token", "expires in", "last post", "last error"),
        [
            (
                view.platform_id,
                view.username,
                state(view.token_status),
                view.token_expires_in,
                view.last_successful_post,
                view.last_error.message if view.last_error else None,
            )
            for view in views
        ],
        none="Nothing is connected. Next step: postpost connections add --help",
    )


async def _list(text: str | None) -> list[ConnectionView]:
    async with open_services() as services:
        account = await options.choose_account(services.database, text)
        return await service.list_connections(services.database, account.account_id)


@app.command("test", epilog=options.examples("postpost connections test mastodon-109876 --account ann@example.com"))
def check(
    platform_id: PlatformId = None,
    platform: Platform = None,
    external_id: ExternalId = None,
    account: options.Account = None,
    as_json: options.AsJson = False,
) -> None:
    """Ask the platform whose the credentials are; exit code 1 when they do not work."""
    found = run(_test(account, _one_of(platform_id, platform, external_id)))
    if as_json:
        print_json(found)
    else:
        rows: list[tuple[str, Any]] = [
            ("platform id", found.platform_id),
            ("status", state(found.status)),
            ("message", found.message),
            ("permissions", " ".join(found.permissions)),
            ("expires in", found.token_expires_in),
        ]
        console().print(facts(rows))
    if found.status != "ok":
        raise typer.Exit(FAILED)


async def _test(text: str | None, platform_id: str) -> ConnectionCheck:
    async with open_services() as services:
        account = await options.choose_account(services.database, text)
        return await service.check_connection(services.database, services.outside, account.account_id, platform_id)


@app.command(epilog=options.examples("postpost connections remove mastodon-109876 --account ann@example.com"))
def remove(
    platform_id: PlatformId = None,
    platform: Platform = None,
    external_id: ExternalId = None,
    account: options.Account = None,
    as_json: options.AsJson = False,
) -> None:
    """Disconnect a social account; posts that still wait for it will fail."""
    named = _one_of(platform_id, platform, external_id)
    run(_remove(account, named))
    if as_json:
        print_json({"platformId": named, "removed": True})
    else:
        say(f"Removed {named}.")


def _one_of(platform_id: str | None, platform: str | None, external_id: str | None) -> str:
    """Return the compound id, given as it is or in its two parts."""
    if platform_id is not None and platform is None and external_id is None:
        return platform_id
    if platform_id is None and platform is not None and external_id is not None:
        return f"{platform}-{external_id}"
    raise typer.BadParameter("name the connection by its platform id, or with --platform and --id.")


async def _remove(text: str | None, platform_id: str) -> None:
    async with open_services() as services:
        account = await options.choose_account(services.database, text)
        if not await service.disconnect(services.database, account.account_id, platform_id):
            raise CommandError(
                f"{account.email} has no connection {platform_id!r}",
                f"`postpost connections list --account {account.account_id}` shows those it has.",
            )
