"""The checks of a platform's settings: single values first, then what they mean together."""

import re
from collections.abc import Iterator, Mapping

from msgspec import UNSET

from postpost.platforms.limits import PlatformLimits
from postpost.posts.settings import ABSENT, FIELDS, Field
from postpost.posts.validation_items import Code, Item, make_item
from postpost.values import Json

VIEWER_REQUIRED = "TikTok requires selecting who can view your post"
COMMERCIAL_INCOMPLETE = "TikTok commercial content requires brandOrganic or brandedContent"
BRANDED_PRIVATE = "TikTok branded content cannot be private"


def check_settings(limits: PlatformLimits, settings: Mapping[str, Json], facts: Mapping[str, Json]) -> Iterator[Item]:
    """Yield the findings about the platform's own merged settings (spec validation.md 3.1, platform-rules.md 8)."""
    for field in FIELDS.get(limits.key, ()):
        yield from _check_field(limits, field, settings.get(field.name, ABSENT))
    if limits.key == "tiktok":
        yield from _check_tiktok(limits, settings, facts)


def _check_field(limits: PlatformLimits, field: Field, value: Json) -> Iterator[Item]:
    if field.required and value in ("", None, ABSENT):
        yield make_item(
            limits, Code.PLATFORM_SETTING_REQUIRED, "settings", VIEWER_REQUIRED, constraint="requiredSetting"
        )
    elif (value is ABSENT and not field.required) or (value is None and field.default is ABSENT):
        return
    elif not isinstance(value, field.type) or not _has_allowed_value(field, value):
        yield _invalid(limits, field.name, value)
    elif field.max_length is not None and isinstance(value, str | list) and len(value) > field.max_length:
        yield make_item(
            limits,
            Code.PLATFORM_SETTING_INVALID,
            "settings",
            _invalid_message(limits, field.name),
            constraint="maxLength",
            current=len(value),
            max_value=field.max_length,
        )


def _has_allowed_value(field: Field, value: Json) -> bool:
    if field.allowed is not None and value not in field.allowed:
        return False
    if field.pattern is None:
        return True
    values = value if isinstance(value, list) else [value]
    return all(isinstance(each, str) and re.fullmatch(field.pattern, each) for each in values)


def _check_tiktok(limits: PlatformLimits, settings: Mapping[str, Json], facts: Mapping[str, Json]) -> Iterator[Item]:
    """Yield what TikTok's settings lack together (spec platform-rules.md 8.1)."""
    viewer = settings.get("viewerSetting")
    is_branded = settings.get("brandedContent") is True
    if settings.get("commercialContent") is True and not is_branded and settings.get("brandOrganic") is not True:
        yield make_item(
            limits, Code.PLATFORM_SETTING_REQUIRED, "settings", COMMERCIAL_INCOMPLETE, constraint="requiredSetting"
        )
    options = facts.get("privacy_level_options")
    if viewer and isinstance(options, list | tuple) and viewer not in options:
        yield _invalid(limits, "viewerSetting", viewer)
    if is_branded and viewer == "SELF_ONLY":
        yield make_item(
            limits,
            Code.PLATFORM_SETTING_INVALID,
            "settings",
            BRANDED_PRIVATE,
            constraint="allowedValues",
            current=viewer,
        )


def _invalid(limits: PlatformLimits, name: str, value: Json) -> Item:
    is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return make_item(
        limits,
        Code.PLATFORM_SETTING_INVALID,
        "settings",
        _invalid_message(limits, name),
        constraint="allowedValues",
        current=value if is_plain else UNSET,
    )


def _invalid_message(limits: PlatformLimits, name: str) -> str:
    return f'{limits.name} setting "{name}" has an invalid value'
