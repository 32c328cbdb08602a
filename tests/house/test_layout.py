"""House rules 1, 3, 6, 27, 31 and 35: sizes, rooms, registries, how tests are named and found, decisions."""

import ast
import re
from pathlib import Path

import pytest

from postpost.platforms import CONNECTORS
from tests.house.source import (
    PACKAGE,
    ROOT,
    TESTS,
    dotted,
    name_of,
    nodes,
    none_found,
    place,
    python_files,
    text_of,
    tree_of,
)

MODULE_LINES, CONNECTOR_LINES, TEST_LINES = 400, 600, 600

LONGER: dict[str, str] = {}
"""Files that may be longer, each with the reason."""

WINGS = {"accounts", "connections", "posts", "publishing"}

ROOMS = {
    "routes": "HTTP in and out",
    "service": "use cases",
    "operating": "use cases of the operator's commands",
    "store": "SQL",
    "rules": "pure decisions",
    "jobs": "queue jobs",
}
"""Names that mean the same in every wing; a wing has the rooms that it needs, and modules named by what they own."""

VAGUE = re.compile(r"^(?:utils?|helpers?|common|misc|base_.*|core|shared|manager|stuff)$")

PLATFORM_HELPERS = {
    "answers": "reading what platforms answer, shared by the connectors",
    "base": "the contract",
    "limits": "what each platform accepts, as data",
    "telegram_markup": "Telegram's text format, needed by validation before there is a connector",
}
"""Files in platforms/ that are no connector."""

MAY_SLEEP = {
    "tests/eventually.py": "the one place that waits, with a deadline",
    "tests/publishing/test_run_changes.py": "spreads changes over the moment at which posts become due",
    "tests/platforms/test_contract.py": "waits for the engine's clock between two looks, with a deadline",
}


def test_files_when_measured_then_none_is_too_long() -> None:
    none_found(
        f"{name_of(path)} has {lines} lines, {most} are allowed"
        for folder in (PACKAGE, TESTS, ROOT / "bench")
        for path in python_files(folder)
        if (lines := len(text_of(path).splitlines())) > (most := _most_lines(path)) and name_of(path) not in LONGER
    )


def test_modules_when_opened_then_begin_with_one_sentence() -> None:
    found = []
    for path in python_files(PACKAGE):
        said = (ast.get_docstring(tree_of(path)) or "").partition("\n\n")[0]
        if not said.endswith("."):
            found.append(f"{name_of(path)} opens with {said!r}")
    none_found(found)


def test_modules_when_named_then_say_what_they_own() -> None:
    none_found(
        name_of(path) for path in python_files(PACKAGE) if VAGUE.match(path.stem) and path.parent.name != "platforms"
    )


@pytest.mark.parametrize("wing", sorted(WINGS))
def test_wing_when_it_has_sql_then_it_has_a_store_and_a_docstring(wing: str) -> None:
    folder = PACKAGE / wing
    assert (folder / "store.py").is_file()
    assert ast.get_docstring(tree_of(folder / "__init__.py"))


def test_rooms_when_listed_then_stand_in_wings_only() -> None:
    none_found(
        name_of(path)
        for path in python_files(PACKAGE)
        if path.stem in ROOMS and path.stem != "rules" and path.parent.name not in WINGS
    )


def test_platform_files_when_listed_then_are_in_the_tuple_or_known_helpers() -> None:
    connectors = {type(connector).__module__.rpartition(".")[2] for connector in CONNECTORS}
    files = {path.stem for path in python_files(PACKAGE / "platforms")} - {"__init__"}
    assert files - set(PLATFORM_HELPERS) == connectors
    none_found(set(PLATFORM_HELPERS) - files, rule="helpers that are gone")


def test_platforms_when_they_have_a_connector_then_they_have_a_look_alike_and_tests() -> None:
    keys = [connector.platform.key for connector in CONNECTORS]
    wanted = [
        path
        for key in keys
        for path in (
            PACKAGE / "platforms" / f"{key}.py",
            PACKAGE / "sandbox" / f"{key}.py",
            TESTS / "platforms" / f"test_{key}.py",
            TESTS / "sandbox" / f"test_{key}.py",
        )
    ]
    none_found(name_of(path) for path in wanted if not path.is_file())


def test_test_files_when_listed_then_mirror_a_module_or_say_what_they_promise() -> None:
    none_found(
        f"{name_of(path)} mirrors no module and has no docstring"
        for path in _test_files()
        if not _mirrors(path) and not ast.get_docstring(tree_of(path))
    )


def test_tests_when_written_then_are_collected() -> None:
    none_found(
        place(path, node)
        for path, node in nodes(TESTS)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not path.name.startswith("test_")
    )


def test_test_files_when_listed_then_hold_tests() -> None:
    none_found(
        name_of(path) for path in _test_files() if not re.search(r"^\s*(?:async )?def test_", text_of(path), re.M)
    )


def test_tests_when_named_then_say_what_and_then_what() -> None:
    none_found(
        f"{place(path, node)} {node.name}"
        for path, node in nodes(TESTS)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and "_then_" not in node.name
    )


def test_tests_when_they_wait_then_poll_with_a_deadline() -> None:
    none_found(
        place(path, node)
        for path, node in nodes(TESTS)
        if isinstance(node, ast.Call)
        and dotted(node.func)[-1:] == ["sleep"]
        # To sleep for no time is to give others their turn.
        and not (isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
        and name_of(path) not in MAY_SLEEP
    )


def test_tests_when_read_then_mock_nothing() -> None:
    none_found(
        place(path, node)
        for path, node in nodes(TESTS)
        if isinstance(node, ast.Import | ast.ImportFrom)
        and any("mock" in name for name in [getattr(node, "module", "") or "", *(alias.name for alias in node.names)])
    )


def test_decisions_when_listed_then_are_numbered_one_by_one_and_have_every_part() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [page.name[:5] for page in pages] == [f"{number:04d}-" for number in range(1, len(pages) + 1)]
    parts = ("## Context", "## Decision", "## Consequences", "## Alternatives", "## Check")
    none_found(
        f"{page.name} lacks {part}" for page in pages for part in parts if f"\n{part}\n" not in page.read_text("utf-8")
    )


def _most_lines(path: Path) -> int:
    if not path.is_relative_to(PACKAGE):
        return TEST_LINES
    return CONNECTOR_LINES if path.parent.name == "platforms" else MODULE_LINES


def _test_files() -> list[Path]:
    return [path for path in python_files(TESTS) if path.name.startswith("test_")]


def _mirrors(path: Path) -> bool:
    mirrored = PACKAGE / path.parent.relative_to(TESTS) / path.name.removeprefix("test_")
    return mirrored.is_file() or mirrored.with_suffix("").is_dir()
