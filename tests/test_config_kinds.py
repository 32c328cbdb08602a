from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from postpost.config import LogLevel
from postpost.config_kinds import (
    DATABASE_URL,
    KEYS,
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

KEY = "c" * 43 + "="
"""A key of the right form, the same in every process: it is part of a test's name."""

REFUSED: Mapping[str, tuple[Kind, tuple[str, ...]]] = MappingProxyType(
    {
        "whole number": (whole_number(2, 10), ("1", "11", "-3", "+3", "3.0", "1_0", "٣", "three", "9" * 5000)),
        "number": (number(0, 10), ("-0.1", "10.1", "nan", "inf", "three")),
        "port": (PORT, ("0", "65536")),
        "choice": (choice(LogLevel), ("loud", "infos")),
        "switch": (SWITCH, ("maybe", "2", "-")),
        "word": (WORD, ("two words", "a\tb", "a\x00b")),
        "web address": (
            WEB_ADDRESS,
            (
                "example.com",
                "ftp://example.com",
                "http://",
                "https://a/?b",
                "https://a/#b",
                "http://a:99999",
                "http://a b",
            ),
        ),
        "database": (DATABASE_URL, ("mysql://a/b", "a/b", "sqlite:///x.db")),
        "keys": (KEYS, ("short", f"{KEY},", f"{KEY},short", "é" * 44)),
        "plan": (PLAN_KEY, ("two words",)),
        "path": (PATH, ("~nobody-of-this-name/x",)),
    }
)


@pytest.mark.parametrize(
    ("kind", "text"),
    [(kind, text) for kind, texts in REFUSED.values() for text in texts],
    ids=[f"{name}-{index}" for name, (_, texts) in REFUSED.items() for index, _ in enumerate(texts)],
)
def test_read_when_text_is_not_of_the_kind_then_value_error(kind: Kind, text: str):
    with pytest.raises(ValueError):  # noqa: PT011 - the text of the error is never shown
        kind.read(text)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (whole_number(2, 10), "2", 2),
        (whole_number(2, 10), "10", 10),
        (number(0, 10), "2.5", 2.5),
        (choice(LogLevel), "Warning", LogLevel.WARNING),
        (SWITCH, "TRUE", True),
        (SWITCH, "on", True),
        (SWITCH, "1", True),
        (SWITCH, "No", False),
        (SWITCH, "0", False),
        (WEB_ADDRESS, "https://media.example.com/files/", "https://media.example.com/files"),
        (DATABASE_URL, "postgres://me@db/postpost", "postgres://me@db/postpost"),
        (KEYS, f" {KEY} , {KEY}", (KEY, KEY)),
        (PLAN_KEY, "NONE", None),
        (PLAN_KEY, "pro", "pro"),
        (PATH, "/a/b", Path("/a/b")),
        (PATH, "~/a", Path.home() / "a"),
    ],
)
def test_read_when_text_is_of_the_kind_then_its_value(kind: Kind, text: str, value: object):
    assert kind.read(text) == value
