import pytest

from postpost.accounts import throttle
from postpost.accounts.throttle import Throttle


def test_take_when_switched_off_then_always_allowed():
    throttle = Throttle(0)
    assert [throttle.take("a", 0.0) for _ in range(1000)] == [None] * 1000


def test_take_when_a_minutes_allowance_is_used_then_refused_until_the_next_is_due():
    throttle = Throttle(6)
    assert [throttle.take("a", 100.0) for _ in range(7)] == [None] * 6 + [10]
    assert throttle.take("a", 109.0) == 1
    assert throttle.take("a", 110.0) is None
    assert throttle.take("a", 110.0) == 10


def test_take_when_refused_then_no_allowance_is_used():
    throttle = Throttle(1)
    assert throttle.take("a", 0.0) is None
    assert [throttle.take("a", at) for at in (1.0, 30.0, 59.5)] == [59, 30, 1]
    assert throttle.take("a", 60.0) is None


def test_take_when_long_idle_then_no_more_than_a_minutes_allowance():
    throttle = Throttle(2)
    assert [throttle.take("a", at) for at in (0.0, 1e9, 1e9, 1e9)] == [None, None, None, 30]


def test_take_when_other_keys_are_used_up_then_this_one_is_not():
    throttle = Throttle(1)
    assert throttle.take("a", 0.0) is None
    assert throttle.take("b", 0.0) is None
    assert throttle.take("a", 0.0) == 60


def test_take_when_too_many_keys_are_remembered_then_the_longest_unused_starts_afresh(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(throttle, "MAX_KEYS", 2)
    limited = Throttle(1)
    assert [limited.take(key, 0.0) for key in "abc"] == [None] * 3
    assert limited.take("c", 0.0) == 60
    assert limited.take("a", 0.0) is None
