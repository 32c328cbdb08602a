"""What clients may ask about posts: pure checks of decoded bodies and queries, in the contract's order."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import msgspec

from postpost import errors
from postpost.errors import ApiError
from postpost.posts.rules import GroupStatus
from postpost.posts.settings import merge_settings
from postpost.posts.store import SORT_COLUMNS
from postpost.posts.validation_media import MediaFacts
from postpost.times import parse_filter_date, parse_scheduled_time, resolve_due_time
from postpost.values import Json, decode_json, falsy

PLATFORM_ID = re.compile(r"[a-z]+-[A-Za-z0-9_.:-]+")
"""Form of a compound id, matched as a whole (spec rest-api.md 1.4)."""


SORT_FIELDS = tuple(SORT_COLUMNS)
"""What list-posts can be sorted by, the default first."""


class Absent(Enum):
    """Marks a field that is not in the body, where null means something else."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """A well-formed create-post. `scheduled_at` is the time to store; `draft` wins over it."""

    content: str
    platform_ids: tuple[str, ...]
    scheduled_at: datetime | None
    settings: Mapping[str, Json]
    draft: bool


def read_create(body: Mapping[str, Any], now: datetime, *, past_is_now: bool) -> CreateRequest:
    """Check a create-post body; raises ApiError C1 to C10 in that order."""
    content = body.get("content")
    if not isinstance(content, str) or not content.strip():
        raise ApiError(errors.C1)
    platform_ids = read_platforms(body.get("platforms"))
    scheduled_at = _read_time(body.get("scheduledTime"), errors.C7, errors.C8, now, past_is_now=past_is_now)
    settings = read_settings(body.get("platformSettings", ABSENT), platform_ids)
    return CreateRequest(
        content=content,
        platform_ids=platform_ids,
        scheduled_at=scheduled_at,
        settings=settings,
        draft=scheduled_at is None or body.get("status") == "draft",
    )


def read_platforms(value: Any) -> tuple[str, ...]:
    """Check `platforms`; raises C2 to C6. Repeated ids count once, first place kept."""
    if falsy(value):
        raise ApiError(errors.C2)
    if isinstance(value, str):
        try:
            value = decode_json(value)
        except ValueError as error:
            raise ApiError(errors.C3) from error
    if not isinstance(value, list):
        raise ApiError(errors.C4)
    if not value:
        raise ApiError(errors.C5)
    for entry in value:
        if not isinstance(entry, str):
            raise ApiError(errors.C6, platformId=msgspec.json.encode(entry).decode())
        if PLATFORM_ID.fullmatch(entry) is None:
            raise ApiError(errors.C6, platformId=entry)
    return tuple(dict.fromkeys(value))


def read_settings(value: Any, platform_ids: Sequence[str]) -> dict[str, Json]:
    """Check `platformSettings` (ABSENT when not in the body); raises C9 and C10.

    Returns it laid over the defaults, for the platforms that the post goes to and no others.
    """
    if isinstance(value, str):
        try:
            value = decode_json(value)
        except ValueError as error:
            raise ApiError(errors.C9) from error
    if value is ABSENT:
        value = {}
    if not isinstance(value, dict):
        raise ApiError(errors.C10)
    return merge_settings(value, {platform_id.partition("-")[0] for platform_id in platform_ids})


def _read_time(
    value: Any, bad_form: errors.ErrorRow, past: errors.ErrorRow, now: datetime, *, past_is_now: bool
) -> datetime | None:
    if value is None or value == "":
        return None
    requested = parse_scheduled_time(value) if isinstance(value, str) else None
    if requested is None:
        raise ApiError(bad_form)
    resolved = resolve_due_time(requested, now, past_is_now=past_is_now)
    if resolved is None:
        raise ApiError(past)
    return resolved


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """A well-formed update-post: at least one of the two is given."""

    status: GroupStatus | None
    scheduled_at: datetime | None


def read_update(body: Mapping[str, Any], now: datetime, *, past_is_now: bool) -> UpdateRequest:
    """Check an update-post body; raises ApiError U1 to U4 in that order."""
    status, time = body.get("status"), body.get("scheduledTime")
    if falsy(status) and falsy(time):
        raise ApiError(errors.U1)
    if not falsy(status) and status not in ("draft", "scheduled"):
        raise ApiError(errors.U2)
    given = None if falsy(time) else time
    scheduled_at = _read_time(given, errors.U3, errors.U4, now, past_is_now=past_is_now)
    return UpdateRequest(GroupStatus(str(status)) if not falsy(status) else None, scheduled_at)


@dataclass(frozen=True, slots=True)
class ListRequest:
    """A well-formed list-posts query; `page` and `limit` are read by the caller, since they never fail."""

    status: str | None
    platform: str | None
    sort_by: str
    descending: bool
    from_time: datetime | None
    to_time: datetime | None


def read_list(query: Mapping[str, str]) -> ListRequest:
    """Check a list-posts query whose empty values are gone already; raises ApiError L1 to L4 in that order."""
    status = query.get("status")
    if status is not None and status not in GroupStatus.__members__.values():
        raise ApiError(errors.L1)
    sort_by = query.get("sortBy", "createdAt")
    if sort_by not in SORT_COLUMNS:
        raise ApiError(errors.L2)
    return ListRequest(
        status=status,
        platform=query.get("platform"),
        sort_by=sort_by,
        descending=query.get("sortOrder") != "asc",
        from_time=_read_filter(query.get("fromDate"), errors.L3),
        to_time=_read_filter(query.get("toDate"), errors.L4),
    )


def _read_filter(text: str | None, row: errors.ErrorRow) -> datetime | None:
    if text is None:
        return None
    moment = parse_filter_date(text)
    if moment is None:
        raise ApiError(row)
    return moment


@dataclass(frozen=True, slots=True)
class ValidateRequest:
    """A well-formed validate-post without a group; its media are read apart, since C11 comes before V2."""

    content: str
    platform_ids: tuple[str, ...]
    settings: Mapping[str, Json]


def read_validate(body: Mapping[str, Any]) -> ValidateRequest:
    """Check a validate-post body without `postGroupId`; raises C1 to C6, C9 and C10 in that order."""
    content = body.get("content")
    if not isinstance(content, str):
        raise ApiError(errors.C1)
    platform_ids = read_platforms(body.get("platforms"))
    settings = read_settings(body.get("platformSettings", ABSENT), platform_ids)
    return ValidateRequest(content, platform_ids, settings)


MAX_MEDIA = 35
"""Most media objects in validate-post (spec rest-api.md 3.7)."""


def read_media(value: Any) -> tuple[MediaFacts, ...]:
    """Check validate-post's `media`; raises V2. Absent or null: no media. A fact of a wrong type counts as unknown."""
    if value is None:
        return ()
    if isinstance(value, str):
        try:
            value = decode_json(value)
        except ValueError as error:
            raise ApiError(errors.V2) from error
    if not isinstance(value, list) or len(value) > MAX_MEDIA:
        raise ApiError(errors.V2)
    if not all(isinstance(item, dict) and item.get("type") in ("image", "video") for item in value):
        raise ApiError(errors.V2)
    return tuple(_media_facts(item) for item in value)


def _media_facts(item: Mapping[str, Any]) -> MediaFacts:
    mime_type = item.get("mimeType")
    return MediaFacts(
        type=item["type"],
        mime_type=mime_type if isinstance(mime_type, str) else None,
        size=_count(item.get("size")),
        width=_count(item.get("width")),
        height=_count(item.get("height")),
        duration=_number(item.get("duration")),
        frame_rate=_number(item.get("frameRate")),
    )


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= sys.float_info.max
    return float(value) if known else None


def _count(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
