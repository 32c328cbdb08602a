"""The embedded PostgreSQL: a server under POSTPOST_HOME that the processes of one installation share."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

from postpost.database.embedded_place import (
    SYSTEM_FOLDER,
    EmbeddedPostgresError,
    choose_place,
    find_binaries,
    make_home,
    prepare_place,
    usable_binaries,
)
from postpost.database.embedded_server import SETTINGS, Server, reported_version
from postpost.database.file_locks import drop_lock, locked, open_lock, take_lock

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]

_LOCK_SECONDS = 300
"""Longest wait for another process that makes, starts or stops the server; each of the three has its own limit."""


class EmbeddedPostgres:
    """A use of the embedded server of one home: from `start` to `close` the server runs.

    Any number of processes, and of objects in one process, may use the same server; the last one that closes stops
    it. A process that is killed counts as gone at once; a server that nobody closed is used again by the next start.
    As root the server runs as an unprivileged user, see `postpost.database.embedded_place`.
    """

    def __init__(self, home: Path, *, options: Mapping[str, str] = {}, system_folder: Path = SYSTEM_FOLDER) -> None:
        """Prepare, without touching anything.

        `options` are server settings for a server that has to be started; one that runs already keeps its own.
        `system_folder` is where root's data and binaries go when the server's user cannot reach `home`.
        """
        self._home = home.resolve()
        self._settings = {**SETTINGS, **options}
        self._system_folder = system_folder.resolve()
        self._mutex = Lock()
        self._server: Server | None = None
        self._use: int | None = None

    def start(self) -> str:
        """Make sure that the server runs and return its DSN. Blocks; a home's first start also makes the database.

        Calling it again is allowed: a server that has died in the meantime is started again.
        Raises EmbeddedPostgresError with the reason, the end of the server's log and what to do.
        """
        _refuse_windows()
        with self._mutex, self._explained("start"):
            make_home(self._home)
            place = choose_place(self._home, self._system_folder)
            prepare_place(self._home, place)
            binaries = usable_binaries(find_binaries(), place.user, self._system_folder)
            self._server = Server(place, binaries, self._settings)
            return self._join(self._server)

    def close(self) -> None:
        """End this use, and stop the server unless somebody else uses it. Does nothing when not started.

        Raises EmbeddedPostgresError when the server does not stop in time; it goes on stopping.
        """
        with self._mutex, self._explained("stop"):
            if self._use is None or self._server is None:
                return
            drop_lock(self._use)
            self._use = None
            place = self._server.place
            if not place.folder.is_dir():
                # Somebody removed the whole folder; its server has nothing left to serve.
                self._server.end_processes()
                return
            with locked(place.start_lock, within_seconds=_LOCK_SECONDS, owner=place.user.owner):
                others = open_lock(place.users_lock, place.user.owner)
                try:
                    if take_lock(others):
                        self._server.stop()
                finally:
                    drop_lock(others)

    def describe(self) -> dict[str, str]:
        """Return what `postpost doctor` shows: folders, system user, version and state. Starts and changes nothing.

        Raises EmbeddedPostgresError when the place or the binaries are not usable.
        """
        _refuse_windows()
        with self._explained("be described"):
            binaries = find_binaries()
            server = Server(choose_place(self._home, self._system_folder), binaries, self._settings)
            pid = server.pid()
            return {
                "data": str(server.place.data),
                "socket": str(server.socket_folder()),
                "log": str(server.place.log),
                "user": server.place.user.name,
                "version": f"{reported_version(binaries)}, wheel {binaries.version}",
                "server": "not running" if pid is None else f"running as process {pid}",
            }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _join(self, server: Server) -> str:
        place = server.place
        with ExitStack() as undo, locked(place.start_lock, within_seconds=_LOCK_SECONDS, owner=place.user.owner):
            use = self._use
            if use is None:
                use = open_lock(place.users_lock, place.user.owner)
                undo.callback(drop_lock, use)
                # Only a process that holds the start lock, as we do, takes this one exclusively: it must be free.
                if not take_lock(use, shared=True):
                    raise BlockingIOError(f"another program has locked {place.users_lock}")
            dsn = server.ensure_running()
            self._use = use
            undo.pop_all()
        return dsn

    @contextmanager
    def _explained(self, action: str) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise EmbeddedPostgresError(
                f"PostgreSQL could not {action}: {error}.",
                next_step="find that process (fuser names it), end it if it hangs, and try again.",
            ) from error
        except OSError as error:
            raise EmbeddedPostgresError(
                f"PostgreSQL could not {action}: {error}.",
                next_step=f"check the permissions and free space of {self._home}, or set POSTPOST_DATABASE_URL.",
            ) from error


def _refuse_windows() -> None:
    if sys.platform == "win32":
        raise EmbeddedPostgresError(
            "The embedded PostgreSQL does not run on Windows.",
            next_step="set POSTPOST_DATABASE_URL to a PostgreSQL of your own, or use WSL.",
        )
