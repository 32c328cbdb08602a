"""How a command runs: its event loop, the process's services, and the boundary where failures become sentences."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import typer
from typer.core import TyperGroup

from postpost import logs
from postpost.accounts.service import KeyLimitError
from postpost.cli.output import CommandError, fail
from postpost.config import ConfigError, LogLevel, Settings
from postpost.database.embedded import EmbeddedPostgresError
from postpost.database.migrate import fetch_revision, head_revision
from postpost.database.pool import Database
from postpost.errors import ApiError, LimitExceeded
from postpost.platforms.base import PlatformError
from postpost.runtime import PortError, open_process
from postpost.services import Services
from postpost.vault import VaultError

if sys.platform != "win32":
    import uvloop

T = TypeVar("T")

FAILED = 1
TERMINATED = 128 + signal.SIGTERM

_DOCTOR = "`postpost doctor` says what is wrong."


class Commands(TyperGroup):
    """The program itself: the boundary at which every expected failure becomes a sentence and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command. What nobody expected keeps its traceback: it is a fault of ours."""
        try:
            return super().invoke(ctx)
        except asyncio.CancelledError:
            raise typer.Exit(TERMINATED) from None
        except Exception as error:
            sentence = sentence_of(error)
            if sentence is None:
                raise
            fail(logs.scrub(sentence))
            raise typer.Exit(FAILED) from error


def own_command() -> str:
    """Return how this program is called: by its name where the shell finds it, else by its path."""
    here = Path(sys.argv[0])
    if shutil.which("postpost") is not None or not here.is_file():
        return "postpost"
    return os.path.relpath(here)


def sentence_of(error: Exception) -> str | None:
    """Return what to tell the operator about a failure, None for one that nobody expected."""
    match error:
        case CommandError() | EmbeddedPostgresError():
            return str(error)
        case ConfigError():
            return "; ".join(error.problems) + ". Next step: correct the settings, see docs/configuration.md."
        case PortError():
            return f"{error}. Next step: choose another port with --port, 0 for any free one."
        case VaultError():
            return f"{error}. Next step: {_DOCTOR}"
        case KeyLimitError():
            return "The account has ten active keys. Next step: revoke one with `postpost keys revoke`."
        case LimitExceeded():
            return f"{error.facts.message}. Next step: change the plan with `postpost accounts set`."
        case ApiError():
            return f"{error.error}."
        case PlatformError():
            status = f" (status {error.status})" if error.status else ""
            return f"The platform says: {error.message}{status}."
        case asyncpg.PostgresError() | asyncpg.InterfaceError():
            return f"The database does not do what it should: {_one_line(error)}. Next step: {_DOCTOR}"
        case OSError() if error.filename is not None:
            return f"{error.filename} cannot be used: {error.strerror}. Next step: {_DOCTOR}"
        case OSError():
            # Calls to platforms have failures of their own above; what else is reached over a network is the database.
            return f"The database cannot be reached: {_one_line(error)}. Next step: {_DOCTOR}"
        case _:
            return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _new_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    return asyncio.new_event_loop if sys.platform == "win32" else uvloop.new_event_loop


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work to its end in an event loop of its own; SIGTERM cancels it, so that it cleans up."""
    with asyncio.Runner(loop_factory=_new_loop()) as runner:
        return runner.run(_cancelled_by_signal(work))


async def _cancelled_by_signal(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.current_task()
    assert task is not None
    if sys.platform != "win32":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work


def load_settings(*, quiet: bool) -> Settings:
    """Read the settings and send the log to standard error; `quiet` leaves out all below a warning."""
    settings = Settings.load()
    noisy = settings.log_level in (LogLevel.DEBUG, LogLevel.INFO)
    logs.configure(settings.log_format, LogLevel.WARNING if quiet and noisy else settings.log_level)
    return settings


async def require_schema(database: Database) -> None:
    """Refuse to work on a database whose schema is not the one that this version needs. Raises CommandError."""
    async with database.connection() as connection:
        found = await fetch_revision(connection)
    needed = head_revision()
    if found is None or found < needed:
        stands = "is empty" if found is None else f"stands at revision {found}"
        raise CommandError(f"The database {stands}, this version needs {needed}", "run `postpost migrate`.")
    if found > needed:
        raise CommandError(
            f"The database stands at revision {found}, newer than this version's {needed}",
            "upgrade PostPost to the version that migrated it.",
        )


@asynccontextmanager
async def open_services() -> AsyncIterator[Services]:
    """Lend an operator's command what it works with, on a database that it does not change the schema of."""
    async with open_process(load_settings(quiet=True), migrated=False) as services:
        await require_schema(services.database)
        yield services
