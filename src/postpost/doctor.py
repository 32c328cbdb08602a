"""What `postpost doctor` examines: the settings, and whether what they lead to is there. It changes nothing."""

import asyncio
import os
import stat
import tempfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import asyncpg
import msgspec

from postpost import __version__
from postpost.accounts.plans import check_plan_key, load_plans
from postpost.config import SETTINGS, ConfigError, Settings, unknown_variables, variable_name
from postpost.connections import store as connections_store
from postpost.database.embedded import EmbeddedPostgres, EmbeddedPostgresError
from postpost.database.migrate import fetch_revision, head_revision
from postpost.database.pool import DATABASE_AWAY, Database
from postpost.logs import scrub
from postpost.outgoing import HttpClient
from postpost.platforms import CONNECTORS
from postpost.platforms.base import PlatformError
from postpost.runtime import PortError, listen, open_database
from postpost.vault import KEY_FILE, Vault, VaultError

ANSWER_SECONDS = 3.0
"""Longest wait for an answer of our own server or sandbox."""

SAMPLE = 1000
"""Stored credentials that are tried with the key."""


class State(StrEnum):
    """How a check ended; only `failed` makes the whole examination fail."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Check(msgspec.Struct, frozen=True, rename="camel"):
    """One line of the examination; `next_step` is there unless all is well."""

    name: str
    state: State
    detail: str
    next_step: str | None = None


def any_failed(checks: list[Check]) -> bool:
    """Say whether something is wrong."""
    return any(check.state is State.FAILED for check in checks)


async def examine() -> list[Check]:
    """Examine everything, in the order in which it would be mended."""
    checks = [Check("version", State.OK, f"PostPost {__version__}"), *_unknown()]
    try:
        settings = Settings.load()
    except ConfigError as error:
        how = "correct the variable, see docs/configuration.md"
        return [*checks, *(Check("settings", State.FAILED, problem, how) for problem in error.problems)]
    checks.append(Check("settings", State.OK, "every POSTPOST_ variable can be read"))
    checks += [_home(settings.home), _secret_key(settings), _plans(settings)]
    if settings.database_url is None:
        checks.append(await asyncio.to_thread(_embedded, settings))
    checks += await _database(settings)
    checks += await _ports(settings)
    checks += _apps(settings)
    return checks


def _unknown() -> Iterator[Check]:
    for name, meant in unknown_variables().items():
        if meant is None:
            yield Check("settings", State.WARNING, f"{name} is no setting", "remove it if it was meant for PostPost")
        else:
            yield Check("settings", State.FAILED, f"{name} is no setting", f"did you mean {meant}?")


def _home(home: Path) -> Check:
    if not home.exists():
        above = next(parent for parent in home.parents if parent.exists())
        if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
            return Check("home", State.OK, f"{home} will be made")
        return Check("home", State.FAILED, f"{home} cannot be made in {above}", "set POSTPOST_HOME to another folder")
    try:
        with tempfile.TemporaryFile(dir=home):
            return Check("home", State.OK, f"{home} can be written")
    except OSError as error:
        how = "mend its permissions, or set POSTPOST_HOME to another folder"
        return Check("home", State.FAILED, f"{home} cannot be written: {error.strerror}", how)


def _secret_key(settings: Settings) -> Check:
    name = "secret key"
    if settings.secret_key:
        return Check(name, State.OK, f"{len(settings.secret_key)} in POSTPOST_SECRET_KEY")
    path = settings.home / KEY_FILE
    how = "restore it from a backup, or set POSTPOST_SECRET_KEY"
    try:
        mode = path.stat().st_mode
        Vault((path.read_text("ascii").strip(),))
    except FileNotFoundError:
        return Check(name, State.OK, f"{path} will be made")
    except OSError as error:
        return Check(name, State.FAILED, f"{path} cannot be read: {error.strerror}", how)
    except (VaultError, UnicodeDecodeError):
        return Check(name, State.FAILED, f"{path} holds no key", how)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Check(name, State.FAILED, f"others may read {path}", f"chmod 600 {path}")
    return Check(name, State.OK, str(path))


def _plans(settings: Settings) -> Check:
    try:
        plans = load_plans(settings.plans_file)
        check_plan_key(settings.default_plan, plans)
    except ConfigError as error:
        how = "correct the file, or POSTPOST_PLANS_FILE and POSTPOST_DEFAULT_PLAN"
        return Check("plans", State.FAILED, "; ".join(error.problems), how)
    return Check("plans", State.OK, f"{', '.join(plans)}; the default is {settings.default_plan or 'none'}")


def _embedded(settings: Settings) -> Check:
    name = "embedded PostgreSQL"
    try:
        found = EmbeddedPostgres(settings.home).describe()
    except EmbeddedPostgresError as error:
        return Check(name, State.FAILED, error.failure, error.next_step)
    place = f"{found['version']}, {found['server']}, as user {found['user']}, data in {found['data']}"
    return Check(name, State.OK, place)


def _is_made(settings: Settings) -> bool:
    """Say whether there is a database to look into: an embedded one that was never started is not made for it."""
    return settings.database_url is not None or Path(EmbeddedPostgres(settings.home).describe()["data"]).exists()


async def _database(settings: Settings) -> list[Check]:
    name = "database"
    try:
        if not await asyncio.to_thread(_is_made, settings):
            return [Check(name, State.OK, "there is none yet; `postpost up` makes it")]
        async with open_database(settings) as database:
            return await _contents(settings, database)
    except EmbeddedPostgresError as error:
        return [Check(name, State.FAILED, error.failure, error.next_step)]
    except (*DATABASE_AWAY, asyncpg.PostgresError) as error:
        said = scrub(" ".join(str(error).split())) or type(error).__name__
        how = "start PostgreSQL, or correct POSTPOST_DATABASE_URL"
        return [Check(name, State.FAILED, f"cannot be reached: {said}", how)]


async def _contents(settings: Settings, database: Database) -> list[Check]:
    async with database.connection() as connection:
        revision = await fetch_revision(connection)
        if revision is None or revision < head_revision():
            stands = "is empty" if revision is None else f"stands at revision {revision}"
            problem = f"{stands}, this version needs {head_revision()}"
            return [Check("database", State.FAILED, problem, "postpost migrate")]
        if revision > head_revision():
            problem = f"stands at revision {revision}, newer than this version"
            return [Check("database", State.FAILED, problem, "upgrade PostPost")]
        credentials = await connections_store.fetch_stored_credentials(connection, SAMPLE)
        in_sandbox = await connections_store.has_sandbox_connections(connection)
    checks = [Check("database", State.OK, f"reachable, at revision {revision}"), _credentials(settings, credentials)]
    if in_sandbox:
        checks.append(await _sandbox(settings))
    return checks


def _credentials(settings: Settings, stored: list[bytes]) -> Check:
    name = "stored credentials"
    key_file = settings.home / KEY_FILE
    keys = settings.secret_key
    try:
        if not keys and key_file.exists():
            keys = (key_file.read_text("ascii").strip(),)
        vault = Vault(keys) if keys else None
    except (OSError, VaultError, UnicodeDecodeError):
        vault = None
    closed = [one for one in stored if vault is None or not _opens(vault, one)]
    if closed:
        problem = f"{len(closed)} of {len(stored)} cannot be opened with the secret key"
        how = "put the key that encrypted them back, behind the new one in POSTPOST_SECRET_KEY"
        return Check(name, State.FAILED, problem, how)
    return Check(name, State.OK, f"{len(stored)} opened with the secret key" if stored else "none yet")


def _opens(vault: Vault, stored: bytes) -> bool:
    try:
        vault.decrypt(stored)
    except VaultError:
        return False
    return True


async def _sandbox(settings: Settings) -> Check:
    name = "sandbox"
    if await _answers(f"{settings.sandbox_url}/_sandbox/"):
        return Check(name, State.OK, f"answers at {settings.sandbox_url}")
    problem = f"there are sandbox connections, and nothing answers at {settings.sandbox_url}"
    how = "start it with `postpost up --sandbox` or `postpost sandbox`, or set POSTPOST_SANDBOX_URL"
    return Check(name, State.WARNING, problem, how)


async def _answers(url: str) -> bool:
    http = HttpClient(ANSWER_SECONDS)
    try:
        return (await http.request("GET", url)).status < 400
    except PlatformError:
        return False
    finally:
        await http.close()


async def _ports(settings: Settings) -> list[Check]:
    """Try the ports that `postpost up --sandbox` would listen on."""
    return [
        await _port("port", settings.host, settings.port, "/health/live", State.FAILED),
        await _port("sandbox port", "127.0.0.1", settings.sandbox_port, "/_sandbox/", State.WARNING),
    ]


async def _port(name: str, host: str, port: int, path: str, trouble: State) -> Check:
    where = f"{host}:{port}"
    try:
        listen(host, port).close()
    except PortError as error:
        if await _answers(f"http://{where}{path}"):
            return Check(name, State.OK, f"PostPost answers at {where}")
        variable = variable_name(name.replace(" ", "_"))
        return Check(name, trouble, str(error), f"end what uses it, or set {variable}")
    return Check(name, State.OK, f"{where} is free")


def _apps(settings: Settings) -> Iterator[Check]:
    for connector in CONNECTORS:
        key = connector.platform.key
        name = f"app on {connector.platform.name}"
        setting = f"{key}_client_id"
        if setting not in SETTINGS:
            yield Check(name, State.OK, "none is needed")
            continue
        app = settings.app(key)
        missing = [part for part in ("client_id", "client_secret") if not getattr(app, part)]
        names = " and ".join(variable_name(f"{key}_{part}") for part in missing)
        if not missing:
            yield Check(name, State.OK, "configured")
        elif len(missing) == 1:
            yield Check(name, State.WARNING, "configured by half", f"set {names}")
        else:
            yield Check(name, State.OK, f"none: tokens from elsewhere work until they end; {names} let them be renewed")
