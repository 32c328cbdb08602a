"""Locks on files, between processes: the kernel lets go of a lock when its process ends, however it ends."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from time import monotonic

if sys.platform != "win32":
    import fcntl

_POLL_SECONDS = 0.02


def open_lock(path: Path, owner: tuple[int, int] | None = None) -> int:
    """Open a lock file and return its descriptor, which programs started by this process do not inherit.

    A missing file is made, and given to `owner` (user and group id). A symbolic link is refused (OSError): root must
    not be led to another file by the user who owns the folder.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags)
    if owner is not None:
        os.fchown(descriptor, *owner)
    return descriptor


def take_lock(descriptor: int, *, shared: bool = False, within_seconds: float = 0) -> bool:
    """Try to lock an open lock file until the time is up; return whether it is ours."""
    operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    deadline = monotonic() + within_seconds
    while True:
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            if monotonic() >= deadline:
                return False
            Event().wait(_POLL_SECONDS)
        else:
            return True


def drop_lock(descriptor: int) -> None:
    """Unlock and close. Closing alone would leave the lock to a child that is between fork and exec just now."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


@contextmanager
def locked(path: Path, *, within_seconds: float, owner: tuple[int, int] | None = None) -> Iterator[None]:
    """Hold a lock file exclusively. Raises TimeoutError when another process does not let go of it in time."""
    descriptor = open_lock(path, owner)
    try:
        if not take_lock(descriptor, within_seconds=within_seconds):
            raise TimeoutError(f"Another process has held the lock {path} for {within_seconds:g} seconds")
        yield
    finally:
        drop_lock(descriptor)
