import pytest

from postpost.posts.validation_items import Code, Item, Severity, assemble, format_duration, format_megabytes


@pytest.mark.parametrize(
    ("size", "expected"),
    [(2621440, "2.5MB"), (999997, "1.0MB"), (4294967296, "4096.0MB"), (0, "0.0MB"), (52429, "0.1MB"), (52428, "0.0MB")],
)
def test_format_megabytes_when_size_then_one_decimal_halves_up(size, expected):
    assert format_megabytes(size) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(45, "45s"), (120, "2m 0s"), (180, "3m 0s"), (43200, "12h 0m 0s"), (125.3, "2m 6s"), (59.01, "1m 0s"), (0, "0s")],
)
def test_format_duration_when_seconds_then_rounded_up(seconds, expected):
    assert format_duration(seconds) == expected


def test_assemble_when_items_are_equal_then_once_and_errors_first():
    warning = Item(platform="a", code=Code.CONTENT_TOO_LONG, message="", field="", severity=Severity.WARNING)
    error = Item(platform="b", code=Code.CONTENT_TOO_LONG, message="", field="", severity=Severity.ERROR)
    found = assemble([warning, error, warning])
    assert (found.errors, found.warnings) == ((error,), (warning,))
    assert found.summary.affected_platforms == ("b", "a")
