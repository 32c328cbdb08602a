"""The wall clock, read in one place."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the current time in UTC, cut to milliseconds: what is stored is exactly what is shown."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
