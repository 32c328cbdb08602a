"""The settings: read once from the environment, each declared once as data, handed down from here."""

import difflib
import os
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self, get_type_hints

from postpost.config_kinds import (
    DATABASE_URL,
    KEYS,
    MAX_PORT,
    PATH,
    PLAN_KEY,
    PORT,
    SWITCH,
    WEB_ADDRESS,
    WORD,
    Kind,
    choice,
    number,
    whole_number,
)
from postpost.platforms.base import App

PREFIX = "POSTPOST_"
"""Every variable's name is this and the name of its field in capitals."""

_NOT_OURS = frozenset({"POSTPOST_API_KEY", "POSTPOST_AUTH"})
"""Variables of API and MCP clients (spec mcp.md 7): often set on the same machine, and no mistake."""

_DAY_SECONDS = 86_400


class ConfigError(Exception):
    """The configuration cannot be used; `problems` has one sentence for each thing to mend."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class PastSchedule(StrEnum):
    """What becomes of a scheduled time more than five minutes in the past (spec rest-api.md 1.5)."""

    REJECT = "reject"
    NOW = "now"


class LogFormat(StrEnum):
    """How log lines look; `auto` is readable in a terminal and JSON elsewhere."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """The least severe events that are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Setting:
    """What is declared about one setting beside its name, type and default.

    `unset` says what holds without a value where the default does not speak for itself. `alias` is a second name
    under which the variable is read, for names that spec or error messages use without the prefix.
    """

    topic: str
    kind: Kind
    about: str
    unit: str = ""
    unset: str | None = None
    secret: bool = False
    alias: str | None = None


def _default_home() -> Path:
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0  # Windows has no such call.
    return Path("/var/lib/postpost") if is_root else Path.home() / ".postpost"


_STORAGE = "Storage and secrets"
_SERVER = "Server"
_RULES = "Plans and rules"
_PUBLISHING = "Publishing"
_SANDBOX = "Sandbox"
_LOGS = "Logs and metrics"
_APPS = "Registered applications"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings. `Settings.load` makes them from the environment; a test may make them directly.

    A bare number's unit ends its name. Secrets are left out of the representation.
    """

    home: Annotated[
        Path,
        Setting(
            _STORAGE,
            PATH,
            "Directory of the embedded database, the media and the key file. It is made when it is missing.",
            unset="`~/.postpost`; for root `/var/lib/postpost`",
        ),
    ] = field(default_factory=_default_home)
    database_url: Annotated[
        str | None,
        Setting(
            _STORAGE,
            DATABASE_URL,
            "PostgreSQL to use. Needed as soon as the server and its workers run on several machines.",
            unset="a PostgreSQL of its own under `POSTPOST_HOME`",
            secret=True,
        ),
    ] = field(default=None, repr=False)
    database_pool_size: Annotated[
        int, Setting(_STORAGE, whole_number(2, 1000), "Most database connections that one process opens.")
    ] = 16
    secret_key: Annotated[
        tuple[str, ...],
        Setting(
            _STORAGE,
            KEYS,
            "Keys that encrypt the credentials in the database. The first one encrypts, all of them decrypt.",
            unset="the file `secret.key` under `POSTPOST_HOME`, made on first use",
            secret=True,
        ),
    ] = field(default=(), repr=False)

    host: Annotated[
        str,
        Setting(_SERVER, WORD, "Address to listen on. `0.0.0.0` answers to every machine that can reach this one."),
    ] = "127.0.0.1"
    port: Annotated[int, Setting(_SERVER, PORT, "Port to listen on.")] = 8080
    requests_per_minute: Annotated[
        int,
        Setting(
            _SERVER,
            whole_number(0, 1_000_000),
            "Requests that one API key may make; more are answered with 429. `0` is no limit.",
            unit="requests a minute",
        ),
    ] = 0
    shutdown_seconds: Annotated[
        float,
        Setting(_SERVER, number(0, 3600), "Longest wait for what is in hand when the program stops.", unit="seconds"),
    ] = 30.0

    plans_file: Annotated[
        Path | None,
        Setting(_RULES, PATH, "TOML file that adds or changes plans, see below.", unset="the built-in plans"),
    ] = None
    default_plan: Annotated[
        str | None,
        Setting(
            _RULES,
            PLAN_KEY,
            "Plan of accounts that have none of their own. With `none` their requests are refused.",
        ),
    ] = "starter"
    past_schedule: Annotated[
        PastSchedule,
        Setting(
            _RULES,
            choice(PastSchedule),
            "What to do with a scheduled time more than five minutes in the past: `reject` it, or take it for `now`.",
            alias="PAST_SCHEDULE",
        ),
    ] = PastSchedule.REJECT
    threads_reply_chains: Annotated[
        bool,
        Setting(
            _RULES,
            SWITCH,
            "Whether Threads posts of several parts are allowed. Meta must have approved reply chains for your app.",
        ),
    ] = False
    public_media_url: Annotated[
        str | None,
        Setting(
            _RULES,
            WEB_ADDRESS,
            "Address at which the platforms can fetch media. Instagram and Threads need it.",
            unset="media are not public",
            alias="PUBLIC_MEDIA_URL",
        ),
    ] = None

    worker_concurrency: Annotated[
        int, Setting(_PUBLISHING, whole_number(1, 10_000), "Platform posts that one worker publishes at once.")
    ] = 200
    platform_timeout_seconds: Annotated[
        float,
        Setting(_PUBLISHING, number(1, 600), "Longest that one call to a platform may take.", unit="seconds"),
    ] = 10.0
    publish_attempts: Annotated[
        int,
        Setting(
            _PUBLISHING,
            whole_number(1, 100),
            "Tries before a post fails that met server errors, network errors or time-outs.",
        ),
    ] = 5
    retry_base_seconds: Annotated[
        float,
        Setting(
            _PUBLISHING,
            number(0.001, 3600),
            "Pause before the second try; it doubles with every further one.",
            unit="seconds",
        ),
    ] = 1.0
    max_rate_limit_wait_seconds: Annotated[
        int,
        Setting(
            _PUBLISHING,
            whole_number(0, 365 * _DAY_SECONDS),
            "Longest wait that a platform's rate limit may impose; a longer one fails the post as `RATE_LIMITED`.",
            unit="seconds",
        ),
    ] = _DAY_SECONDS

    sandbox_port: Annotated[
        int, Setting(_SANDBOX, PORT, "Port of the look-alike platforms.", unset="the port after `POSTPOST_PORT`")
    ] = 0
    sandbox_url: Annotated[
        str,
        Setting(
            _SANDBOX,
            WEB_ADDRESS,
            "Where workers find the sandbox.",
            unset="`POSTPOST_SANDBOX_PORT` on this machine",
        ),
    ] = ""
    sandbox_allow_remote: Annotated[
        bool,
        Setting(_SANDBOX, SWITCH, "Whether other machines may reach the sandbox, which asks nobody for a password."),
    ] = False

    log_format: Annotated[
        LogFormat,
        Setting(_LOGS, choice(LogFormat), "Form of log lines. `auto` is `console` in a terminal, else `json`."),
    ] = LogFormat.AUTO
    log_level: Annotated[LogLevel, Setting(_LOGS, choice(LogLevel), "Least severe events that are logged.")] = (
        LogLevel.INFO
    )
    metrics: Annotated[
        bool, Setting(_LOGS, SWITCH, "Whether the server answers `/metrics`, to everybody who can reach its port.")
    ] = True
    worker_metrics_port: Annotated[
        int,
        Setting(_LOGS, whole_number(0, MAX_PORT), "Port on which `postpost work` answers `/metrics`. `0` opens none."),
    ] = 0

    twitter_client_id: Annotated[str, Setting(_APPS, WORD, "Client id of your X app.", unset="none")] = ""
    twitter_client_secret: Annotated[
        str, Setting(_APPS, WORD, "Client secret of your X app.", unset="none", secret=True)
    ] = field(default="", repr=False)
    linkedin_client_id: Annotated[str, Setting(_APPS, WORD, "Client id of your LinkedIn app.", unset="none")] = ""
    linkedin_client_secret: Annotated[
        str, Setting(_APPS, WORD, "Client secret of your LinkedIn app.", unset="none", secret=True)
    ] = field(default="", repr=False)
    mastodon_client_id: Annotated[
        str, Setting(_APPS, WORD, "Client id of your application on mastodon.social.", unset="none")
    ] = ""
    mastodon_client_secret: Annotated[
        str, Setting(_APPS, WORD, "Client secret of your application on mastodon.social.", unset="none", secret=True)
    ] = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not self.sandbox_port:
            following = self.port + 1 if self.port < MAX_PORT else self.port - 1
            object.__setattr__(self, "sandbox_port", following)
        if not self.sandbox_url:
            object.__setattr__(self, "sandbox_url", f"http://127.0.0.1:{self.sandbox_port}")

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings from `environ`, by default the process's own environment.

        A blank value counts as not set. Raises ConfigError with every value that cannot be used, not the first only.
        """
        environ = _environment() if environ is None else environ
        values: dict[str, Any] = {}
        problems: list[str] = []
        for name, setting in SETTINGS.items():
            variable, text = _find(name, setting, environ)
            if not text:
                continue
            try:
                values[name] = setting.kind.read(text)
            except ValueError:
                shown = "the value" if setting.secret else repr(text)
                problems.append(f"{variable}: {shown} cannot be used; accepted: {setting.kind.accepted}")
        if problems:
            raise ConfigError(*problems)
        return cls(**values)

    def app(self, platform: str) -> App:
        """Return the operator's registration with a platform; its fields are empty where there is none."""
        return App(getattr(self, f"{platform}_client_id", ""), getattr(self, f"{platform}_client_secret", ""))


def _declared() -> dict[str, Setting]:
    hints = get_type_hints(Settings, include_extras=True)
    return {each.name: hints[each.name].__metadata__[0] for each in fields(Settings)}


SETTINGS: Mapping[str, Setting] = _declared()
"""What is declared about each setting, by the name of its field, in the order of the documentation."""


def variable_name(name: str) -> str:
    """Return the environment variable of the setting `name`."""
    return PREFIX + name.upper()


def unknown_variables(environ: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Return the POSTPOST_ variables that no setting reads, each with the known name that looks most like it.

    Without `environ` they are those of the process.
    """
    environ = _environment() if environ is None else environ
    known = {name.upper(): variable_name(name) for name in SETTINGS}
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in {*known.values(), *_NOT_OURS})
    # The prefix is left out of the comparison: every name has it, so that all would look alike.
    nearest = {name: difflib.get_close_matches(name.removeprefix(PREFIX), known, 1) for name in unknown}
    return {name: known[found[0]] if found else None for name, found in nearest.items()}


def _environment() -> Mapping[str, str]:
    return os.environ  # noqa: TID251 - the one place that reads the environment


def _find(name: str, setting: Setting, environ: Mapping[str, str]) -> tuple[str, str]:
    variable = variable_name(name)
    text = environ.get(variable, "").strip()
    if not text and setting.alias:
        return setting.alias, environ.get(setting.alias, "").strip()
    return variable, text


TABLE_BEGINS = "<!-- The settings: generated from postpost.config, do not edit by hand. -->"
TABLE_ENDS = "<!-- End of the settings. -->"


def with_settings_table(page: str) -> str:
    """Return the documentation page with the part between its two marks written anew from the declarations."""
    before, _, rest = page.partition(TABLE_BEGINS)
    _, _, after = rest.partition(TABLE_ENDS)
    return f"{before}{TABLE_BEGINS}\n{_settings_table()}\n{TABLE_ENDS}{after}"


def _settings_table() -> str:
    lines: list[str] = []
    topic = None
    for each in fields(Settings):
        setting = SETTINGS[each.name]
        if setting.topic != topic:
            topic = setting.topic
            lines += [
                "",
                f"### {topic}",
                "",
                "| variable | without it | accepted | what it does |",
                "| - | - | - | - |",
            ]
        lines.append(_row(each, setting))
    return "\n".join([*lines, ""])


def _row(each: "Field[Any]", setting: Setting) -> str:
    about = f"{setting.about} A secret." if setting.secret else setting.about
    if setting.alias:
        about += f" Also read as `{setting.alias}`."
    default = setting.unset or f"`{_as_text(each.default)}`" + (f" {setting.unit}" if setting.unit else "")
    return f"| `{variable_name(each.name)}` | {default} | {setting.kind.accepted} | {about} |"


def _as_text(value: object) -> str:
    if value is MISSING:
        raise TypeError("a setting whose default is made needs `unset`")
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
