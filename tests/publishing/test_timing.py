from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postpost.publishing.timing import Timing

seconds = st.floats(min_value=1, max_value=600).map(lambda number: timedelta(seconds=number))


def timing(call=timedelta(seconds=10), backoff=timedelta(seconds=1)):
    return Timing(call, attempts=5, backoff=backoff, longest_wait=timedelta(days=1))


@given(seconds)
def test_longest_call_when_sent_at_the_last_moment_then_the_call_is_over_before_it(call):
    of = timing(call)
    assert of.start_deadline + of.call < of.longest_call


@given(seconds)
def test_lease_when_a_call_begins_right_after_a_renewal_then_it_outlives_the_call(call):
    of = timing(call)
    # A run renews before a call when less than the longest call is left, so that a lease is never renewed in vain.
    assert of.lease > of.longest_call


@given(st.integers(min_value=1, max_value=100))
def test_retry_delay_when_failures_grow_then_doubled_within_a_fifth_of_jitter(failures):
    expected = 2.0 ** min(failures - 1, 10)
    assert 0.8 * expected <= timing().retry_delay(failures).total_seconds() <= 1.2 * expected


def test_retry_delay_when_asked_twice_then_not_the_same():
    assert len({timing().retry_delay(3) for _ in range(20)}) > 1


@pytest.mark.parametrize("asked", [timedelta(0), timedelta(seconds=1), timedelta(hours=1)])
def test_held_delay_when_the_platform_names_a_time_then_never_sooner_and_at_most_a_second_later(asked):
    delays = [timing().held_delay(asked) for _ in range(50)]
    assert all(asked <= delay <= asked + timedelta(seconds=1) for delay in delays)
