"""The tree of the project as data: files, syntax trees and comments, for the tests of the house rules."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "postpost"
TESTS = ROOT / "tests"


def python_files(folder: Path) -> list[Path]:
    """Return the Python files below a folder, sorted."""
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def name_of(path: Path) -> str:
    """Return a file's path as messages and exception lists write it: from the root, with slashes."""
    return path.relative_to(ROOT).as_posix()


@cache
def text_of(path: Path) -> str:
    return path.read_text("utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path), str(path))


def place(path: Path, node: ast.AST) -> str:
    """Return `file:line` of a node."""
    return f"{name_of(path)}:{getattr(node, 'lineno', 1)}"


def nodes(folder: Path) -> Iterator[tuple[Path, ast.AST]]:
    """Yield every node of every Python file below a folder."""
    for path in python_files(folder):
        for node in ast.walk(tree_of(path)):
            yield path, node


def is_store(path: Path) -> bool:
    return path.name.startswith("store")


def dotted(node: ast.AST) -> list[str]:
    """Return the names in an attribute chain, calls looked through: `a.b(c).d` is a, b, d."""
    match node:
        case ast.Name(id=name):
            return [name]
        case ast.Attribute(value=value, attr=attr):
            return [*dotted(value), attr]
        case ast.Call(func=func):
            return dotted(func)
        case _:
            return []


def comment_above(path: Path, line: int) -> str:
    """Return the comment that ends right above a line (counted from 1), without its marks."""
    lines = text_of(path).splitlines()
    first = line - 1
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return " ".join(text.strip().removeprefix("#").strip() for text in lines[first : line - 1])


def none_found(found: Iterable[str], *, rule: str = "breaks the rule") -> None:
    """Fail with every finding on a line of its own."""
    findings = sorted(found)
    assert not findings, "\n".join([f"{rule}:", *findings])
