"""Plans: what each grants, how operators change them, and which one holds for an account (spec plans.md 1 and 2)."""

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from postpost.config import ConfigError
from postpost.platforms.limits import PLATFORMS
from postpost.values import Json

PLATFORM_KEYS: tuple[str, ...] = tuple(platform.key for platform in PLATFORMS if platform.supported)
"""What `allowedPlatforms` may name, in registry order (spec errors.md 4.3)."""

_MAX_HORIZON_DAYS = 36_500
"""A century: no calendar date overflows, and whoever wants more wants no horizon."""


class Scope(StrEnum):
    """What a number is counted over: the billing owner with all it pays for, or each connection by itself."""

    ACCOUNT = "account"
    CONNECTION = "connection"


@dataclass(frozen=True, slots=True)
class Entitlements:
    """What an account may do. None means unlimited; `connections` "seats" is the number of seats of the account."""

    api_access: bool
    mcp_access: bool
    monthly_posts: int | None
    monthly_posts_scope: Scope
    scheduled_posts: int | None
    scheduled_posts_scope: Scope
    schedule_horizon_days: int | float | None
    connections: int | Literal["seats"] | None
    allowed_platforms: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as it is offered. `key` is stored on accounts, `name` is shown to people."""

    key: str
    name: str
    entitlements: Entitlements


@dataclass(frozen=True, slots=True)
class ActivePlan:
    """What holds for a billing owner: its plan, with the entitlements set on the account itself worked in.

    `connection_limit` is the most accounts it may have connected, seats counted; None is no limit.
    """

    key: str
    name: str
    entitlements: Entitlements
    connection_limit: int | None


_STARTER = Plan(
    "starter",
    "Starter",
    Entitlements(
        api_access=False,
        mcp_access=False,
        monthly_posts=15,
        monthly_posts_scope=Scope.ACCOUNT,
        scheduled_posts=3,
        scheduled_posts_scope=Scope.ACCOUNT,
        schedule_horizon_days=7,
        connections=3,
        allowed_platforms=tuple(key for key in PLATFORM_KEYS if key != "twitter"),
    ),
)
_PRO = Plan(
    "pro",
    "Pro",
    Entitlements(
        api_access=True,
        mcp_access=True,
        monthly_posts=100,
        monthly_posts_scope=Scope.CONNECTION,
        scheduled_posts=100,
        scheduled_posts_scope=Scope.CONNECTION,
        schedule_horizon_days=None,
        connections="seats",
        allowed_platforms=None,
    ),
)
_PREMIUM = Plan("premium", "Premium", replace(_PRO.entitlements, monthly_posts=500, scheduled_posts=500))

BUILT_IN: Mapping[str, Plan] = MappingProxyType({plan.key: plan for plan in (_STARTER, _PRO, _PREMIUM)})
"""The plans of an installation without a plans file, by key."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entitlement key: its field, what it takes in words, and how a value is read (ValueError if it cannot be)."""

    field: str
    accepted: str
    read: Callable[[Json], Any]


def _read_switch(value: Json) -> bool:
    if not isinstance(value, bool):
        raise ValueError(value)
    return value


def _read_limit(value: Json) -> int | None:
    if value is None or value == "unlimited":
        return None
    if type(value) is not int or value < 0:  # bool is an int to isinstance
        raise ValueError(value)
    return value


def _read_connections(value: Json) -> int | Literal["seats"] | None:
    return "seats" if value == "seats" else _read_limit(value)


def _read_horizon(value: Json) -> int | float | None:
    if value is None or value == "none":
        return None
    if type(value) not in (int, float) or not math.isfinite(value) or not 0 <= value <= _MAX_HORIZON_DAYS:
        raise ValueError(value)
    return int(value) if value == int(value) else float(value)


def _read_scope(value: Json) -> Scope:
    return Scope(value)


def _read_platforms(value: Json) -> tuple[str, ...] | None:
    if value is None or value == "all":
        return None
    if not isinstance(value, list) or any(name not in PLATFORM_KEYS for name in value):
        raise ValueError(value)
    return tuple(key for key in PLATFORM_KEYS if key in value)


_SWITCH = "true or false"
_LIMIT = 'a whole number from 0, or "unlimited"'
_SCOPE = '"account" or "connection"'
_ENTRIES: Mapping[str, _Entry] = MappingProxyType(
    {
        "apiAccess": _Entry("api_access", _SWITCH, _read_switch),
        "mcpAccess": _Entry("mcp_access", _SWITCH, _read_switch),
        "monthlyPosts": _Entry("monthly_posts", _LIMIT, _read_limit),
        "monthlyPostsScope": _Entry("monthly_posts_scope", _SCOPE, _read_scope),
        "scheduledPosts": _Entry("scheduled_posts", _LIMIT, _read_limit),
        "scheduledPostsScope": _Entry("scheduled_posts_scope", _SCOPE, _read_scope),
        "scheduleHorizonDays": _Entry(
            "schedule_horizon_days", f'a number of days from 0 to {_MAX_HORIZON_DAYS}, or "none"', _read_horizon
        ),
        "connections": _Entry("connections", 'a whole number from 0, "seats" or "unlimited"', _read_connections),
        "allowedPlatforms": _Entry(
            "allowed_platforms", f'a list of platforms ({", ".join(PLATFORM_KEYS)}), or "all"', _read_platforms
        ),
    }
)
ENTITLEMENT_KEYS: tuple[str, ...] = tuple(_ENTRIES)
"""The keys of spec plans.md 2, in its order."""


def load_plans(path: Path | None) -> Mapping[str, Plan]:
    """Return the built-in plans with the changes and additions of the TOML file at `path`, by key.

    A table for each plan: its `name` and entitlements. What a table of a built-in plan leaves out stays as it is; a
    new plan needs everything. Raises ConfigError that lists all that is wrong with the file.
    """
    if path is None:
        return BUILT_IN
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: the plans file cannot be read: {error.strerror}") from error
    except ValueError as error:  # tomllib.TOMLDecodeError, or bytes that are no UTF-8
        raise ConfigError(f"{path}: the plans file is no valid TOML: {error}") from error
    plans = dict(BUILT_IN)
    problems: list[str] = []
    for key, table in tables.items():
        try:
            plans[key] = _read_plan(key, table, BUILT_IN.get(key))
        except ConfigError as error:
            problems += [f"{path}: plan {key}: {problem}" for problem in error.problems]
    if problems:
        raise ConfigError(*problems)
    return MappingProxyType(plans)


def check_plan_key(key: str | None, plans: Mapping[str, Plan]) -> None:
    """Raise ConfigError when `key` (of the default plan, or to be given to an account) names no plan; None may pass."""
    if key is not None and key not in plans:
        raise ConfigError(f"there is no plan {key!r}; the plans are {', '.join(plans)}")


def _read_plan(key: str, table: Json, base: Plan | None) -> Plan:
    if not isinstance(table, dict):
        raise ConfigError(f"expected a table, [{key}]")
    given = {**table}
    name = given.pop("name", base.name if base else None)
    problems = []
    if not isinstance(name, str) or not name.strip():
        problems.append("name: expected a text that people can read")
    if base is None:
        missing = [entry for entry in ENTITLEMENT_KEYS if entry not in given]
        if missing:
            problems.append(f"a new plan needs {', '.join(missing)} too")
    values: dict[str, Any] = {}
    try:
        values = _read_entitlements(given)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(*problems)
    return Plan(key, str(name), replace(base.entitlements, **values) if base else Entitlements(**values))


def _read_entitlements(given: Mapping[str, Json]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in given.items():
        entry = _ENTRIES.get(key)
        if entry is None:
            problems.append(f"{key}: there is no such entitlement; known are {', '.join(ENTITLEMENT_KEYS)}")
            continue
        try:
            values[entry.field] = entry.read(value)
        except ValueError:
            problems.append(f"{key}: {value!r} cannot be used; accepted: {entry.accepted}")
    if problems:
        raise ConfigError(*problems)
    return values


def parse_override(text: str) -> tuple[str, Json]:
    """Read `KEY=VALUE` from the command line: an entitlement key, and its value as it is stored on an account.

    Lists are separated by commas. Raises ConfigError that says what the key takes.
    """
    key, equals, given = (part.strip() for part in text.partition("="))
    if not equals:
        raise ConfigError(f"{text!r}: expected KEY=VALUE, apiAccess=true say")
    value: Json = given
    if given in ("true", "false"):
        value = given == "true"
    elif key == "allowedPlatforms" and given != "all":
        value = [name.strip() for name in given.split(",")]
    elif given.replace(".", "", 1).isdecimal() and given.isascii():
        value = float(given) if "." in given else int(given)
    _read_entitlements({key: value})
    return key, value


def resolve(
    plan_key: str | None,
    overrides: Mapping[str, Json],
    seats: int | None,
    *,
    plans: Mapping[str, Plan],
    default_plan: str | None,
) -> ActivePlan | None:
    """Return what holds for a billing owner (spec plans.md 2); None means A5, no plan at all.

    `plan_key`, `overrides` (by entitlement key) and `seats` are those stored on the billing owner's account. A key
    that names no plan any more, because the operator took it out of the file, counts as no plan of its own. Raises
    ConfigError when a stored override cannot be used.
    """
    plan = plans.get(plan_key or "") or plans.get(default_plan or "")
    if plan is None:
        return None
    entitlements = replace(plan.entitlements, **_read_entitlements(overrides)) if overrides else plan.entitlements
    limit = seats if entitlements.connections == "seats" else entitlements.connections
    return ActivePlan(plan.key, plan.name, entitlements, limit)
