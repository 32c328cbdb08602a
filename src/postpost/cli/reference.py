"""The commands as documentation: the part of docs/cli.md that is generated from the program itself."""

from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

TABLE_BEGINS = "<!-- The commands: generated from postpost.cli, do not edit by hand. -->"
TABLE_ENDS = "<!-- End of the commands. -->"


def commands(app: typer.Typer) -> Iterator[tuple[str, Any]]:
    """Yield every command with the words that call it, groups left out, in the order of the help."""
    yield from _below("postpost", get_command(app))


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for word, one in inner.items():
        yield from _below(f"{name} {word}", one)


def with_commands(page: str, app: typer.Typer) -> str:
    """Return the documentation page with the part between its two marks written anew."""
    before, _, rest = page.partition(TABLE_BEGINS)
    _, _, after = rest.partition(TABLE_ENDS)
    return f"{before}{TABLE_BEGINS}\n\n{_table(app)}\n\n{TABLE_ENDS}{after}"


def _table(app: typer.Typer) -> str:
    lines = ["| command | options | what it does |", "| - | - | - |"]
    for name, command in commands(app):
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        given = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
        call = " ".join([name, *(_argument(each) for each in arguments)])
        options = ", ".join(f"`{_option(each)}`" for each in given if each.name != "help")
        lines.append(f"| `{_safe(call)}` | {_safe(options)} | {_safe(' '.join((command.help or '').split()))} |")
    return "\n".join(lines)


def _argument(argument: Any) -> str:
    shown = str(argument.metavar)
    return shown if argument.required else f"[{shown}]"


def _option(option: Any) -> str:
    names = "/".join([option.opts[0], *option.secondary_opts])
    value = f" {option.metavar}" if option.metavar else ""
    return f"{names}{value}"


def _safe(text: str) -> str:
    """Keep a `|` from ending a cell of the table."""
    return text.replace("|", r"\|")
