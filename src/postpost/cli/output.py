"""What commands write: tables and sentences for people, JSON for machines, and the one form of an error."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE_COLUMNS = 200
"""Width of tables that go to a file or a pipe: nobody's window cuts them there."""


class CommandError(Exception):
    """A command cannot do what it was asked; the text says why in one sentence and what to do next."""

    def __init__(self, problem: str, next_step: str) -> None:
        super().__init__(f"{problem}. Next step: {next_step}")
        self.problem = problem
        self.next_step = next_step


def console() -> Console:
    """Return a console on standard output as it is now. Text is never read as markup."""
    width = None if sys.stdout.isatty() else WIDE_COLUMNS
    return Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)


def print_json(value: Any) -> None:
    """Write one line of JSON to standard output, at once."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def say(text: str = "") -> None:
    """Write a line for people to standard output; long lines are not broken, so that they can be copied."""
    typer.echo(plain(text, keep_lines=True))


def hint(text: str) -> None:
    """Write a line for people to standard error, out of the way of what a command answers."""
    typer.echo(plain(text, keep_lines=True), err=True)


def fail(text: str) -> None:
    """Write why a command failed to standard error."""
    typer.secho("Error: ", fg=typer.colors.RED, bold=True, err=True, nl=False)
    typer.echo(plain(text, keep_lines=True), err=True)


def plain(text: str, *, keep_lines: bool = False) -> str:
    """Return the text without control characters: what platforms and users wrote must not steer a terminal."""
    kept = "\n" if keep_lines else ""
    return "".join(one if one.isprintable() or one in kept else "\N{REPLACEMENT CHARACTER}" for one in text)


def cell(value: object) -> Text:
    """Return a value as it stands in a table."""
    if value is None or value == "":
        return Text("-", style="dim")
    if isinstance(value, Text):
        return value
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    return Text(plain(" ".join(str(value).split())))


_STYLES = {
    "published": "green",
    "ok": "green",
    "valid": "green",
    "active": "green",
    "failed": "red",
    "expired": "red",
    "error": "red",
    "inactive": "red",
    "partially_published": "yellow",
    "pending": "yellow",
    "processing": "yellow",
    "warning": "yellow",
    "on hold": "yellow",
    "expiring_soon": "yellow",
}


def state(word: str) -> Text:
    """Return a state in its colour."""
    return Text(word, style=_STYLES.get(word, ""))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, whole: Sequence[str] = ()) -> Table:
    """Return a table with these columns; those in `whole` are never broken into lines."""
    made = Table(header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column in whole)
    for row in rows:
        made.add_row(*(cell(value) for value in row))
    return made


def facts(rows: Iterable[tuple[str, object]]) -> Table:
    """Return names and values in two columns, without lines."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, cell(value))
    return made


def show(columns: Sequence[str], rows: Sequence[Sequence[object]], *, none: str) -> None:
    """Print a table, or the sentence `none` where it would be empty."""
    if rows:
        console().print(table(columns, rows))
    else:
        say(none)
