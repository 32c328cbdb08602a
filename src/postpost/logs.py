"""The log: one line for each event, in one form whoever logs it, with every secret taken out."""

import logging
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TextIO

import msgspec
import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from postpost.config import LogFormat, LogLevel

REDACTED = "[redacted]"

ACCESS_EVENT = "request"
"""The event that `postpost.http.transport` logs for every answer."""


_DEEPEST = 6
"""Nesting that is still shown; nothing that is worth a log line lies deeper, and a cycle has to end somewhere."""

_SECRET_NAME = re.compile(
    r"(?:password|passphrase|secret|secret_?key|private_?key|api_?key|token|jwt|authorization|cookies?|credentials?|"
    r"code_?verifier|database_url|dsn)$"
)
"""Names whose values are never shown, in lower case with `_` for `-`; `token_expires_in` and the like are no secret."""

_JSON_FIELD = r'"(?:[a-z_-]*(?:password|secret|token|jwt)|api_?key|authorization)"\s*:\s*"'
_PAIR_NAME = (
    r"\b(?:[a-z_]*(?:password|secret|token)|api_?key|code_verifier|assertion|"
    r"x-amz-signature|x-amz-credential|x-amz-security-token)="
)
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # An API key keeps its prefix, which is no secret and finds the key again (spec rest-api.md 2.1).
    (re.compile(r"\b(sk_[0-9a-z]+_[0-9a-f]{16}\.)[0-9a-f]+"), rf"\1{REDACTED}"),
    (re.compile(r"\b(Bearer)\s+[A-Za-z0-9+/=._~:-]{6,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    # Words may follow these two: "Basic authentication" is no secret.
    (re.compile(r"\b(Basic|OAuth)\s+[A-Za-z0-9+/=._~:-]{20,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"(://[^\s:/@]*:)[^\s/@]+@"), rf"\1{REDACTED}@"),
    (re.compile(rf'({_JSON_FIELD})(?:[^"\\]|\\.)*', re.IGNORECASE), rf"\1{REDACTED}"),
    (re.compile(rf"({_PAIR_NAME})[^\s&\"'<>]+", re.IGNORECASE), rf"\1{REDACTED}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), REDACTED),  # a JSON web token
    (re.compile(r"(?<![0-9])[0-9]{6,12}:[A-Za-z0-9_-]{30,}"), REDACTED),  # the token of a Telegram bot
)

_SUSPECT = re.compile(r'sk_|eyJ|[="@]|bearer|basic|oauth|[0-9]:[a-z0-9_-]{30}', re.IGNORECASE)
"""Every pattern above needs one of these; most texts in a log have none, and need one look instead of eight."""

_SERVER_LOGGERS = ("uvicorn", "uvicorn.error", "uvicorn.access")
_TALKATIVE_LOGGERS = ("alembic", "uvicorn.error", "pgqueuer")
"""Libraries whose everyday events say nothing to an operator: theirs are shown from warnings on, unless debugging."""


def configure(form: LogFormat, level: LogLevel, stream: TextIO | None = None) -> None:
    """Send every log line of this process to `stream` (standard error), ours and those of the libraries alike.

    `auto` is readable where the stream is a terminal and JSON elsewhere. May be called again. uvicorn must be
    started with `log_config=None`, or it installs handlers of its own.
    """
    out = stream or sys.stderr
    in_terminal = out.isatty()
    readable = form is LogFormat.CONSOLE or (form is LogFormat.AUTO and in_terminal)
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=in_terminal, exception_formatter=structlog.dev.plain_traceback)
        if readable
        else structlog.processors.JSONRenderer(serializer=_to_json)
    )
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    severity = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(severity),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        # Module-level loggers live longer than one configuration; keeping them costs 2 microseconds an event.
        cache_logger_on_first_use=False,
    )
    _configure_libraries(out, severity, shared, renderer)


def _configure_libraries(out: TextIO, severity: int, shared: list[Processor], renderer: Processor) -> None:
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(severity)
    for name in _SERVER_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in _TALKATIVE_LOGGERS:
        logging.getLogger(name).setLevel(severity if severity <= logging.DEBUG else logging.WARNING)
    logging.captureWarnings(capture=True)


def _to_json(event: EventDict, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take secrets out of an event: whole values by their names, parts of texts by their patterns."""
    if event.get("event") == ACCESS_EVENT:  # has a method, a template, a status and a time: no place for a secret
        return event
    for name, value in event.items():
        if not name.startswith("_"):  # structlog's own, dropped before the line is written
            event[name] = _clean_named(name, value, 0)
    return event


def scrub(text: str) -> str:
    """Return the text without what looks like a key, a token or a password."""
    if not _SUSPECT.search(text):
        return text
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def _clean_named(name: str, value: Any, depth: int) -> Any:
    if value is not None and _names_secret(name):
        return REDACTED
    return _clean(value, depth)


@lru_cache(1024)
def _names_secret(name: str) -> bool:
    return _SECRET_NAME.search(name.lower().replace("-", "_")) is not None


def _clean(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, bytes):
        return scrub(value.decode("utf-8", "replace"))
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {str(key): _clean_named(str(key), item, depth + 1) for key, item in value.items()}
    if depth < _DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, depth + 1) for item in value]
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return "..."
    return scrub(str(value) if isinstance(value, BaseException) else repr(value))
