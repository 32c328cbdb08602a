from collections.abc import Mapping
from datetime import timedelta

import pytest

from postpost.platforms.answers import (
    answered_at,
    expiry,
    permissions_of,
    retry_after,
    scrub,
    secrets_of,
    wait_for_reset,
)
from postpost.platforms.base import App, Response
from tests.platforms.journal import NOON


def response(headers: Mapping[str, str]) -> Response:
    return Response(429, headers, b"")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("token s3cr3t-1 and s3cr3t-12", "token [removed] and [removed]"),
        ("a%2Fb%2Fc%2Fd in a URL", "[removed] in a URL"),
        ("Authorization: Bearer abc.DEF-123", "Authorization: Bearer [removed]"),
        ('{"access_token":"abcdefgh","x":1}', '{"access_token":"[removed]","x":1}'),
        ("?access_token=abcdefgh&y=1", "?access_token=[removed]&y=1"),
        ("client_secret = abcdefgh", "client_secret = [removed]"),
        ("The token was invalid", "The token was invalid"),
        ("short ab", "short ab"),
    ],
)
def test_scrub_when_text_holds_secrets_then_takes_them_out(text: str, shown: str) -> None:
    assert scrub(text, ("s3cr3t-1", "s3cr3t-12", "a/b/c/d", "ab")) == shown


def test_secrets_of_when_credentials_hold_public_fields_then_leaves_those() -> None:
    credentials = {"identifier": "did:plc:a", "scope": "read", "access_token": "t1"}
    assert secrets_of(credentials, App("id", "s1")) == ("t1", "s1")


def test_answered_at_when_there_is_no_date_then_is_the_callers_time() -> None:
    assert answered_at(response({}), NOON) == NOON


def test_wait_for_reset_when_nobody_knows_the_time_then_is_unknown() -> None:
    assert wait_for_reset("2026-05-04T12:10:00Z", response({})) is None


def test_wait_for_reset_when_time_has_no_zone_then_is_read_as_utc() -> None:
    assert wait_for_reset("2026-05-04T12:00:01.123456", response({}), NOON) == timedelta(seconds=1)


@pytest.mark.parametrize("value", ["", "soon", "-5"])
def test_retry_after_when_it_is_not_readable_then_is_unknown(value: str) -> None:
    assert retry_after(response({"retry-after": value}), NOON) is None


@pytest.mark.parametrize("lifetime", [None, "7200", 0, -1, 10**12])
def test_expiry_when_lifetime_is_no_sensible_number_then_is_unknown(lifetime: object) -> None:
    assert expiry(lifetime, response({"date": "Mon, 04 May 2026 12:00:00 GMT"})) is None


@pytest.mark.parametrize(
    ("scope", "permissions"), [("a b", ("a", "b")), ("a,b", ("a", "b")), (" ", ()), ("a, b", ("a", "b"))]
)
def test_permissions_of_when_scopes_are_noted_then_lists_them(scope: str, permissions: tuple[str, ...]) -> None:
    assert permissions_of({"scope": scope}) == permissions
