import os
import subprocess
from pathlib import Path

import pytest

from postpost.database.file_locks import drop_lock, locked, open_lock, take_lock


def test_take_lock_when_held_exclusively_then_refused(tmp_path: Path) -> None:
    with locked(tmp_path / "lock", within_seconds=1):
        other = open_lock(tmp_path / "lock")

        assert not take_lock(other)
        assert not take_lock(other, shared=True, within_seconds=0.05)
        os.close(other)


def test_take_lock_when_held_shared_then_shared_again(tmp_path: Path) -> None:
    first, second = open_lock(tmp_path / "lock"), open_lock(tmp_path / "lock")

    assert take_lock(first, shared=True)
    assert take_lock(second, shared=True)
    drop_lock(first)
    drop_lock(second)


def test_locked_when_not_freed_in_time_then_time_out(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "lock", within_seconds=1),
        pytest.raises(TimeoutError, match="held the lock"),
        locked(tmp_path / "lock", within_seconds=0.05),
    ):
        pass


def test_drop_lock_when_a_program_was_started_meanwhile_then_lock_is_free(tmp_path: Path) -> None:
    held = open_lock(tmp_path / "lock")
    assert take_lock(held)
    child = subprocess.Popen(["/bin/sleep", "60"], close_fds=False)
    drop_lock(held)

    with locked(tmp_path / "lock", within_seconds=0):
        assert child.poll() is None
    child.kill()
    child.wait(10)


def test_open_lock_when_path_is_a_link_then_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="lock"):
        open_lock(tmp_path / "lock")
