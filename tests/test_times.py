from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postpost.times import (
    PAST_TOLERANCE,
    format_time,
    parse_filter_date,
    parse_scheduled_time,
    resolve_due_time,
    token_expires_in,
)

NOW = datetime(2026, 3, 10, 9, 0, 0, 123_456, tzinfo=UTC)
MOMENTS = st.datetimes(timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01T00:00:00.000Z"),
        (datetime(2026, 3, 1, 9, 5, 7, 999_999, tzinfo=UTC), "2026-03-01T09:05:07.999Z"),
        (datetime(2026, 3, 1, 9, tzinfo=timezone(timedelta(hours=2))), "2026-03-01T07:00:00.000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
        (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "9999-12-31T23:59:59.999Z"),
    ],
)
def test_format_time_when_given_a_moment_then_it_is_utc_with_milliseconds(moment: datetime, expected: str) -> None:
    assert format_time(moment) == expected


def test_format_time_when_the_zone_is_missing_then_it_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        format_time(datetime(2026, 3, 1))  # noqa: DTZ001 - the mistake under test


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-15T14:00:00.000Z", "2026-03-15T14:00:00.000Z"),
        ("2026-03-15T14:00Z", "2026-03-15T14:00:00.000Z"),
        ("2026-03-15T14:00:30Z", "2026-03-15T14:00:30.000Z"),
        ("2026-03-15T14:00:30.1Z", "2026-03-15T14:00:30.100Z"),
        ("2026-03-15T14:00:30.123999999Z", "2026-03-15T14:00:30.123Z"),
        ("2026-03-15T14:00+02:00", "2026-03-15T12:00:00.000Z"),
        ("2026-03-15T14:00-0530", "2026-03-15T19:30:00.000Z"),
        ("2026-03-15T14:00:00-00:00", "2026-03-15T14:00:00.000Z"),
        ("2026-03-15T00:00:00+23:59", "2026-03-14T00:01:00.000Z"),
        ("2028-02-29T00:00Z", "2028-02-29T00:00:00.000Z"),
        ("0001-01-01T00:00Z", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_parse_scheduled_time_when_well_formed_then_it_is_that_moment(text: str, expected: str) -> None:
    moment = parse_scheduled_time(text)
    assert moment is not None
    assert format_time(moment) == expected
    assert moment.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2026-03-15",
        "2026-03-15T14:00",
        "2026-03-15T14:00:00",
        "2026-03-15 14:00:00Z",
        "2026-03-15t14:00:00Z",
        "2026-03-15T14:00:00z",
        "2026-03-15T14Z",
        "2026-03-15T14:00:00.Z",
        "2026-03-15T14:00.5Z",
        "2026-03-15T14:00:00,5Z",
        "2026-03-15T14:00:00Z\n",
        " 2026-03-15T14:00:00Z",
        "2026-03-15T14:00:00 Z",
        "2026-03-15T14:00:00+02",
        "2026-03-15T14:00:00+2:00",
        "2026-03-15T14:00:00+24:00",
        "2026-03-15T14:00:00+02:60",
        "2026-03-15T14:00:00 02:00",
        "2026-03-15T24:00:00Z",
        "2026-03-15T14:60:00Z",
        "2026-03-15T23:59:60Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-00:01",
        "+2026-03-15T14:00:00Z",
        "12026-03-15T14:00:00Z",
        "２０２６-03-15T14:00:00Z",
        "2026-03-15T14:00:0٠Z",
        "1773583200000",
    ],
)
def test_parse_scheduled_time_when_in_another_form_then_there_is_none(text: str) -> None:
    assert parse_scheduled_time(text) is None


@given(MOMENTS)
def test_parse_scheduled_time_when_given_our_own_form_then_it_comes_back(moment: datetime) -> None:
    assert parse_scheduled_time(format_time(moment)) == moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@given(st.text())
def test_parsers_when_given_any_text_then_they_never_fail(text: str) -> None:
    assert parse_scheduled_time(text) is None or "T" in text
    parse_filter_date(text)


@given(
    st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,12})?)?(Z|[+-]\d\d:?\d\d)", fullmatch=True),
)
def test_parse_scheduled_time_when_shaped_right_then_it_is_a_utc_moment_or_none(text: str) -> None:
    moment = parse_scheduled_time(text)
    assert moment is None or (moment.tzinfo is UTC and moment.microsecond % 1000 == 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026", "2026-01-01T00:00:00.000Z"),
        ("2026-03", "2026-03-01T00:00:00.000Z"),
        ("2026-03-05", "2026-03-05T00:00:00.000Z"),
        ("2026-03-05T10:20", "2026-03-05T10:20:00.000Z"),
        ("2026-03-05 10:20", "2026-03-05T10:20:00.000Z"),
        ("2026-03-05T10:20:30", "2026-03-05T10:20:30.000Z"),
        ("2026-03-05T10:20:30.4567Z", "2026-03-05T10:20:30.456Z"),
        ("2026-03-05 10:20:30Z", "2026-03-05T10:20:30.000Z"),
        ("2026-03-05T10:20:30+01:00", "2026-03-05T09:20:30.000Z"),
        ("2026-03-05T10:20:30 01:00", "2026-03-05T09:20:30.000Z"),
        ("2026-03-05T10:20 0100", "2026-03-05T09:20:00.000Z"),
        ("2026-03-05T10:20-0100", "2026-03-05T11:20:00.000Z"),
        ("Thu, 05 Mar 2026 10:20:30 GMT", "2026-03-05T10:20:30.000Z"),
        ("Thu, 5 Mar 2026 10:20 +0130", "2026-03-05T08:50:00.000Z"),
        ("05 mar 2026 10:20:30  0100", "2026-03-05T09:20:30.000Z"),
        ("05 Mar 2026 10:20:30 0100", "2026-03-05T09:20:30.000Z"),
        ("05 Mar 2026 10:20:30 -0500", "2026-03-05T15:20:30.000Z"),
        ("05 Mar 2026 10:20:30 PST", "2026-03-05T18:20:30.000Z"),
        ("05 Mar 2026 10:20:30", "2026-03-05T10:20:30.000Z"),
        ("March 1, 2026", "2026-03-01T00:00:00.000Z"),
        ("march 1 2026", "2026-03-01T00:00:00.000Z"),
        ("Mar 1 2026", "2026-03-01T00:00:00.000Z"),
        ("Mar 31, 2026", "2026-03-31T00:00:00.000Z"),
        ("May 1 2026", "2026-05-01T00:00:00.000Z"),
        ("3/1/2026", "2026-03-01T00:00:00.000Z"),
        ("12/31/2026", "2026-12-31T00:00:00.000Z"),
    ],
)
def test_parse_filter_date_when_in_a_listed_form_then_it_is_that_moment(text: str, expected: str) -> None:
    moment = parse_filter_date(text)
    assert moment is not None
    assert format_time(moment) == expected


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "26",
        "20260305",
        "2026-3-5",
        "2026-02-30",
        "2026-03-05T24:00",
        "2026-03-05T10",
        "2026-03-05T10:20+25:00",
        "2026-03-05 10:20 GMT",
        "2026Z",
        "0000",
        "0000-01-01",
        "05 Mar 2026 10:20:30 XYZ",
        "Foo, 05 Mar 2026 10:20:30 GMT",
        "05 Foo 2026 10:20:30 GMT",
        "Marc 1, 2026",
        "Foo 1 2026",
        "February 30, 2026",
        "31/12/2026",
        "3/1/26",
        "1/1/2026\n",
        "1773583200000",
        "2026-03-05T10:20:30." + "1" * 200,
    ],
)
def test_parse_filter_date_when_no_date_then_there_is_none(text: str) -> None:
    assert parse_filter_date(text) is None


@pytest.mark.parametrize(
    ("ago", "past_is_now", "expected"),
    [
        (timedelta(hours=-1), False, NOW + timedelta(hours=1)),
        (timedelta(0), False, NOW),
        (timedelta(seconds=1), False, NOW),
        (PAST_TOLERANCE, False, NOW),
        (PAST_TOLERANCE + timedelta(microseconds=1), False, None),
        (PAST_TOLERANCE + timedelta(microseconds=1), True, NOW),
        (timedelta(days=3000), True, NOW),
        (timedelta(hours=-1), True, NOW + timedelta(hours=1)),
    ],
)
def test_resolve_due_time_when_asked_then_the_rule_of_the_past_holds(
    ago: timedelta, past_is_now: bool, expected: datetime | None
) -> None:
    assert resolve_due_time(NOW - ago, NOW, past_is_now=past_is_now) == expected


@given(MOMENTS, MOMENTS)
def test_resolve_due_time_when_any_times_are_given_then_the_answer_is_never_in_the_past(
    requested: datetime, now: datetime
) -> None:
    due = resolve_due_time(requested, now, past_is_now=False)
    assert due is None or due >= now


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (timedelta(days=82, hours=4, minutes=59), "82d 4h"),
        (timedelta(days=1), "1d 0h"),
        (timedelta(days=1, microseconds=-1), "23h"),
        (timedelta(hours=5, minutes=59), "5h"),
        (timedelta(hours=1), "1h"),
        (timedelta(minutes=59), "< 1h"),
        (timedelta(microseconds=1), "< 1h"),
        (timedelta(0), "expired"),
        (timedelta(days=-3), "expired"),
    ],
)
def test_token_expires_in_when_time_is_left_then_it_is_rounded_down(left: timedelta, expected: str) -> None:
    assert token_expires_in(NOW + left, NOW) == expected


def test_token_expires_in_when_there_is_no_expiry_then_there_is_no_text() -> None:
    assert token_expires_in(None, NOW) is None
