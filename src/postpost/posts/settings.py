"""The platformSettings of a post: fields, defaults, allowed values, and how given ones are merged into them.

The table is that of spec platform-rules.md 8. A wrong value is kept by the merge and reported by validation.
"""

from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from enum import Enum
from typing import Any

from postpost.platforms.limits import LIMITS
from postpost.values import Json

Settings = dict[str, dict[str, Json]]
"""Merged settings by platform key, then by field."""


class Absent(Enum):
    """The one value of a field that has no default."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Field:
    """One setting. `allowed` lists the values of a string; `pattern` is what each string has to match as a whole.

    `max_length` is in code points for a string, in items for a list. `required` fields may not be empty.
    """

    name: str
    type: type[bool] | type[str] | type[list[Any]]
    default: Json
    allowed: tuple[str, ...] | None = None
    max_length: int | None = None
    pattern: str | None = None
    required: bool = False


def _title_max() -> int | None:
    text = LIMITS["youtube"].text
    return text.title_max if text else None


FIELDS: Mapping[str, tuple[Field, ...]] = {
    "tiktok": (
        Field(
            "viewerSetting",
            str,
            "PUBLIC_TO_EVERYONE",
            allowed=("PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "FOLLOWER_OF_CREATOR", "SELF_ONLY"),
            required=True,
        ),
        Field("allowComments", bool, True),
        Field("allowDuet", bool, False),
        Field("allowStitch", bool, False),
        Field("commercialContent", bool, False),
        Field("brandOrganic", bool, False),
        Field("brandedContent", bool, False),
    ),
    "instagram": (Field("videoType", str, "REELS", allowed=("REELS", "STORIES")),),
    "youtube": (
        Field("privacy", str, "public", allowed=("private", "public", "unlisted")),
        Field("title", str, "", max_length=_title_max()),
    ),
    "threads": (Field("replyControl", str, "", allowed=("", "everyone", "accounts_you_follow", "mentioned_only")),),
    "telegram": (
        Field("disableWebPagePreview", bool, False),
        Field("disableNotification", bool, False),
        Field("showCaptionAboveMedia", bool, False),
        Field("protectContent", bool, False),
    ),
    "mastodon": (
        Field("visibility", str, "public", allowed=("public", "unlisted", "private", "direct")),
        Field("spoilerText", str, ""),
        Field("sensitive", bool, False),
        # An ISO 639 code.
        Field("language", str, ABSENT, pattern=r"[a-z]{2,3}"),
    ),
    "bluesky": (
        # BCP 47 tags.
        Field("langs", list, [], max_length=3, pattern=r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*"),
    ),
}
"""The settings of every platform that has any."""


def default_settings(platforms: Collection[str] = FIELDS.keys()) -> Settings:
    """Return fresh default settings of those of the platforms that have any (spec rest-api.md 3.9)."""
    return {
        platform: {field.name: deepcopy(field.default) for field in FIELDS[platform] if field.default is not ABSENT}
        for platform in platforms
        if platform in FIELDS
    }


def merge_settings(given: Mapping[str, Json] | None, platforms: Collection[str] = FIELDS.keys()) -> Settings:
    """Lay the given platformSettings over the defaults of these platforms, field by field (platform-rules.md 8).

    Other platforms, those whose value is no object, and unknown fields are dropped. Values are not checked. Merging
    merged settings changes nothing.
    """
    merged = default_settings(platforms)
    for platform, values in (given or {}).items():
        if platform in merged and isinstance(values, Mapping):
            known = {field.name for field in FIELDS[platform]}
            merged[platform] |= {name: deepcopy(value) for name, value in values.items() if name in known}
    return merged
