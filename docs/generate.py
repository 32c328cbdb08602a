"""Writes the tables of docs/ that follow from the code. `make docs` writes them, tests/test_docs.py compares them."""

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from postpost.cli import app
from postpost.cli.reference import with_commands
from postpost.config import with_settings_table
from postpost.errors import CATALOGUE, LIMITS
from postpost.metrics import Metrics
from postpost.platforms import CONNECTORS
from postpost.platforms.answers import Row
from postpost.platforms.base import Connector, ErrorCode, Reconciles, Retry, Scope
from postpost.platforms.limits import PLATFORMS
from postpost.posts.rules import START, TRANSITIONS, PostStatus, roll_up
from postpost.publishing.run import RETRYABLE

DOCS = Path(__file__).parent

GROUPS = (
    ("Every request", "T"),
    ("Who calls, and for whom", "A"),
    ("create-post", "C"),
    ("get-post", "G"),
    ("delete-post", "D"),
    ("post-logs", "P"),
    ("update-post", "U"),
    ("list-posts", "L"),
    ("platform-connections", "N"),
    ("test-connection", "X"),
    ("validate-post", "V"),
    ("retry-post", "R"),
)
"""Headings of the HTTP errors, by the letter that their ids begin with."""

MEANINGS: Mapping[ErrorCode, tuple[str, str]] = {
    ErrorCode.PLATFORM_AUTH_EXPIRED: (
        "The token is expired, revoked, or lacks a permission.",
        "Connect the account again, then retry-post.",
    ),
    ErrorCode.RATE_LIMITED: (
        "The platform's limit is reached, and it asks for a longer wait than `POSTPOST_MAX_RATE_LIMIT_WAIT_SECONDS`.",
        "retry-post later.",
    ),
    ErrorCode.INVALID_CONTENT: (
        "The platform refused the post for what it says or shows.",
        "Read `message`; make a new post with other content.",
    ),
    ErrorCode.CONTENT_TOO_LARGE: ("The platform says that it is too large.", "Make a new post with less."),
    ErrorCode.PLATFORM_SERVER_ERROR: (
        "The platform had a failure of its own, at every attempt.",
        "retry-post later.",
    ),
    ErrorCode.NETWORK_ERROR: ("The platform could not be reached, at every attempt.", "retry-post later."),
    ErrorCode.TIMEOUT_ERROR: (
        "The platform did not answer in time, at every attempt, and does not have the post.",
        "retry-post later.",
    ),
    ErrorCode.UNKNOWN_ERROR: (
        "None of the others fits; `platformError` has the platform's own words.",
        "Read `message`. The operator may have to act: credits, an app's registration, an API version.",
    ),
    ErrorCode.PLATFORM_VALIDATION_ERROR: (
        "PostPost's own check found that the post breaks the platform's rules. The platform was not called.",
        "validate-post lists every problem; make a new post.",
    ),
    ErrorCode.PUBLISH_OUTCOME_UNKNOWN: (
        "The connection broke after the post was sent, and the platform cannot say whether it is public.",
        "Look at the account. If it is not there: retry-post with `includeUnknownOutcome`.",
    ),
}
"""What each code of a failed platform post means, and what to do about it."""

DOES: Mapping[Retry, str] = {
    Retry.NEVER: "fails",
    Retry.BACK_OFF: "tries again, 1 s, 2 s, 4 s, ... later",
    Retry.WAIT: "waits as long as the platform says",
    Retry.REFRESH: "refreshes the token once, then fails",
}
SCOPES: Mapping[Scope, str] = {Scope.POST: "post", Scope.CONNECTION: "connection", Scope.APP: "app"}

SURELY: Mapping[Reconciles, str] = {
    Reconciles.CERTAIN: "yes, always",
    Reconciles.LIKELY: "mostly",
    Reconciles.NEVER: "no",
}


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [columns, ["-"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def http_errors() -> str:
    """Return the errors that requests are answered with, one table for each route."""
    rows = [
        (
            re.match(r"[A-Z]+", row.id)[0],  # type: ignore[index]
            (row.id, str(row.status), f"`{row.error}`", row.when),
        )
        for row in CATALOGUE.values()
    ]
    return "\n\n".join(
        f"### {heading}\n\n"
        + table(("id", "status", "`error`", "when"), [row for letter, row in rows if letter == group])
        for heading, group in GROUPS
    )


def plan_limits() -> str:
    """Return the refusals of a plan's limits."""
    rows = {row.code: row for row in LIMITS.values()}
    return table(
        ("ids", "`code`", "`error`", "`metric`", "`message`"),
        [
            (", ".join(row.ids), f"`{row.code}`", f"`{row.error}`", f"`{row.metric}`", row.message)
            for row in rows.values()
        ],
    )


def post_errors() -> str:
    """Return the codes of failed platform posts."""
    return table(
        ("`code`", "meaning", "`retryable`", "what helps"),
        [(f"`{code}`", *_with_retryable(code)) for code in ErrorCode],
    )


def _with_retryable(code: ErrorCode) -> tuple[str, str, str]:
    meaning, helps = MEANINGS[code]
    return meaning, "true" if code in RETRYABLE else "false", helps


def platform_errors() -> str:
    """Return each platform's own errors, as its connector reads them, in the order in which they are tried."""
    parts = []
    for connector in CONNECTORS:
        rows: Sequence[Row] = sys.modules[type(connector).__module__].ERRORS
        columns = ("answer", "`code`", "PostPost", "concerns")
        parts.append(f"### {connector.platform.name}\n\n{table(columns, [_error_row(row) for row in rows])}")
    return "\n\n".join(parts)


def _error_row(row: Row) -> tuple[str, str, str, str]:
    does = DOES[row.retry]
    if row.wait is not None:
        does += f", else {_duration(row.wait)}"
    return _answer(row), f"`{row.code}`", does, SCOPES[row.scope]


def _answer(row: Row) -> str:
    statuses = sorted(row.statuses)
    if len(statuses) > 9:
        shown = f"{statuses[0]} to {statuses[-1]}"
    else:
        shown = ", ".join(map(str, statuses)) or "any"
    told = [f"`{name}`" for name in row.names] + [f'"{phrase}"' for phrase in row.phrases]
    return f"{shown} with {' or '.join(told)}" if told else shown


def _duration(duration: timedelta) -> str:
    minutes = int(duration / timedelta(minutes=1))
    if minutes % 1440 == 0:
        return f"{minutes // 1440} d"
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"


def reconciles() -> str:
    """Return how surely each platform can say after a crash whether a post went out, and how it is asked."""
    return table(
        ("platform", "can it be asked", "how"),
        [
            (
                one.platform.name,
                f"{SURELY[one.platform.reconciles]} (`{one.platform.reconciles}`)",
                _asks(one),
            )
            for one in CONNECTORS
        ],
    )


def _asks(connector: Connector) -> str:
    said = (connector.reconcile.__doc__ or "").split("\n\n", 1)[0].strip()
    return re.sub(r"\s*\([^)]*(?:sheet|section)[^)]*\)", "", said)


def platforms() -> str:
    """Return the platforms, with what works today."""
    ready = {one.platform.key for one in CONNECTORS}
    return table(
        ("platform", "key", "published today"),
        [(one.name, f"`{one.key}`", "text" if one.key in ready else "not yet") for one in PLATFORMS if one.supported],
    )


def states() -> str:
    """Return the life of a platform post as a diagram."""
    arrows = [f"    [*] --> {START}"]
    arrows += [f"    {before} --> {after}" for before in TRANSITIONS for after in _in_order(TRANSITIONS[before])]
    return "\n".join(["```mermaid", "stateDiagram-v2", *arrows, "```"])


def _in_order(statuses: Iterable[PostStatus]) -> list[PostStatus]:
    order = list(PostStatus)
    return sorted(statuses, key=order.index)


def group_statuses() -> str:
    """Return the status of a group for the entries that it can have."""
    published, failed, draft = PostStatus.PUBLISHED, PostStatus.FAILED, PostStatus.DRAFT
    cases = (
        ("all draft", [draft]),
        ("at least one scheduled, pending or processing", [PostStatus.PENDING, published, failed]),
        ("all published", [published]),
        ("all failed", [failed]),
        ("some published, the others failed", [published, failed]),
    )
    return table(("its entries", "the group"), [(said, f"`{roll_up(entries)}`") for said, entries in cases])


def metrics() -> str:
    """Return the metrics."""
    sample = Metrics()  # a family shows its labels in its samples only
    sample.request_answered("/", "GET", 200, timedelta(0))
    sample.post_ended("x", "published")
    sample.publish_attempted("x")
    rows = []
    for family in sample.registry.collect():
        labels = ", ".join(f"`{label}`" for label in family.samples[0].labels if label != "le")
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append((f"`{name}`", family.type, labels, family.documentation))
    return table(("metric", "type", "labels", "what it measures"), rows)


TABLES: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "../README.md": {"platforms": platforms},
    "architecture.md": {"states": states, "group statuses": group_statuses, "reconciles": reconciles},
    "errors.md": {
        "http errors": http_errors,
        "plan limits": plan_limits,
        "post errors": post_errors,
        "reconciles": reconciles,
        "platform errors": platform_errors,
    },
    "operating.md": {"metrics": metrics},
}
"""The generated parts of each page, by the name in their marks."""


def with_tables(page: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """Return a page with what stands between its marks written anew. Raises ValueError when a mark is missing."""
    for name, write in tables.items():
        begin, end = f"<!-- Generated: {name}. Do not edit by hand, run make docs. -->", f"<!-- End: {name}. -->"
        before, found, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        if not found or not ended:
            raise ValueError(f"the page lacks {begin} or {end}")
        page = f"{before}{begin}\n\n{write()}\n\n{end}{after}"
    return page


def main() -> None:
    """Write every generated table."""
    for name, tables in TABLES.items():
        path = DOCS / name
        path.write_text(with_tables(path.read_text("utf-8"), tables), "utf-8")
    for name, write in (("configuration.md", with_settings_table), ("cli.md", lambda page: with_commands(page, app))):
        path = DOCS / name
        path.write_text(write(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
