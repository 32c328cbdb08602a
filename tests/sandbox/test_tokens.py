import pytest
from hypothesis import given
from hypothesis import strategies as st

from postpost.sandbox.state import State, utc_now
from postpost.sandbox.tokens import (
    MAX_ACCOUNT_CHARACTERS,
    Named,
    read_access,
    read_code,
    read_refresh,
    renew,
    write_access,
    write_refresh,
)

ACCOUNTS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=MAX_ACCOUNT_CHARACTERS).filter(
    lambda name: not name.startswith(("refresh-", "code-", "reader-"))
)


@pytest.mark.parametrize(
    ("token", "named"),
    [
        ("sandbox-1001", Named("1001", 0, False)),
        ("sandbox-1001.7", Named("1001", 7, False)),
        ("sandbox-reader-AbC", Named("AbC", 0, True)),
        ("sandbox-reader-AbC.2", Named("AbC", 2, True)),
        ("sandbox-did%3Aplc%3Aabc", Named("did:plc:abc", 0, False)),
        ("sandbox-a-b", Named("a-b", 0, False)),
    ],
)
def test_access_token_when_it_is_ours_then_it_names_its_account(token, named):
    assert read_access(token) == named


@pytest.mark.parametrize(
    "token",
    [
        "",
        "sandbox-",
        "sandbox",
        "other-1",
        "sandbox-refresh-1-1",
        "sandbox-code-1",
        "sandbox-a b",
        "sandbox-%0A",
        "sandbox-" + "x" * 201,
    ],
)
def test_access_token_when_it_is_not_ours_then_none(token):
    assert read_access(token) is None


@given(ACCOUNTS, st.integers(1, 999_999_999), st.booleans())
def test_tokens_when_written_then_they_are_read_back(account, number, reader):
    named = Named(account, number, reader)
    assert (read_access(write_access(named)), read_refresh(write_refresh(named))) == (named, named)


def test_code_when_it_is_ours_then_it_names_its_account():
    assert (read_code("sandbox-code-reader-AbC"), read_code("sandbox-1")) == (Named("AbC", 0, True), None)


def test_renew_when_the_sandbox_was_restarted_then_later_numbers_are_taken():
    platform = State({"one": str}, utc_now).platforms["one"]
    grant = {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh-A-41"}
    assert (renew(platform, grant), renew(platform, grant)) == (Named("A", 42, False), None)
