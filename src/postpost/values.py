"""Decoded JSON values: strict decoding, and what the API counts as falsy."""

from typing import Any, Final, TypeAlias

import msgspec

Json: TypeAlias = Any
"""A value that JSON can hold; a name for readers, since the type checker cannot say it usefully."""

MAX_DEPTH: Final = 100
"""Levels of arrays and objects in a JSON value, the outermost being the first (spec errors.md T4)."""

_BOM: Final = b"\xef\xbb\xbf"


def decode_json(raw: bytes | str) -> Any:
    """Decode any JSON value by the rules of T4, for bodies and for fields that hold JSON in a string.

    Raises ValueError. msgspec refuses NaN, bad UTF-8, control characters and halves of surrogate pairs by itself;
    the walk for depth and U+0000 is taken only when a look at the bytes says that it could find something.
    """
    if isinstance(raw, str):
        raw = raw.encode("utf-8", "strict")
    try:
        value = msgspec.json.decode(raw.removeprefix(_BOM))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH or b"\\u0000" in raw:
        _refuse_deep_or_nul(value)
    return value


def falsy(value: Any) -> bool:
    """Say whether a decoded value is absent (None), null, false, 0 or `""` (spec rest-api.md 1.3); `[]` is not."""
    return value is None or (isinstance(value, str | int | float) and not value)


def _refuse_deep_or_nul(value: Any) -> None:
    """Raise ValueError when `value` holds U+0000 or more than MAX_DEPTH levels; iterative, for it may be deep."""
    level = [value]
    depth = 0
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                if any("\0" in key for key in item):
                    raise ValueError("U+0000 in a key")
                below.append(item.values())
            elif isinstance(item, list):
                below.append(item)
            elif isinstance(item, str) and "\0" in item:
                raise ValueError("U+0000 in a string")
        depth += bool(below)
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
        level = [child for children in below for child in children]
