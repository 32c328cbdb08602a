"""The validation object: its codes, its shape on the wire, and how numbers are written in its messages."""

import math
from collections.abc import Iterable
from enum import StrEnum

import msgspec
from msgspec import UNSET, UnsetType

from postpost.platforms.limits import MIB, PlatformLimits


class Code(StrEnum):
    """Codes of validation items (spec validation.md 3). The last three are reserved and never emitted."""

    PLATFORM_NOT_SUPPORTED = "PLATFORM_NOT_SUPPORTED"
    CONTENT_OR_MEDIA_REQUIRED = "CONTENT_OR_MEDIA_REQUIRED"
    CONTENT_TOO_LONG = "CONTENT_TOO_LONG"
    THREAD_PART_TOO_LONG = "THREAD_PART_TOO_LONG"
    INVALID_PLATFORM_CONTENT = "INVALID_PLATFORM_CONTENT"
    MEDIA_REQUIRED = "MEDIA_REQUIRED"
    VIDEO_REQUIRED = "VIDEO_REQUIRED"
    IMAGES_NOT_SUPPORTED = "IMAGES_NOT_SUPPORTED"
    MEDIA_COUNT_EXCEEDED = "MEDIA_COUNT_EXCEEDED"
    MEDIA_TYPE_NOT_SUPPORTED = "MEDIA_TYPE_NOT_SUPPORTED"
    MEDIA_SIZE_EXCEEDED = "MEDIA_SIZE_EXCEEDED"
    MEDIA_DIMENSIONS_INVALID = "MEDIA_DIMENSIONS_INVALID"
    MEDIA_NOT_REACHABLE = "MEDIA_NOT_REACHABLE"
    VIDEO_DURATION_EXCEEDED = "VIDEO_DURATION_EXCEEDED"
    VIDEO_DURATION_TOO_SHORT = "VIDEO_DURATION_TOO_SHORT"
    VIDEO_FPS_TOO_LOW = "VIDEO_FPS_TOO_LOW"
    PLATFORM_SETTING_REQUIRED = "PLATFORM_SETTING_REQUIRED"
    PLATFORM_SETTING_INVALID = "PLATFORM_SETTING_INVALID"
    VALIDATION_SYSTEM_ERROR = "VALIDATION_SYSTEM_ERROR"
    CONTENT_TOO_SHORT = "CONTENT_TOO_SHORT"
    CONTENT_REQUIRED = "CONTENT_REQUIRED"
    VIDEO_NOT_SUPPORTED = "VIDEO_NOT_SUPPORTED"


class Severity(StrEnum):
    """Whether an item keeps a post from being published."""

    ERROR = "error"
    WARNING = "warning"


Value = int | float | str


class Item(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One finding (spec validation.md 2). Sizes are bytes, durations seconds, text counts the platform's unit."""

    platform: str
    code: Code
    message: str
    field: str
    severity: Severity
    constraint: str | UnsetType = UNSET
    current_value: Value | UnsetType = UNSET
    max_value: Value | UnsetType = UNSET
    min_value: Value | UnsetType = UNSET
    suggestions: tuple[str, ...] | UnsetType = UNSET


class Summary(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Totals; platforms without repeats in order of first appearance, errors first."""

    affected_platforms: tuple[str, ...]
    error_count: int
    warning_count: int


class Validation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The validation object as clients get it (spec validation.md 2)."""

    valid: bool
    errors: tuple[Item, ...]
    warnings: tuple[Item, ...]
    summary: Summary


def assemble(items: Iterable[Item]) -> Validation:
    """Build the object; items that are equal in every field are listed once, order is kept."""
    unique = tuple(dict.fromkeys(items))
    errors = tuple(item for item in unique if item.severity is Severity.ERROR)
    warnings = tuple(item for item in unique if item.severity is Severity.WARNING)
    return Validation(
        valid=not errors,
        errors=errors,
        warnings=warnings,
        summary=Summary(
            affected_platforms=tuple(dict.fromkeys(item.platform for item in errors + warnings)),
            error_count=len(errors),
            warning_count=len(warnings),
        ),
    )


def make_item(
    limits: PlatformLimits,
    code: Code,
    field: str,
    message: str,
    *,
    severity: Severity = Severity.ERROR,
    constraint: str | UnsetType = UNSET,
    current: Value | UnsetType = UNSET,
    max_value: Value | UnsetType = UNSET,
    min_value: Value | UnsetType = UNSET,
    suggestions: tuple[str, ...] | UnsetType = UNSET,
) -> Item:
    """Build an item about a platform. A number without a fraction is written as an integer."""
    return Item(
        platform=limits.key,
        code=code,
        message=message,
        field=field,
        severity=severity,
        constraint=constraint,
        current_value=_plain(current),
        max_value=_plain(max_value),
        min_value=_plain(min_value),
        suggestions=suggestions,
    )


def _plain(value: Value | UnsetType) -> Value | UnsetType:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def format_megabytes(size_bytes: int) -> str:
    """Write a size as `2.5MB`: always megabytes of 1 048 576 bytes, one decimal, halves up (spec validation.md 3.4)."""
    tenths = (size_bytes * 20 + MIB) // (2 * MIB)
    return f"{tenths // 10}.{tenths % 10}MB"


def format_duration(seconds: float) -> str:
    """Write a duration, rounded up to whole seconds, as `45s`, `2m 0s` or `12h 0m 0s` (spec validation.md 3.4)."""
    whole = math.ceil(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes}m {rest}s"
    return f"{minutes}m {rest}s" if minutes else f"{rest}s"


def format_ratio(ratio: float) -> str:
    """Write a ratio with two decimals."""
    return f"{ratio:.2f}"
