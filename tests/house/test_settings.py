"""House rule 34: settings are declared once, read somewhere, and the environment is read nowhere else."""

import ast

from postpost.config import SETTINGS, variable_name
from postpost.platforms import CONNECTORS
from tests.house.source import PACKAGE, dotted, name_of, nodes, none_found, place

CONFIG = PACKAGE / "config.py"

READ_BY_PLATFORM = {
    f"{key}_{part}" for key in (one.platform.key for one in CONNECTORS) for part in ("client_id", "client_secret")
}
"""Read by `Settings.app`, which puts the name together from a platform's key."""


def test_settings_when_declared_then_each_is_read_somewhere() -> None:
    read = {node.attr for path, node in nodes(PACKAGE) if isinstance(node, ast.Attribute) and path != CONFIG}
    none_found(set(SETTINGS) - read - READ_BY_PLATFORM)


def test_environment_when_tree_is_read_then_is_read_in_one_place() -> None:
    none_found(
        place(path, node)
        for path, node in nodes(PACKAGE)
        if path != CONFIG
        and isinstance(node, ast.Attribute)
        and dotted(node)[-2:] in (["os", "environ"], ["os", "getenv"])
    )


def test_variables_when_named_in_the_code_then_exist() -> None:
    known = {variable_name(name) for name in SETTINGS}
    named = {
        (name_of(path), word.strip(".,:;`'\"()=*"))
        for path, node in nodes(PACKAGE)
        if path != CONFIG and isinstance(node, ast.Constant) and isinstance(node.value, str)
        for word in node.value.replace("=", " ").split()
        if word.startswith("POSTPOST_")
    }
    none_found(f"{where} names {word}" for where, word in named if word not in known and word != "POSTPOST_")


def test_clock_when_tree_is_read_then_is_read_in_few_places() -> None:
    allowed = {
        "src/postpost/clock.py",
        "src/postpost/ids.py",  # milliseconds for ids
        "src/postpost/sandbox/state.py",  # plays the platforms, which have clocks of their own
    }
    none_found(
        place(path, node)
        for path, node in nodes(PACKAGE)
        if isinstance(node, ast.Call)
        and (
            dotted(node.func)[-2:]
            in (["datetime", "now"], ["datetime", "utcnow"], ["time", "time"], ["time", "time_ns"])
        )
        and name_of(path) not in allowed
    )
