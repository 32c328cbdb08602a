from datetime import UTC, datetime, timedelta

import pytest

from postpost.sandbox.state import RATE_LIMIT, RATE_WINDOW, Account, Memory, State, StoredPost, utc_now

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make_state(**limits):
    return State({"one": str.lower, "two": str.lower}, utc_now, **limits)


def add(platform, account, post_id):
    platform.add_post(platform.account(account), StoredPost(post_id, account, "text", NOW))


def test_posts_when_there_are_too_many_then_the_oldest_of_all_platforms_goes():
    state = make_state(max_posts=2)
    one, two = state.platforms["one"], state.platforms["two"]
    add(one, "A", "1")
    add(two, "A", "2")
    add(two, "A", "3")
    assert (one.find_post("1"), list(one.account("A").posts)) == (None, [])
    assert list(two.account("A").posts) == ["2", "3"]


def test_posts_when_one_is_removed_then_its_account_forgets_it_too():
    platform = make_state().platforms["one"]
    add(platform, "A", "1")
    platform.remove_post(platform.find_post("1"))
    assert (platform.find_post("1"), platform.account("A").posts) == (None, {})


def test_posts_when_their_ids_are_alike_then_platforms_stay_apart():
    state = make_state()
    add(state.platforms["one"], "A", "1")
    assert state.platforms["two"].find_post("1") is None


def test_accounts_when_there_are_too_many_then_the_first_goes_with_its_posts():
    platform = make_state(max_accounts=1).platforms["one"]
    add(platform, "A", "1")
    add(platform, "B", "2")
    assert (list(platform.accounts), platform.find_post("1"), platform.usernames) == (["B"], None, {"b": "B"})


def test_account_when_used_first_then_its_username_is_made_up():
    platform = make_state().platforms["one"]
    assert (platform.account("A").username, platform.usernames) == ("a", {"a": "A"})


def test_account_when_renamed_then_only_the_new_name_leads_to_it():
    platform = make_state().platforms["one"]
    platform.rename(platform.account("A"), "new")
    assert platform.usernames == {"new": "A"}


def test_numbers_when_the_clock_stands_still_then_they_still_grow():
    platform = State({"one": str}, lambda: NOW).platforms["one"]
    numbers = [platform.next_number(0, 16) for _ in range(3)]
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]


@pytest.mark.parametrize(("age", "recalled"), [(timedelta(minutes=9), "value"), (timedelta(minutes=10), None)])
def test_memory_when_a_value_is_old_then_it_is_not_recalled(age, recalled):
    memory = Memory(10)
    memory.keep(("key",), "value", NOW)
    assert memory.recall(("key",), since=NOW + age - timedelta(minutes=10)) == recalled


def test_memory_when_it_is_full_then_the_oldest_goes():
    memory = Memory(2)
    for key in "abac":
        memory.keep((key,), key, NOW)
    kept = [key for key in "abc" if memory.recall((key,), since=NOW - timedelta(1))]
    assert kept == ["a", "c"]


def test_memory_when_a_key_is_forgotten_then_it_is_gone():
    memory = Memory(2)
    memory.keep(("a",), "a", NOW)
    memory.forget(("a",))
    memory.forget(("never kept",))
    assert memory.recall(("a",), since=NOW - timedelta(1)) is None


def test_calls_when_the_limit_is_reached_then_they_are_refused_until_the_window_ends():
    account = Account("A", "a")
    assert account.count_call(NOW)
    account.calls_left = 0
    assert not account.count_call(NOW + RATE_WINDOW - timedelta(seconds=1))
    assert account.count_call(NOW + RATE_WINDOW)
    assert account.calls_left == RATE_LIMIT - 1


def test_generation_when_a_later_one_died_then_the_next_is_alive():
    account = Account("A", "a", issued=1, dead_up_to=5)
    assert account.next_generation() > account.dead_up_to
