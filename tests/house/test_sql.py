"""House rules 13 to 17: where SQL is, what it says of itself, who owns transactions, and whose rows it returns."""

import ast
import re
from pathlib import Path

from tests.house.source import (
    PACKAGE,
    comment_above,
    dotted,
    is_store,
    name_of,
    nodes,
    none_found,
    place,
    python_files,
    tree_of,
)

DATABASE_CALLS = {"fetch", "fetchrow", "fetchval", "fetchmany", "execute", "executemany", "prepare", "cursor"}
RECEIVERS = re.compile(r"(?:^|_)(?:connection|conn|pool|database|listener|guard|admin|cursor|transaction)$")
SQL = re.compile(
    r"^\s*(?:SELECT\s|WITH\s+\w+\s+AS|INSERT\s+INTO|UPDATE\s+\w+\s+(?:\w+\s+)?SET|DELETE\s+FROM|CREATE\s+(?:TABLE|INDEX)|"
    r"ALTER\s+TABLE|BEGIN\b|COMMIT\b|ROLLBACK\b|LOCK\s+TABLE|NOTIFY\s|LISTEN\s)"
)
STORES = [path for path in python_files(PACKAGE) if is_store(path)]

SQL_ELSEWHERE = {
    # The pool, the migrations and what they run on; the embedded server is asked before there is a pool.
    "src/postpost/database/",
}

ENGINE_STORES = ("src/postpost/publishing/store.py", "src/postpost/publishing/store_dispatch.py")
"""Works for all accounts at once, on ids that the dispatcher has read from the same tables."""

WITHOUT_ACCOUNT = {
    "accounts/store.py: fetch_callers": "finds out who the account is, from a key",
    "accounts/store.py: touch_keys": "keys that were just authenticated",
    "accounts/store.py: fetch_accounts": "an operator's list of all accounts",
    "accounts/store.py: fetch_accounts_by_email": "an operator looks for an account",
    "accounts/store.py: has_accounts": "says yes or no",
    "connections/store.py: fetch_stored_credentials": "doctor tries whether the key opens them",
    "connections/store.py: has_sandbox_connections": "doctor asks whether a sandbox is needed",
    "connections/store.py: claim_refresh": "id of a connection that the engine has claimed",
    "connections/store.py: store_credentials": "id of a connection that the engine has claimed",
    "connections/store.py: release_refresh": "id of a connection that the engine has claimed",
    "posts/store.py: fetch_entries": "takes pairs of account and group, for requests of several accounts at once",
    "posts/store.py: insert_logs": "writes lines of groups that the caller holds",
    "posts/store_operating.py: fetch_group_owner": "an operator knows a group's id and asks whose it is",
    "posts/store_intake.py: delete_old_keys": "housekeeping over all accounts, by age",
}
"""Store functions that take no account, each with the reason."""

OWNERS = {"account_id", "account_ids", "billing_id"}
OWNED_STRUCTS = {"ListFilter", "NewConnection", "NewGroup", "IntakeQuestion", "Charges"}
"""Arguments that carry their account inside."""


def test_database_calls_when_tree_is_read_then_stand_in_stores_only() -> None:
    found = [
        place(path, node)
        for path, node in nodes(PACKAGE)
        if not _may_hold_sql(path)
        and isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (node.func.attr in DATABASE_CALLS or node.func.attr.startswith("copy_"))
        and RECEIVERS.search((dotted(node.func.value) or [""])[-1])
    ]
    none_found(found)


def test_sql_text_when_tree_is_read_then_stands_in_stores_only() -> None:
    found = [
        place(path, node)
        for path, node in nodes(PACKAGE)
        if not _may_hold_sql(path)
        and isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and SQL.search(node.value)
    ]
    none_found(found)


def test_store_functions_when_tree_is_read_then_take_the_connection_first() -> None:
    found = [
        place(path, function)
        for path, function in _store_functions()
        if (function.args.args[0].arg if function.args.args else None) != "connection"
    ]
    none_found(found)


def test_store_functions_when_tree_is_read_then_neither_begin_nor_acquire() -> None:
    found = [
        place(path, node)
        for path in STORES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and node.attr in {"transaction", "acquire", "release", "commit", "rollback"}
    ]
    none_found(found)


def test_sql_constants_when_tree_is_read_then_each_says_what_it_locks_and_which_index_it_needs() -> None:
    silent = []
    for path in STORES:
        for node in tree_of(path).body:
            if isinstance(node, ast.Assign) and SQL.search(_string_of(node.value)):
                said = comment_above(path, _first_of_block(path, node.lineno))
                if not _says_enough(said):
                    silent.append(f"{place(path, node)} says {said!r}")
    none_found(silent)


def test_sql_made_in_a_function_when_tree_is_read_then_its_docstring_says_what_it_locks_and_which_index() -> None:
    silent = []
    for path, function in _store_functions():
        inner = [
            node for node in ast.walk(function) if isinstance(node, ast.JoinedStr) and SQL.search(_string_of(node))
        ]
        if inner and not _says_enough(ast.get_docstring(function) or ""):
            silent.append(place(path, function))
    none_found(silent)


def test_store_functions_when_they_touch_rows_of_a_user_then_they_take_the_account() -> None:
    found = set()
    for path, function in _store_functions():
        if name_of(path) in ENGINE_STORES:
            continue
        arguments = [*function.args.args, *function.args.kwonlyargs]
        names = {argument.arg for argument in arguments}
        types = {name for argument in arguments for name in _names_in(argument.annotation)}
        if not names & OWNERS and not types & OWNED_STRUCTS:
            found.add(f"{'/'.join(path.parts[-2:])}: {function.name}")
    none_found(found - set(WITHOUT_ACCOUNT))
    none_found(set(WITHOUT_ACCOUNT) - found, rule="exceptions that nothing needs any more")


OUTSIDE = {"http", "connector", "identify", "refresh", "reconcile", "request", "publish", "connect"}
"""Names that stand for a call to a platform."""


def test_transactions_when_open_then_no_platform_is_called() -> None:
    found = []
    for path, node in nodes(PACKAGE):
        if isinstance(node, ast.AsyncWith) and any(_opens_transaction(item) for item in node.items):
            calls = [inner for body in node.body for inner in ast.walk(body) if isinstance(inner, ast.Await)]
            found += [place(path, call) for call in calls if set(dotted(call.value)) & OUTSIDE]
    none_found(found)


def test_jobs_when_enqueued_then_on_the_connection_of_the_change() -> None:
    found = [
        place(path, node)
        for path, node in nodes(PACKAGE)
        if isinstance(node, ast.Call)
        and (dotted(node.func) or [""])[-1].startswith("enqueue_")
        and not (node.args and dotted(node.args[0]) == ["connection"])
    ]
    none_found(found)


def _may_hold_sql(path: Path) -> bool:
    return is_store(path) or any(name_of(path).startswith(folder) for folder in SQL_ELSEWHERE)


def _store_functions() -> list[tuple[Path, ast.AsyncFunctionDef]]:
    return [
        (path, node)
        for path in STORES
        for node in tree_of(path).body
        if isinstance(node, ast.AsyncFunctionDef) and not node.name.startswith("_")
    ]


def _string_of(node: ast.AST) -> str:
    """Return a string's text; of an f-string its fixed parts."""
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=values):
            return "".join(_string_of(value) if isinstance(value, ast.Constant) else "x" for value in values)
        case _:
            return ""


def _says_enough(said: str) -> bool:
    locks = re.search(r"\block(?:s|ed|_\w+)?\b|(?:Insert|Append)s only", said, re.IGNORECASE)
    index = re.search(
        r"\bindex(?:es)?\b|\bprimary key\b|_pkey\b|(?:Insert|Append)s only|at most one row|whole table",
        said,
        re.IGNORECASE,
    )
    return bool(locks and index)


def _first_of_block(path: Path, line: int) -> int:
    """Return the first line of the assignments that stand together without a blank line: one comment serves all."""
    starts = {node.lineno: node for node in tree_of(path).body}
    ends = {node.end_lineno: node for node in tree_of(path).body}
    node = starts[line]
    while (before := ends.get(node.lineno - 1)) is not None and isinstance(before, ast.Assign):
        node = before
    return node.lineno


def _names_in(annotation: ast.AST | None) -> set[str]:
    return {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)} if annotation else set()


def _opens_transaction(item: ast.withitem) -> bool:
    return (dotted(item.context_expr) or [""])[-1] == "transaction"
