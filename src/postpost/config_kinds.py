"""The kinds of text that a setting may be: each in words, for people, and as the function that reads it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from cryptography.fernet import Fernet

MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Kind:
    """What a setting's text may be, in words, and how it is read; `read` raises ValueError for anything else."""

    accepted: str
    read: Callable[[str], Any]


E = TypeVar("E", bound=StrEnum)


def whole_number(least: int, most: int) -> Kind:
    """A number in digits; both ends are allowed."""

    def read(text: str) -> int:
        # int() alone would take "1_000", "+5" and the digits of other scripts.
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise ValueError(text)
        return int(text)

    return Kind(f"a whole number from {least} to {most}", read)


def number(least: float, most: float) -> Kind:
    """A number that may have a fraction; both ends are allowed."""

    def read(text: str) -> float:
        value = float(text)
        if not math.isfinite(value) or not least <= value <= most:
            raise ValueError(text)
        return value

    return Kind(f"a number from {least:g} to {most:g}", read)


def choice(options: type[E]) -> Kind:
    """One of the values of an enum, in either case."""
    return Kind(" or ".join(f"`{option}`" for option in options), lambda text: options(text.lower()))


_ON = frozenset({"true", "yes", "on", "1"})
_OFF = frozenset({"false", "no", "off", "0"})


def _read_switch(text: str) -> bool:
    word = text.lower()
    if word not in _ON | _OFF:
        raise ValueError(text)
    return word in _ON


def _read_word(text: str) -> str:
    if not text.isprintable() or len(text.split()) != 1:
        raise ValueError(text)
    return text


def _read_path(text: str) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:  # "~name" of a user who does not exist
        raise ValueError(text) from error


def _read_plan_key(text: str) -> str | None:
    return None if text.lower() == "none" else _read_word(text)


def _read_web_address(text: str) -> str:
    parts = urlsplit(_read_word(text))
    complete = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    if not complete or parts.query or parts.fragment:
        raise ValueError(text)
    return text.rstrip("/")


def _read_database_url(text: str) -> str:
    if urlsplit(text).scheme not in ("postgresql", "postgres"):
        raise ValueError(text)
    return text


def _read_keys(text: str) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in text.split(","))
    for key in keys:
        Fernet(key)
    return keys


SWITCH = Kind("`true` or `false`", _read_switch)
WORD = Kind("a text without blanks", _read_word)
PATH = Kind("a path", _read_path)
WEB_ADDRESS = Kind("an address that starts with http:// or https://, without ? and #", _read_web_address)
DATABASE_URL = Kind("an address that starts with postgresql://", _read_database_url)
KEYS = Kind("Fernet keys (32 bytes, URL-safe base64), separated by commas", _read_keys)
PLAN_KEY = Kind("the key of a plan, or `none`", _read_plan_key)
PORT = whole_number(1, MAX_PORT)
