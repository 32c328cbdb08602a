"""LinkedIn's little text, read as LinkedIn reads it: silently cut where it does not parse."""

import re
from dataclasses import dataclass

_ELEMENT = re.compile(
    r"""
    \\(?P<literal>[\\|{}@\[\]()<>\#*_~])
    | @\[(?P<name>(?:\\[\\|{}@\[\]()<>\#*_~]|[^\\|{}@\[\]()<>\#*_~])+)\]
      \(urn:li:(?:person|organization|member):[A-Za-z0-9_-]+\)
    | (?<!\w)\#(?P<tag>[^\W_]+)
    | \{hashtag\|\\?\#\|(?P<template>[^\\|{}@\[\]()<>\#*_~\s]+)\}
    | (?P<plain>[^\\|{}@\[\]()<>\#*_~]+)
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class LittleText:
    """What a reader sees of a text, and how far into the source it parsed."""

    plain: str
    end: int


def read_little_text(source: str) -> LittleText:
    """Read mentions, hashtags and escapes, up to the first reserved character that stands for none of them.

    Reserved are `\\ | { } @ [ ] ( ) < > # * _ ~` (LinkedIn, "little" text format).
    """
    shown: list[str] = []
    position = 0
    while position < len(source):
        found = _ELEMENT.match(source, position)
        if found is None:
            break
        position = found.end()
        if found["tag"]:
            shown.append(f"#{found['tag']}")
        elif found["template"]:
            shown.append(f"#{found['template']}")
        elif found["name"]:
            shown.append(_ESCAPE.sub(r"\1", found["name"]))
        else:
            shown.append(found["literal"] or found["plain"])
    return LittleText("".join(shown), position)
