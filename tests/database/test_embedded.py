import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import psutil
import pytest

from postpost.database.embedded import EmbeddedPostgres, EmbeddedPostgresError

FAST = {"fsync": "off"}
IS_ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not IS_ROOT, reason="needs root")

USER_OF_THE_SERVER = """
import sys
from pathlib import Path
from postpost.database.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), options={"fsync": "off"},
                          system_folder=Path(sys.argv[2]))
print(server.start(), flush=True)
sys.stdin.readline()
server.close()
"""


@contextmanager
def open_ground() -> Iterator[Path]:
    """A folder that everybody can pass through, with a path short enough for a socket; nothing of it is left behind."""
    folder = Path(tempfile.mkdtemp(prefix="pp-")).resolve()
    folder.chmod(0o755)
    yield folder
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and process.cwd().startswith(str(folder)):
                process.kill()
                process.wait(10)
        except psutil.Error:
            continue
    shutil.rmtree(folder)


@pytest.fixture
def ground() -> Iterator[Path]:
    with open_ground() as folder:
        yield folder


@pytest.fixture
def new_home(ground: Path) -> Path:
    return ground / "home"


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home that the tests of this module share, each of which leaves its server stopped: making one is slow."""
    with open_ground() as folder:
        with embedded(folder / "home"):
            pass
        yield folder / "home"


@pytest.fixture
def own_home(home: Path, ground: Path) -> Path:
    """A copy of that home, for a test that damages it."""
    subprocess.run(["cp", "-a", home, ground / "home"], check=True)
    return ground / "home"


def embedded(home: Path, **options: str) -> EmbeddedPostgres:
    return EmbeddedPostgres(home, options={**FAST, **options}, system_folder=home.parent / "system")


def ask(dsn: str, *statements: str) -> Any:
    """Run statements on a connection of their own and return the last one's first value."""

    async def run() -> Any:
        connection = await asyncpg.connect(dsn)
        try:
            for statement in statements:
                value = await connection.fetchval(statement)
            return value
        finally:
            await connection.close()

    return asyncio.run(run())


def pid_of(home: Path) -> int | None:
    state = embedded(home).describe()["server"]
    return int(state.split()[-1]) if state.startswith("running") else None


def running_pid(home: Path) -> int:
    pid = pid_of(home)
    assert pid is not None
    return pid


def wait_until_stopped(home: Path) -> None:
    deadline = monotonic() + 20
    while pid_of(home) is not None:
        assert monotonic() < deadline
        Event().wait(0.02)


def lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def start_user(home: Path) -> "subprocess.Popen[str]":
    """Start a process that uses the server until it is told to close it; return when it is connected."""
    command = [sys.executable, "-c", USER_OF_THE_SERVER, str(home), str(home.parent / "system")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("postgresql://")
    return process


def test_start_when_home_is_new_then_database_answers(new_home: Path) -> None:
    with embedded(new_home) as server:
        found = ask(server.start(), "SELECT current_user || ' ' || current_database() || ' ' || lower('ÀÉ')")

    assert found == "postpost postpost àé"


def test_start_when_settings_are_asked_for_then_server_has_them(home: Path) -> None:
    with embedded(home, max_connections="33") as server:
        assert ask(server.start(), "SHOW max_connections") == "33"


def test_start_when_stopped_before_then_data_is_kept(home: Path) -> None:
    with embedded(home) as server:
        ask(server.start(), "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")

    with embedded(home) as server:
        assert ask(server.start(), "SELECT n FROM kept") == 7


def test_start_when_server_runs_then_it_is_used(home: Path) -> None:
    with embedded(home) as first:
        before = running_pid(home)
        with embedded(home) as second:
            assert second.start() == first.start()
            assert running_pid(home) == before


def test_start_when_several_start_a_new_home_at_once_then_they_share_one_server(new_home: Path) -> None:
    servers = [embedded(new_home) for _ in range(3)]
    with ThreadPoolExecutor() as threads:
        dsns = set(threads.map(lambda server: server.start(), servers))
    for server in servers:
        assert pid_of(new_home) is not None
        server.close()

    assert len(dsns) == 1
    assert pid_of(new_home) is None


def test_close_when_another_process_uses_the_server_then_only_the_last_stops_it(home: Path) -> None:
    with embedded(home) as server:
        user = start_user(home)
        before = running_pid(home)
        server.close()

        assert running_pid(home) == before
        user.communicate("\n", timeout=20)
    assert user.returncode == 0
    assert pid_of(home) is None


def test_start_when_the_using_process_was_killed_then_its_server_is_used_and_stopped(home: Path) -> None:
    user = start_user(home)
    before = running_pid(home)
    user.kill()
    user.communicate(timeout=20)

    with embedded(home):
        assert running_pid(home) == before
    assert pid_of(home) is None


def test_start_when_the_server_was_killed_then_it_recovers(home: Path) -> None:
    server = embedded(home)
    ask(server.start(), "CREATE TABLE survived (n int)", "INSERT INTO survived VALUES (7)")
    killed = running_pid(home)
    os.kill(killed, signal.SIGKILL)
    wait_until_stopped(home)

    assert ask(server.start(), "SELECT n FROM survived") == 7
    assert running_pid(home) != killed
    server.close()
    assert pid_of(home) is None


def test_start_when_process_id_of_a_killed_server_is_another_program_then_it_starts(home: Path) -> None:
    data = Path(embedded(home).describe()["data"])
    owner = data.stat()
    identity: dict[str, Any] = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if IS_ROOT else {}
    other = subprocess.Popen(["/bin/sleep", "60"], cwd="/", **identity)
    folder = data.parent
    lines = f"{other.pid}\n{data}\n1700000000\n5432\n{folder}\n\n  5432001 7\nready   \n"
    for stale in (data / "postmaster.pid", folder / ".s.PGSQL.5432.lock"):
        stale.write_text(lines)
        os.chown(stale, owner.st_uid, owner.st_gid)

    with embedded(home) as server:
        assert ask(server.start(), "SELECT 1") == 1
        assert running_pid(home) != other.pid
    assert other.poll() is None
    other.kill()
    other.wait(10)


def test_start_when_initialising_was_interrupted_then_it_begins_again(own_home: Path) -> None:
    data = Path(embedded(own_home).describe()["data"])
    half_made = data.with_name("data.new-0badcafe")
    data.rename(half_made)
    (half_made / "global" / "pg_control").unlink()

    with embedded(own_home) as server:
        assert ask(server.start(), "SELECT 1") == 1
    assert not half_made.exists()


def test_start_when_data_was_removed_under_a_running_server_then_that_server_is_ended(own_home: Path) -> None:
    abandoned = embedded(own_home)
    abandoned.start()
    old = running_pid(own_home)
    shutil.rmtree(embedded(own_home).describe()["data"])

    with embedded(own_home) as server:
        assert ask(server.start(), "SELECT 1") == 1
        assert not lives(old)
        abandoned.close()


def test_start_when_data_is_damaged_then_it_is_left_alone(own_home: Path) -> None:
    data = Path(embedded(own_home).describe()["data"])
    (data / "PG_VERSION").unlink()

    with pytest.raises(EmbeddedPostgresError, match=r"no complete database.*\n.*restore it from a backup"):
        embedded(own_home).start()
    assert (data / "base").is_dir()


def test_start_when_folders_are_private_then_their_permissions_stay(new_home: Path) -> None:
    new_home.mkdir(mode=0o700)
    new_home.parent.chmod(0o711)
    above = new_home.parent / "above"
    above.mkdir(mode=0o700)
    private = above / "home"
    private.mkdir(mode=0o700)
    folders = (private, *private.parents)
    before = [(each.stat().st_mode, each.stat().st_uid, each.stat().st_gid) for each in folders]

    with EmbeddedPostgres(private, options=FAST, system_folder=new_home.parent / "system") as server:
        assert ask(server.start(), "SELECT 1") == 1
    assert [(each.stat().st_mode, each.stat().st_uid, each.stat().st_gid) for each in folders] == before


@as_root
def test_start_when_root_then_the_server_is_not(home: Path) -> None:
    with embedded(home):
        process = psutil.Process(running_pid(home))

        assert 0 not in process.uids()
        assert 0 not in process.gids()


def test_start_then_nothing_listens_on_tcp(home: Path) -> None:
    with embedded(home) as server:
        assert ask(server.start(), "SHOW listen_addresses") == ""
        assert psutil.Process(running_pid(home)).net_connections("inet") == []


def test_start_then_only_the_user_of_the_server_reaches_its_folder_and_socket(home: Path) -> None:
    with embedded(home):
        described = embedded(home).describe()
        folder = Path(described["socket"])
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / ".s.PGSQL.5432")]

    assert modes == [0o700, 0o700]


def test_start_then_ctrl_c_in_the_terminal_does_not_reach_the_server(home: Path) -> None:
    with embedded(home):
        assert os.getsid(running_pid(home)) != os.getsid(0)


def test_start_when_path_is_too_long_for_a_socket_then_socket_is_in_a_private_folder(ground: Path) -> None:
    home = ground / ("long" * 20) / "and, with a comma" / "home"
    server = EmbeddedPostgres(home, options=FAST, system_folder=ground / "system")
    with server:
        folder = Path(server.describe()["socket"])
        assert ask(server.start(), "SELECT 1") == 1

        assert not folder.is_relative_to(home)
        assert parse_qs(urlsplit(server.start()).query)["host"] == [str(folder)]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.rmdir()


def test_start_when_the_server_refuses_then_error_holds_its_log_and_a_next_step(home: Path) -> None:
    with pytest.raises(EmbeddedPostgresError) as caught:
        embedded(home, shared_buffers="nonsense").start()
    assert 'invalid value for parameter "shared_buffers"' in caught.value.log
    assert "Next step: mend what the log names" in str(caught.value)


def test_start_when_the_log_is_large_then_it_is_set_aside(own_home: Path) -> None:
    log = Path(embedded(own_home).describe()["log"])
    with log.open("ab") as file:
        file.truncate(5 * 1024 * 1024)

    with embedded(own_home):
        assert log.stat().st_size < 10_000
        assert log.with_name("server.log.1").stat().st_size == 5 * 1024 * 1024


def test_close_when_the_folder_was_removed_then_the_server_is_ended(own_home: Path) -> None:
    server = embedded(own_home)
    server.start()
    pid, place = running_pid(own_home), Path(server.describe()["socket"])
    shutil.rmtree(place)

    server.close()
    assert not lives(pid)


def test_close_when_never_started_then_nothing_is_made(new_home: Path) -> None:
    embedded(new_home).close()

    assert not new_home.exists()


def test_describe_when_never_started_then_nothing_is_made(new_home: Path) -> None:
    described = embedded(new_home).describe()

    assert described["data"] == str(new_home / "postgres" / "data")
    assert described["server"] == "not running"
    assert "PostgreSQL) 18" in described["version"]
    assert not new_home.exists()


def test_start_when_the_server_was_stopped_by_a_signal_meanwhile_then_it_starts_again(home: Path) -> None:
    with embedded(home) as server:
        stopped = psutil.Process(running_pid(home))
        stopped.send_signal(signal.SIGINT)

        assert ask(server.start(), "SELECT 1") == 1
        assert running_pid(home) != stopped.pid
