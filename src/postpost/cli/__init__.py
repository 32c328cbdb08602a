"""The command line `postpost`: the commands put together, and the program's entry."""

from typing import Annotated

import typer

from postpost import __version__
from postpost.cli import accounts, connections, demo, keys, options, posts, serve, usage
from postpost.cli.output import say
from postpost.cli.running import Commands

app = typer.Typer(
    cls=Commands,
    help="PostPost schedules posts to social platforms, publishes them, and says what became of each.",
    epilog="Settings are environment variables, POSTPOST_HOME and others: see docs/configuration.md.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"postpost {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", metavar=options.FLAG, callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    return None


serve.add_to(app)
demo.add_to(app)
app.add_typer(accounts.app, name="accounts")
app.add_typer(keys.app, name="keys")
app.add_typer(connections.app, name="connections")
app.add_typer(usage.app, name="usage")
app.add_typer(posts.app, name="posts")


def main() -> None:
    """Run the program that pyproject.toml installs as `postpost`."""
    app(prog_name="postpost")
