"""House rules 4, 5 and 9: platform names stay where they belong, one word per thing, imports as agreed."""

import ast
import re
from pathlib import Path

import pytest

from postpost.platforms.limits import PLATFORMS
from tests.house.source import PACKAGE, ROOT, name_of, nodes, none_found, place, python_files, text_of

KEYS = "|".join(limits.key for limits in PLATFORMS)
PLATFORM_ID = re.compile(rf"^(?:{KEYS})(?:-.*)?$")

NAMES_PLATFORMS = {
    "src/postpost/platforms/": "where platforms are",
    "src/postpost/sandbox/": "their look-alikes",
    "src/postpost/cli/demo_story.py": "the posts of the demonstration",
    "src/postpost/accounts/plans.py": "Starter has every platform but one (spec plans.md 2)",
    "src/postpost/posts/routes.py": "examples in the OpenAPI document",
    "src/postpost/posts/settings.py": "the table of platformSettings (spec platform-rules.md 8)",
    "src/postpost/posts/text.py": "how three platforms count text (spec platform-rules.md 3.3)",
    "src/postpost/posts/validation_settings.py": "a rule that only TikTok has (spec platform-rules.md 8)",
}
"""Files and folders where a platform's key may stand as a string, each with the reason."""

PAGE = ROOT / "docs" / "glossary.md"
GLOSSARY = [
    (word, [one for one in words.split(", ") if one])
    for word, words in re.findall(r"^\| \*\*(.+?)\*\* \|.*\|\s*([^|]*?)\s*\|$", PAGE.read_text("utf-8"), re.MULTILINE)
]
"""Each word with those that are not used in its place."""

EXCUSED_WORDS = {
    ("tweet", "src/postpost/platforms/twitter.py"): "fields of the platform's own API",
    ("tweet", "src/postpost/sandbox/twitter.py"): "fields of the platform's own API",
    ("tweet", "src/postpost/sandbox/twitter_reads.py"): "fields of the platform's own API",
    ("toot", "src/postpost/platforms/mastodon.py"): "a field of the instance's own API",
    ("provider", "src/postpost/database/embedded_server.py"): "an option of initdb",
}


def test_platform_names_when_tree_is_read_then_stand_where_they_belong() -> None:
    named = {
        (path, place(path, node))
        for path, node in nodes(PACKAGE)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and PLATFORM_ID.match(node.value)
    }
    none_found(where for path, where in named if not _allowed(path))
    used = {prefix for prefix in NAMES_PLATFORMS for path, _ in named if name_of(path).startswith(prefix)}
    none_found(set(NAMES_PLATFORMS) - used, rule="exceptions that nothing needs any more")


def test_glossary_when_read_then_it_defines_the_words_of_the_api() -> None:
    words = {word for word, _ in GLOSSARY}
    assert {"post group", "platform post", "part", "connection", "connector", "step", "entry", "account"} <= words


@pytest.mark.parametrize("banned", [word for _, words in GLOSSARY for word in words])
def test_words_when_the_glossary_has_another_then_are_not_used(banned: str) -> None:
    pattern = re.compile(rf"(?<![a-z]){re.escape(banned)}s?(?![a-z])", re.IGNORECASE)
    pages = [path for path in (ROOT / "docs").rglob("*.md") if path != PAGE and path.parent.name != "decisions"]
    none_found(
        f"{name_of(path)}: {banned}"
        for path in [*python_files(PACKAGE), *pages, ROOT / "README.md"]
        if (banned, name_of(path)) not in EXCUSED_WORDS and pattern.search(text_of(path))
    )


def test_routes_when_tree_is_read_then_spell_no_signature_namespace() -> None:
    none_found(name_of(path) for path in python_files(PACKAGE) if "signature_namespace" in text_of(path))


def test_code_when_tree_is_read_then_has_no_unfinished_business() -> None:
    words = re.compile(r"\b(?:TODO|FIXME|XXX|HACK|NotImplemented)\b")
    none_found(name_of(path) for path in python_files(PACKAGE) if words.search(text_of(path)))


def test_type_ignores_when_tree_is_read_then_name_their_error_and_their_reason() -> None:
    bare = re.compile(r"#\s*type:\s*ignore(?!\[[a-z-]+\]\s+(?:--|-|#) \S)")
    none_found(name_of(path) for path in python_files(PACKAGE) if bare.search(text_of(path)))


# An argument that the contract has and one connector does not need speaks for itself.
SPEAKS_FOR_ITSELF = "ARG002"


def test_suppressed_lint_when_tree_is_read_then_names_its_rule_and_its_reason() -> None:
    bare = re.compile(r"#\s*noqa(?!: [A-Z]+\d+(?:, ?[A-Z]+\d+)* --? \S|: " + SPEAKS_FOR_ITSELF + "$)")
    none_found(
        f"{name_of(path)}:{number}"
        for path in python_files(PACKAGE)
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if bare.search(line)
    )


def test_project_when_read_then_names_nothing_outside_itself() -> None:
    """A user has this folder and nothing else: no path of the machine that it was written on, no registry."""
    foreign = re.compile(r"\.\./shared|(?:index|extra-index)-url|find-links", re.IGNORECASE)
    kinds = ("*.py", "*.md", "*.txt", "*.toml", "*.in", "Makefile")
    folders = [PACKAGE, ROOT / "tests", ROOT / "docs", ROOT / "bench", ROOT / "requirements"]
    files = [path for folder in folders for kind in kinds for path in folder.rglob(kind)]
    files += [path for kind in kinds for path in ROOT.glob(kind)]
    none_found(name_of(path) for path in files if path != Path(__file__) and foreign.search(path.read_text("utf-8")))


def _allowed(path: Path) -> bool:
    return any(name_of(path).startswith(prefix) for prefix in NAMES_PLATFORMS)
