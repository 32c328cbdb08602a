"""Times as the API reads and writes them: pure functions, the clock comes in as an argument."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

PAST_TOLERANCE: Final = timedelta(minutes=5)
"""How far back a scheduled time may lie and still mean "now" (rest-api.md 1.5)."""

_MONTHS: Final = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_MONTH_NUMBERS: Final = {name: i for i, full in enumerate(_MONTHS, 1) for name in (full, full[:3])}
_ZONE_HOURS: Final = {
    **dict.fromkeys(("Z", "UT", "UTC", "GMT"), 0),
    **dict.fromkeys(("EDT",), -4),
    **dict.fromkeys(("EST", "CDT"), -5),
    **dict.fromkeys(("CST", "MDT"), -6),
    **dict.fromkeys(("MST", "PDT"), -7),
    **dict.fromkeys(("PST",), -8),
}
"""Zone names that RFC 2822 knows, in hours from UTC."""

_SCHEDULED = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)T(?P<hour>\d\d):(?P<minute>\d\d)"
    r"(?::(?P<second>\d\d)(?:\.(?P<fraction>\d+))?)?"
    r"(?:Z|(?P<sign>[+-])(?P<zone_hour>\d\d):?(?P<zone_minute>\d\d))",
    re.ASCII,
)
_FILTERS = (
    re.compile(
        r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
        r"(?:[T ](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d+))?)?"
        r"(?:Z|(?P<sign>[+\- ])(?P<zone_hour>\d\d):?(?P<zone_minute>\d\d))?)?)?)?",
        re.ASCII,
    ),
    re.compile(  # RFC 2822; a `+` of the offset that arrived as a blank leaves two blanks.
        r"(?:(?:mon|tue|wed|thu|fri|sat|sun), ?)?(?P<day>\d{1,2}) (?P<name>[a-z]{3}) (?P<year>\d{4})"
        r" (?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d))?"
        r"(?: (?P<zone>[a-z]{1,3})| (?P<sign>[+\- ]?)(?P<zone_hour>\d\d)(?P<zone_minute>\d\d))?",
        re.ASCII | re.IGNORECASE,
    ),
    re.compile(r"(?P<name>[a-z]{3,9}) (?P<day>\d{1,2}),? (?P<year>\d{4})", re.ASCII | re.IGNORECASE),
    re.compile(r"(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4})", re.ASCII),
)
_LONGEST_TEXT = 100
"""No form above is longer in earnest; a fraction of a million digits is not worth matching."""


def format_time(moment: datetime) -> str:
    """Return `moment` as `YYYY-MM-DDTHH:mm:ss.sssZ`, cut to milliseconds (rest-api.md 1.5).

    Raises ValueError for a datetime without a zone: nobody can say what it means.
    """
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone")
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def parse_scheduled_time(text: str) -> datetime | None:
    """Read a `scheduledTime` strictly as rest-api.md 1.5 has it; None when it has another form or is no real date.

    The answer is in UTC, its fraction cut to milliseconds. A time whose year in UTC is not 1 to 9999 is None.
    """
    match = _SCHEDULED.fullmatch(text)
    return _to_utc(match.groupdict()) if match else None


def parse_filter_date(text: str) -> datetime | None:
    """Read a `fromDate` or `toDate` in any of the forms of rest-api.md 3.5, in UTC; None when it has none of them.

    What the text does not say is the earliest: January, the first, midnight, UTC.
    """
    if len(text) > _LONGEST_TEXT:
        return None
    for form in _FILTERS:
        if match := form.fullmatch(text):
            return _to_utc(match.groupdict())
    return None


def resolve_due_time(requested: datetime, now: datetime, *, past_is_now: bool) -> datetime | None:
    """Apply the rule of the past (rest-api.md 1.5): return the time to store, or None for "cannot be in the past".

    Up to and including five minutes ago counts as now; with `past_is_now` (the setting PAST_SCHEDULE=now) any past
    time does.
    """
    if requested >= now:
        return requested
    if past_is_now or now - requested <= PAST_TOLERANCE:
        return now
    return None


def token_expires_in(expires_at: datetime | None, now: datetime) -> str | None:
    """Return `82d 4h`, `5h`, `< 1h` or `expired`, rounded down; None without an expiry (rest-api.md 5.1)."""
    if expires_at is None:
        return None
    left = expires_at - now
    if left <= timedelta(0):
        return "expired"
    hours = left // timedelta(hours=1)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24}h"
    return f"{hours}h" if hours else "< 1h"


def _to_utc(parts: dict[str, str | None]) -> datetime | None:
    name = parts.get("name")
    month = _MONTH_NUMBERS.get(name.lower()) if name else int(parts.get("month") or 1)
    zone = _zone(parts)
    if month is None or zone is None:
        return None
    try:
        local = datetime(
            int(parts["year"] or 0),
            month,
            int(parts.get("day") or 1),
            int(parts.get("hour") or 0),
            int(parts.get("minute") or 0),
            int(parts.get("second") or 0),
            int((parts.get("fraction") or "")[:3].ljust(3, "0")) * 1000,
            tzinfo=zone,
        )
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _zone(parts: dict[str, str | None]) -> timezone | None:
    if name := parts.get("zone"):
        hours = _ZONE_HOURS.get(name.upper())
        return None if hours is None else timezone(timedelta(hours=hours))
    if parts.get("zone_hour") is None:
        return UTC
    hour, minute = int(parts["zone_hour"] or 0), int(parts["zone_minute"] or 0)
    if hour > 23 or minute > 59:
        return None
    offset = timedelta(hours=hour, minutes=minute)
    return timezone(-offset if parts["sign"] == "-" else offset)
