import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from postpost.accounts import keys
from postpost.config import LogFormat, LogLevel, Settings
from postpost.logs import REDACTED, configure, redact, scrub


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def logged(stream: io.StringIO) -> dict[str, Any]:
    [line] = lines(stream)
    return line


def test_event_when_json_then_one_object_with_level_and_time_in_utc():
    stream = io.StringIO()
    configure(LogFormat.JSON, LogLevel.INFO, stream)

    structlog.get_logger().info("posts_recovered", count=3)

    line = logged(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "posts_recovered", "level": "info", "count": 3}


def test_event_when_context_is_bound_then_it_has_it():
    stream = io.StringIO()
    configure(LogFormat.JSON, LogLevel.INFO, stream)

    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger().info("request")

    assert logged(stream)["request_id"] == "r1"


@pytest.mark.parametrize(
    ("form", "stream", "is_json"),
    [
        (LogFormat.AUTO, io.StringIO(), True),
        (LogFormat.AUTO, Terminal(), False),
        (LogFormat.JSON, Terminal(), True),
        (LogFormat.CONSOLE, io.StringIO(), False),
    ],
)
def test_form_when_configured_then_json_or_readable(form: LogFormat, stream: io.StringIO, is_json: bool):
    configure(form, LogLevel.INFO, stream)

    structlog.get_logger().info("something")

    assert stream.getvalue().startswith("{") == is_json


def test_colours_when_no_terminal_then_none():
    stream = io.StringIO()
    configure(LogFormat.CONSOLE, LogLevel.INFO, stream)

    structlog.get_logger().info("something")

    assert "\x1b" not in stream.getvalue()


def test_level_when_less_severe_then_dropped_whoever_logs():
    stream = io.StringIO()
    configure(LogFormat.JSON, LogLevel.WARNING, stream)

    structlog.get_logger().info("ours")
    logging.getLogger("asyncpg").info("theirs")
    structlog.get_logger().warning("ours_too")

    assert [line["event"] for line in lines(stream)] == ["ours_too"]


@pytest.mark.parametrize("name", ["uvicorn.error", "pgqueuer", "asyncpg.pool", "alembic.runtime"])
def test_library_when_it_logs_then_the_same_form_with_its_name(name: str):
    stream = io.StringIO()
    configure(LogFormat.JSON, LogLevel.INFO, stream)

    logging.getLogger(name).warning("took %d s", 3)

    line = logged(stream)
    line.pop("timestamp")
    assert line == {"event": "took 3 s", "level": "warning", "logger": name}


def test_server_when_it_had_its_own_handler_then_its_lines_come_once():
    stream = io.StringIO()
    logging.getLogger("uvicorn").addHandler(logging.StreamHandler(stream))
    configure(LogFormat.JSON, LogLevel.INFO, stream)

    logging.getLogger("uvicorn.error").warning("started")

    assert logged(stream)["event"] == "started"


@pytest.mark.parametrize(("level", "shown"), [(LogLevel.INFO, False), (LogLevel.DEBUG, True)])
def test_library_when_it_tells_of_everyday_things_then_shown_only_for_debugging(level: LogLevel, shown: bool):
    stream = io.StringIO()
    configure(LogFormat.JSON, level, stream)

    logging.getLogger("pgqueuer").info("dispatching")

    assert ("dispatching" in stream.getvalue()) is shown


def test_configure_when_called_again_then_lines_come_once_and_to_the_new_stream():
    first, second = io.StringIO(), io.StringIO()
    configure(LogFormat.JSON, LogLevel.INFO, first)
    configure(LogFormat.JSON, LogLevel.INFO, second)

    logging.getLogger("pgqueuer").warning("theirs")
    structlog.get_logger().info("ours")

    assert first.getvalue() == ""
    assert [line["event"] for line in lines(second)] == ["theirs", "ours"]


@pytest.mark.parametrize("form", [LogFormat.JSON, LogFormat.CONSOLE])
@pytest.mark.parametrize("ours", [True, False])
def test_exception_when_logged_then_its_trace_has_no_secret(form: LogFormat, ours: bool):
    stream = io.StringIO()
    configure(form, LogLevel.INFO, stream)

    try:
        raise RuntimeError("refused: Bearer canary-canary")
    except RuntimeError:
        if ours:
            structlog.get_logger().exception("failed")
        else:
            logging.getLogger("uvicorn.error").exception("failed")

    assert "RuntimeError" in stream.getvalue()
    assert "canary" not in stream.getvalue()


@pytest.mark.parametrize(
    "name",
    [
        "password", "smtp_password", "client_secret", "webhookSecret", "secret_key", "api_key", "apiKey", "x-api-key",
        "access_token", "refreshToken", "token", "access_jwt", "Authorization", "cookie", "Set-Cookie", "credentials",
        "code_verifier", "database_url", "dsn",
    ],
)  # fmt: skip
def test_redact_when_the_name_is_a_secrets_then_the_value_is_gone(name: str):
    event = redact(None, "info", {"event": "x", name: "canary", "deep": [{name: ["canary"]}]})

    assert event == {"event": "x", name: REDACTED, "deep": [{name: REDACTED}]}


@pytest.mark.parametrize("name", ["token_expires_in", "key_id", "secret_count", "next_page", "platform_id"])
def test_redact_when_the_name_only_resembles_one_then_the_value_stays(name: str):
    assert redact(None, "info", {name: "kept"}) == {name: "kept"}


def test_redact_when_a_secret_is_absent_then_that_shows():
    assert redact(None, "info", {"refresh_token": None}) == {"refresh_token": None}


def test_redact_when_values_nest_without_end_then_it_stops():
    endless: dict[str, Any] = {}
    endless["more"] = endless

    json.dumps(redact(None, "info", {"value": endless}))


def test_redact_when_a_value_is_an_object_then_its_secrets_are_gone():
    settings = Settings(database_url="postgresql://me:canary@db/x")

    event = redact(None, "info", {"settings": settings, "error": ValueError("token=canary"), "raw": b"token=canary"})

    assert "canary" not in repr(event)


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("Authorization: Bearer abc.def-ghi", f"Authorization: Bearer {REDACTED}"),
        ("bearer abcdefgh", f"bearer {REDACTED}"),
        ("Basic dXNlcjpwYXNzd29yZHBhc3M=", f"Basic {REDACTED}"),
        ("postgresql://me:hush@db/x", f"postgresql://me:{REDACTED}@db/x"),
        ("grant_type=x&refresh_token=hush&b=c", f"grant_type=x&refresh_token={REDACTED}&b=c"),
        ("https://a/b?X-Amz-Signature=hush&x=y", f"https://a/b?X-Amz-Signature={REDACTED}&x=y"),
        ('{"accessJwt": "a\\"b", "did": "c"}', f'{{"accessJwt": "{REDACTED}", "did": "c"}}'),
        ('{"password":"hush"}', f'{{"password":"{REDACTED}"}}'),
        ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln back", f"got {REDACTED} back"),
        (
            "https://api.telegram.org/bot123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0/getMe",
            f"https://api.telegram.org/bot{REDACTED}/getMe",
        ),
    ],
)
def test_scrub_when_a_text_has_a_secret_then_only_that_is_gone(text: str, scrubbed: str):
    assert scrub(text) == scrubbed


def test_scrub_when_a_text_has_an_api_key_then_its_prefix_stays():
    key, prefix, _ = keys.new_key(1_773_133_200_000)

    assert scrub(f"key {key} refused") == f"key {prefix}.{REDACTED} refused"


@pytest.mark.parametrize(
    "text",
    [
        "Basic authentication is off",
        "the token expired",
        "2026-03-10T09:00:00.000Z",
        "http://127.0.0.1:8080/a@b",
        "bluesky-did:plc:abc123",
        "69f85a3b0c1d2e3f40516273",
    ],
)
def test_scrub_when_a_text_has_no_secret_then_it_stays(text: str):
    assert scrub(text) == text
