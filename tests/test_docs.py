"""The pages of docs/ say what is: their tables follow from the code, their links lead somewhere, their commands run."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from docs.generate import DOCS, GROUPS, MEANINGS, TABLES, with_tables
from postpost.config import SETTINGS, variable_name
from postpost.connections import routes as connection_routes
from postpost.errors import CATALOGUE
from postpost.http.openapi import RouteDoc
from postpost.metrics import Metrics
from postpost.platforms.base import ErrorCode
from postpost.posts import routes as post_routes
from postpost.sandbox.faults import Kind

ROOT = DOCS.parent
README = ROOT / "README.md"
SOURCE = ROOT / "src" / "postpost"
NAMED_FILE = re.compile(r"(?<![\w/<>.])((?:src|tests|docs|platforms|sandbox|database|http)/[\w/]+\.(?:py|md))")
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
BIN = Path(sys.executable).parent


@pytest.mark.parametrize("name", TABLES)
def test_page_when_the_code_changes_then_its_tables_follow(name: str) -> None:
    page = (DOCS / name).read_text("utf-8")

    assert with_tables(page, TABLES[name]) == page, f"{name} is out of date, run: make docs"


def test_errors_page_when_it_is_generated_then_every_row_and_code_is_on_it() -> None:
    page = (DOCS / "errors.md").read_text("utf-8")

    assert [id_ for id_ in CATALOGUE if f"\n| {id_} | " not in page] == []
    assert set(MEANINGS) == set(ErrorCode)
    assert {re.sub(r"\d.*|-.*", "", id_) for id_ in CATALOGUE} == {letter for _, letter in GROUPS}


def test_metrics_when_they_are_documented_then_both_pages_name_the_same_ones() -> None:
    names = {f"{one.name}_total" if one.type == "counter" else one.name for one in Metrics().registry.collect()}

    for page in ("operating.md", "configuration.md"):
        named = set(re.findall(r"^\| `(postpost_\w+)` \|", (DOCS / page).read_text("utf-8"), re.MULTILINE))
        assert named == names, page


def test_log_events_when_the_code_logs_them_then_the_operating_page_has_them_with_their_level() -> None:
    logged = {
        (str(node.args[0].value), {"exception": "error"}.get(node.func.attr, node.func.attr))
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "_log"
        and isinstance(node.args[0], ast.Constant)
    }
    page = (DOCS / "operating.md").read_text("utf-8")

    assert set(re.findall(r"^\| `(\w+)` \| (debug|info|warning|error) \|", page, re.MULTILINE)) == logged


def test_faults_when_the_sandbox_knows_them_then_the_operating_page_has_them() -> None:
    page = (DOCS / "operating.md").read_text("utf-8")

    assert [kind for kind in Kind if f"\n| `{kind}` | " not in page] == []


def test_routes_when_the_api_has_them_then_they_are_described_and_described_ones_exist() -> None:
    routes = {
        (method, re.sub(r"\{.*?\}", "{}", path))
        for handler in (*post_routes.ROUTES, *connection_routes.ROUTES)
        for path in handler.paths
        for method in handler.http_methods
    }
    described: tuple[RouteDoc, ...] = (*post_routes.DOCS, *connection_routes.DOCS)

    assert {(doc.method, re.sub(r"\{.*?\}", "{}", doc.path)) for doc in described} == routes


def test_routes_when_the_api_has_them_then_the_changelog_names_them() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    described: tuple[RouteDoc, ...] = (*post_routes.DOCS, *connection_routes.DOCS)

    assert [doc.path for doc in described if doc.path.split("/")[1] not in changes] == []


def test_changelog_when_read_then_every_version_has_upgrade_notes() -> None:
    versions = re.split(r"^## \[", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.MULTILINE)[1:]

    assert versions
    assert [version.splitlines()[0] for version in versions if "\n### Upgrade notes\n" not in version] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_when_they_lead_to_a_file_then_it_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    local = [link for link in links if not link.startswith(("http://", "https://"))]

    assert [link for link in local if not _leads_somewhere(page, link)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_when_a_page_names_them_then_they_are_there(page: Path) -> None:
    named = NAMED_FILE.findall(page.read_text("utf-8"))

    assert [name for name in named if not (ROOT / name).is_file() and not (SOURCE / name).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_make_targets_when_a_page_names_them_then_they_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = re.findall(r"(?:^|`)make ([a-z]+)", page.read_text("utf-8"), re.MULTILINE)

    assert set(named) <= targets


def test_readme_when_opened_then_begins_with_the_two_commands() -> None:
    blocks = re.findall(r"```bash\n(.*?)```", README.read_text("utf-8"), re.DOTALL)

    assert [line.split("#")[0].strip() for line in blocks[0].splitlines()] == ["make demo", "make test"]


@dataclass
class Service:
    """A running `postpost up --sandbox`, and the shell in which a reader of the README types."""

    replaced: dict[str, str]

    def run(self, block: str) -> str:
        """Run a block as the reader would, with this service's addresses, key and ids for those of the page."""
        for shown, real in self.replaced.items():
            block = block.replace(shown, real)
        lines = [line for line in block.splitlines() if not line.startswith((". .venv/", "export POSTPOST_API_KEY="))]
        script = "\n".join(["set -euo pipefail", *lines])
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    for name in SETTINGS:
        monkeypatch.delenv(variable_name(name), raising=False)
    monkeypatch.setenv("PATH", str(BIN), prepend=os.pathsep)
    with tempfile.TemporaryDirectory(prefix="postpost-readme-") as home:
        # Root's PostgreSQL runs as another user, who has to pass through this folder.
        Path(home).chmod(0o711)
        monkeypatch.setenv("POSTPOST_HOME", home)
        command = [BIN / "postpost", "up", "--sandbox", "--port", "0", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                ready = json.loads(process.stdout.readline() or process.stderr.read())
                monkeypatch.setenv("POSTPOST_API_KEY", ready["apiKey"])
                yield Service({"http://127.0.0.1:8080": ready["url"], "http://127.0.0.1:8081": ready["sandboxUrl"]})
            finally:
                process.terminate()
                process.communicate(timeout=60)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's commands need curl")
def test_readme_when_its_commands_are_typed_then_they_answer_what_it_shows(service: Service) -> None:
    blocks = re.findall(r"```(bash|json)\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    begin = next(number for number, (_, text) in enumerate(blocks) if "postpost up --sandbox" in text)
    blocks = blocks[begin + 1 :]

    for (kind, text), (following, shown) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind == "bash" and following == "json":
            answer = _answer_like(json.loads(shown), service, text)
            service.replaced[json.loads(shown)["postGroupId"]] = answer["postGroupId"]
        elif kind == "bash":
            service.run(text)


def _answer_like(shown: Any, service: Service, block: str) -> Any:
    """Run the block until its answer has the shape of what the page shows: publishing takes a moment."""
    repeatable = "create-post" not in block
    deadline = time.monotonic() + 20
    while True:
        answer = json.loads(service.run(block).splitlines()[-1])
        if _shape(answer) == _shape(shown) or not repeatable or time.monotonic() > deadline:
            assert _shape(answer) == _shape(shown)
            return answer


def _shape(value: Any) -> Any:
    """Return a JSON value with its ids taken out: keys, order, texts and types remain."""
    match value:
        case dict():
            ids = ("_id", "postGroupId", "postedId")
            return {key: type(one) if key in ids else _shape(one) for key, one in value.items()}
        case list():
            return [_shape(one) for one in value]
        case _:
            return value


def _leads_somewhere(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    if not target.exists():
        return False
    headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE) if anchor else []
    return not anchor or anchor in {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}
