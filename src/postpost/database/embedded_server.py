"""The embedded PostgreSQL's server: makes its data, starts and finds it, stops it, clears up after a killed one."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from threading import Event
from time import monotonic
from urllib.parse import quote

import psutil

from postpost.database.embedded_place import (
    MAJOR_VERSION,
    Binaries,
    EmbeddedPostgresError,
    Place,
    ServerUser,
    digest,
    make_folder,
)

_NAME = "postpost"
"""The database, and the role that owns it."""

_PORT = 5432
"""Names the socket's file; nothing listens on TCP."""

_LONGEST_SOCKET_PATH_BYTES = 103
"""What `sun_path` of macOS holds; Linux has four bytes more."""

_PLAIN_PATH = re.compile(r"[\w/.+@-]+", re.ASCII)
"""Paths that need no quoting: PostgreSQL and asyncpg both split lists of socket folders at commas."""

_LOG_LIMIT_BYTES = 4 * 1024 * 1024
"""A log above this is set aside at the next start; one older log is kept."""

_LOG_TAIL_BYTES = 4096

_START_SECONDS = 120
"""Longest wait for a server to accept connections: after a crash it replays its write-ahead log first."""

_STOP_SECONDS = 60
_INITIALISE_SECONDS = 120
_ORPHAN_SECONDS = 5
_POLL_SECONDS = 0.05
_PROBE_SECONDS = 3
_GRACE_SECONDS = 10
"""How much longer than its own time-out a program may run before it is killed."""

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    # Every query here is short: compiling it, or sharing it among processes, costs more than it saves.
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    # Fewer checkpoints mean fewer full pages in the write-ahead log; replaying a quarter of an hour takes seconds.
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # A failed statement is told to the client, which reports it; in the log it could carry what users wrote.
    "log_min_messages": "log",
    "log_checkpoints": "off",
    "log_lock_waits": "on",
}


class Server:
    """The server of one place. Its methods expect the start lock to be held, save those that only look."""

    def __init__(self, place: Place, binaries: Binaries, settings: Mapping[str, str]) -> None:
        self.place = place
        self._binaries = binaries
        self._settings = settings

    def ensure_running(self) -> str:
        """Use the server that runs, or start one, and return its DSN."""
        if not self._is_initialised():
            self._initialise()
        if not self._wait_for_running_server():
            self._clear_leftovers()
            self._launch()
        return f"postgresql://{_NAME}@/{_NAME}?host={quote(str(self.socket_folder()))}&port={_PORT}"

    def stop(self) -> None:
        """Stop the server and wait until it has. Does nothing when none runs."""
        if self.pid() is None:
            return
        arguments = ["stop", "-s", "-w", "-m", "fast", "-t", str(_STOP_SECONDS), "-D", str(self.place.data)]
        done = self._run("pg_ctl", *arguments, seconds=_STOP_SECONDS)
        if done.returncode != 0 and self.pid() is not None:
            raise self._error(f"PostgreSQL did not stop: {done.stdout.strip()}.", "wait, then start again.")

    def pid(self) -> int | None:
        """Return the process id of the server that runs on this data; a stale `postmaster.pid` is none."""
        lines = self._pid_file_lines()
        if not lines or not lines[0].strip().isdigit():
            return None
        try:
            process = psutil.Process(int(lines[0]))
        except psutil.NoSuchProcess:
            return None
        return process.pid if _serves(process, self.place.data) else None

    def socket_folder(self) -> Path:
        """Return the folder of the running server's socket; if none runs, the one that the next server will use."""
        lines = self._pid_file_lines()
        if len(lines) > 4 and lines[4].strip():
            return Path(lines[4].strip())
        return self._new_socket_folder()

    def _new_socket_folder(self) -> Path:
        folder = self.place.folder
        path = str(folder / f".s.PGSQL.{_PORT}")
        if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH_BYTES and _PLAIN_PATH.fullmatch(path):
            return folder
        return Path(tempfile.gettempdir()).resolve() / f"postpost-{digest(folder)}"

    def end_processes(self) -> None:
        """End every process that works on this data directory; used when the server above them is gone.

        Raises EmbeddedPostgresError when one remains: two servers on one data directory would destroy it.
        """
        processes: list[psutil.Process] = []
        # SIGQUIT is PostgreSQL's "end at once"; what was committed is in the write-ahead log.
        for ending in (signal.SIGQUIT, signal.SIGKILL):
            processes = [each for each in psutil.process_iter() if _serves(each, self.place.data)]
            for process in processes:
                with suppress(psutil.Error):
                    process.send_signal(ending)
            deadline = monotonic() + _ORPHAN_SECONDS
            while processes and monotonic() < deadline:
                Event().wait(_POLL_SECONDS)
                processes = [each for each in processes if _serves(each, self.place.data)]
        if processes:
            pids = ", ".join(str(each.pid) for each in processes)
            raise self._error(f"Processes {pids} of an earlier server do not end.", "end them, then start again.")

    def _is_initialised(self) -> bool:
        data, version_file = self.place.data, self.place.data / "PG_VERSION"
        if not data.exists() or not any(data.iterdir()):
            return False
        version = version_file.read_text(encoding="ascii").strip() if version_file.is_file() else ""
        if version != MAJOR_VERSION:
            raise EmbeddedPostgresError(
                f"{data} holds " + (f"data of PostgreSQL {version}" if version else "no complete database") + ".",
                next_step="restore it from a backup, or move it away to begin with an empty database.",
            )
        return True

    def _initialise(self) -> None:
        # A server whose data directory was removed lives on for a minute, and would then remove the new one's socket.
        self.end_processes()
        for abandoned in self.place.folder.glob("data.new-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        # The name is new each time: an initdb whose parent was killed may still be writing to the abandoned one.
        fresh = self.place.folder / f"data.new-{token_hex(4)}"
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        access = [f"--username={_NAME}", "--auth-local=trust", "--auth-host=reject"]
        sync = ["--no-sync"] if self._settings.get("fsync") == "off" else []
        arguments = ["-D", str(fresh), "--no-instructions", *locale, *access, *sync]
        made = self._run("initdb", *arguments, "-c", "timezone=UTC", "-c", "log_timezone=UTC")
        if made.returncode == 0:
            alone = ["--single", "-D", str(fresh), "-c", "exit_on_error=true", *self._setting_arguments(), "postgres"]
            made = self._run("postgres", *alone, stdin=f"CREATE DATABASE {_NAME}\n")
        if made.returncode != 0:
            raise EmbeddedPostgresError(
                f"PostgreSQL could not initialise {self.place.data}: {made.stdout.strip()}",
                next_step="mend what it names (often a full disk), and start again.",
            )
        fresh.rename(self.place.data)
        _sync_folder(self.place.folder)

    def _wait_for_running_server(self) -> bool:
        """Return whether a server serves this data, after waiting for one that is just starting or stopping."""
        deadline = monotonic() + _START_SECONDS
        while self._pid_file_lines():
            # A server that listens counts even when its process is not to be seen: it may run in another container.
            is_listening = self._is_listening()
            if is_listening and self._accepts():
                return True
            if not is_listening and self.pid() is None:
                return False
            if monotonic() > deadline:
                raise self._error(
                    f"PostgreSQL (process {self.pid()}) runs but accepted no connection for {_START_SECONDS} seconds.",
                    "if its log says that it recovers, wait; if it hangs, end that process; then start again.",
                )
            Event().wait(_POLL_SECONDS)
        return False

    def _is_listening(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_PROBE_SECONDS)
            try:
                probe.connect(str(self.socket_folder() / f".s.PGSQL.{_PORT}"))
            except TimeoutError:
                return True  # Its queue of connections is full.
            except OSError:
                return False
        return True

    def _accepts(self) -> bool:
        where = ["-h", str(self.socket_folder()), "-p", str(_PORT), "-U", _NAME, "-d", _NAME]
        return self._run("pg_isready", "-q", "-t", str(_PROBE_SECONDS), *where, seconds=_PROBE_SECONDS).returncode == 0

    def _clear_leftovers(self) -> None:
        """Remove what a killed server left, which would stop a new one if its process id is in use again."""
        pid_file = self.place.data / "postmaster.pid"
        if pid_file.exists():
            # Two servers on one data directory destroy it, so first make sure that nothing of the old one is left.
            self.end_processes()
            pid_file.unlink(missing_ok=True)
        for name in (f".s.PGSQL.{_PORT}", f".s.PGSQL.{_PORT}.lock"):
            (self._new_socket_folder() / name).unlink(missing_ok=True)

    def _launch(self) -> None:
        log, sockets = self.place.log, self._new_socket_folder()
        if sockets != self.place.folder:
            self._prepare_socket_folder(sockets)
        if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
            log.rename(log.with_name(f"{log.name}.1"))
        options = shlex.join([*self._setting_arguments(), "-c", f"unix_socket_directories={sockets}"])
        where = ["-D", str(self.place.data), "-l", str(log), "-o", options]
        started = self._run("pg_ctl", "start", "-s", "-w", "-t", str(_START_SECONDS), *where, seconds=_START_SECONDS)
        # When a killed process's pg_ctl was faster, ours fails and the server runs all the same.
        if started.returncode != 0 and not self._wait_for_running_server():
            raise self._error(
                f"PostgreSQL did not start: {started.stdout.strip()}",
                "mend what the log names and start again, or set POSTPOST_DATABASE_URL.",
            )

    def _prepare_socket_folder(self, folder: Path) -> None:
        make_folder(folder, 0o700, self.place.user.owner)
        status = folder.lstat()
        if folder.is_symlink() or status.st_uid != self.place.user.uid or status.st_mode & 0o077:
            raise EmbeddedPostgresError(
                f"{folder}, the place for PostgreSQL's socket, is not {self.place.user.name}'s alone.",
                next_step="remove it, or choose a POSTPOST_HOME with a shorter, plain path.",
            )

    def _setting_arguments(self) -> list[str]:
        return [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]

    def _pid_file_lines(self) -> list[str]:
        try:
            return (self.place.data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
        except (FileNotFoundError, PermissionError):
            return []

    def _run(
        self, program: str, *arguments: str, stdin: str = "", seconds: float = _INITIALISE_SECONDS
    ) -> "subprocess.CompletedProcess[str]":
        command = [self._binaries.program(program), *arguments]
        return _run(command, folder=self.place.folder, user=self.place.user, stdin=stdin, seconds=seconds)

    def _error(self, failure: str, next_step: str) -> EmbeddedPostgresError:
        log, text = self.place.log, ""
        # A link is not followed: the server's user owns the folder, and root may be the one who reads.
        if log.is_file() and not log.is_symlink():
            text = log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()
        return EmbeddedPostgresError(failure, next_step=f"{next_step} The log is {log}.", log=text)


def reported_version(binaries: Binaries) -> str:
    """Return what the server program says of itself, such as `postgres (PostgreSQL) 18.4`."""
    command = [binaries.program("postgres"), "--version"]
    return _run(command, folder=Path("/"), user=None, stdin="", seconds=_PROBE_SECONDS).stdout.strip()


def _run(
    command: list[str], *, folder: Path, user: ServerUser | None, stdin: str, seconds: float
) -> "subprocess.CompletedProcess[str]":
    """Run a program in `folder` as `user`; standard output holds its errors too.

    It gets an environment of its own (PGPORT and the like must not reach it) and a session of its own, so that Ctrl-C
    in our terminal does not. Output goes to a file: a server that inherits a pipe would keep its reader waiting.
    """
    environment = {"HOME": str(folder), "LC_ALL": "C", "PATH": os.defpath}
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(  # noqa: S603 - programs of our own package, and no shell.
                command,
                input=stdin.encode(),
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=environment,
                start_new_session=True,
                timeout=seconds + _GRACE_SECONDS,
                check=False,
                **({} if user is None else user.process_arguments()),
            )
        except subprocess.TimeoutExpired as error:
            raise EmbeddedPostgresError(
                f"{command[0]} did not end within {error.timeout:g} seconds.",
                next_step="see whether the machine is overloaded or its disk hangs, and try again.",
            ) from error
        output.seek(0)
        text = output.read().decode(errors="replace")
    return subprocess.CompletedProcess(command, done.returncode, text)


def _serves(process: psutil.Process, data: Path) -> bool:
    """Return whether a PostgreSQL process works on `data`: the server and its children have it as working directory."""
    try:
        if not process.name().startswith("postgres") or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return str(data) in process.cmdline() or Path(process.cwd()) == data
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
