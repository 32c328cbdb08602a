"""What several commands share: their options, how the texts given to them are read, and which account is meant."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer

from postpost.accounts import operating
from postpost.accounts.operating import AccountView
from postpost.cli.output import CommandError
from postpost.database.pool import Database
from postpost.ids import normal_id
from postpost.platforms import CONNECTORS
from postpost.times import parse_filter_date

FLAG = ""
"""Value that the help shows for an option that takes none."""

AsJson = Annotated[bool, typer.Option("--json", metavar=FLAG, help="Print JSON for machines.")]
Account = Annotated[
    str | None,
    typer.Option("--account", metavar="ID|EMAIL", help="Whose; may be left out while there is one account only."),
]
Host = Annotated[str | None, typer.Option("--host", metavar="HOST", help="Address to listen on.", show_default=False)]
Port = Annotated[
    int | None,
    typer.Option(
        "--port", metavar="N", min=0, max=65535, help="Port to listen on; 0 is any free one.", show_default=False
    ),
]

NONE = "none"
"""What an option takes to unset a value."""

_ACCOUNT_PART = re.compile(r"[A-Za-z0-9_.:-]+")
_PLATFORM_ID = re.compile(r"[a-z]+-[A-Za-z0-9_.:-]+")


def examples(*lines: str) -> str:
    """Return the part of a command's help that shows how it is used, one example a line."""
    return "\n\n".join(["[bold]Examples[/bold]", *(line.replace("[", r"\[") for line in lines)])


def read_time(text: str) -> datetime:
    """Read a point in time; without a zone it is UTC."""
    moment = parse_filter_date(text)
    if moment is None:
        raise typer.BadParameter(f"{text!r} is no time; write it as 2031-05-04T08:30:00Z or 2031-05-04.")
    return moment


def read_text(text: str) -> str:
    """Read a text that people see: not blank, without control characters."""
    text = text.strip()
    if not text or not text.isprintable():
        raise typer.BadParameter("a text that people can read is needed.")
    return text


def read_email(text: str) -> str:
    """Read an e-mail address: as much of its form as keeps typing errors out."""
    name, _, host = text.strip().rpartition("@")
    if not name or not host or not text.isprintable() or any(one.isspace() for one in text.strip()):
        raise typer.BadParameter(f"{text!r} is no e-mail address.")
    return text.strip()


def read_platform(text: str) -> str:
    """Read the name of a platform that there is a connector for."""
    known = [connector.platform.key for connector in CONNECTORS]
    if text.lower() not in known:
        raise typer.BadParameter(f"{text!r} is no platform; known are {', '.join(known)}.")
    return text.lower()


def read_external_id(text: str) -> str:
    """Read the account part of a compound id (spec rest-api.md 1.4)."""
    if not _ACCOUNT_PART.fullmatch(text):
        raise typer.BadParameter(f"{text!r} cannot be an account's id: letters, digits and _ . : - are allowed.")
    return text


def read_platform_id(text: str) -> str:
    """Read a compound id (spec rest-api.md 1.4)."""
    if not _PLATFORM_ID.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is no platform id; it looks like mastodon-109876.")
    return text


def read_pairs(given: Sequence[str] | None, option: str) -> list[tuple[str, str]]:
    """Read a repeatable KEY=VALUE option."""
    pairs = []
    for text in given or ():
        key, equals, value = text.partition("=")
        if not key.strip() or not equals:
            raise typer.BadParameter("KEY=VALUE is expected.", param_hint=option)
        pairs.append((key.strip(), value))
    return pairs


async def choose_account(database: Database, text: str | None) -> AccountView:
    """Return the account with this id or e-mail address, or the only one there is. Raises CommandError."""
    found = await operating.find_accounts(database, text)
    if len(found) == 1:
        return found[0]
    listing = "`postpost accounts list` shows them."
    if text is None and not found:
        raise CommandError("There is no account yet", "`postpost accounts create --email you@example.com` makes one.")
    if text is None:
        raise CommandError("There are several accounts", f"say which one with --account ID|EMAIL; {listing}")
    if not found:
        raise CommandError(f"There is no account {text!r}", listing)
    ids = ", ".join(account.account_id for account in found)
    raise CommandError(f"Several accounts have the address {text}: {ids}", "name one of them by its id.")


def named(argument: str | None, option: str | None) -> str | None:
    """Return which account is meant where it may be given as an argument or with --account."""
    if argument is not None and option is not None:
        raise typer.BadParameter("name the account once, as an argument or with --account.")
    return argument if option is None else option


def group_id_of(text: str) -> str:
    """Return the id of a post group in lower case. Raises CommandError for what is no id."""
    group_id = normal_id(text)
    if group_id is None:
        raise CommandError(f"{text!r} is no id of a post group: that has 24 hex digits", "`postpost posts list`.")
    return group_id
