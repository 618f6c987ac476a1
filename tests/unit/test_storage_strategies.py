"""Properties of the three strategies' arithmetic, whatever happened before."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ratelimit.storage.strategies import (
    FIXED_WINDOW,
    MOVING_WINDOW,
    SLIDING_WINDOW_COUNTER,
    moving_counts,
    sliding_counts,
)

EVERY_STRATEGY = pytest.mark.parametrize(
    "rules", [FIXED_WINDOW, SLIDING_WINDOW_COUNTER, MOVING_WINDOW], ids=["fixed", "sliding", "moving"]
)
MOMENTS = st.one_of(
    st.floats(1_600_000_000, 4_200_000_000), st.floats(0, 10_000), st.integers(1, 2**32).map(float)
)


@st.composite
def histories(draw):
    """A limit, hits that were within it, and the moment of the next request."""
    amount, seconds = draw(st.integers(1, 50)), draw(st.sampled_from([1, 7, 60, 3600, 86_400]))
    first = draw(MOMENTS)
    pauses = st.one_of(st.floats(0, 2.5 * seconds), st.just(0.0), st.just(float(seconds)))
    hits = draw(st.lists(st.tuples(pauses, st.integers(1, amount)), max_size=15))
    return amount, seconds, first, hits, draw(pauses), draw(st.integers(0, amount))


def played(rules, amount, seconds, first, hits):
    value, now = None, first
    for pause, cost in hits:
        now += pause
        if not rules.wait(value, amount, seconds, cost, now):
            value = rules.add(value, seconds, cost, now)
    return value, now


@EVERY_STRATEGY
@given(history=histories())
def test_a_retry_after_exactly_retry_after_succeeds_and_not_much_earlier(rules, history):
    amount, seconds, first, hits, pause, cost = history
    value, now = played(rules, amount, seconds, first, hits)
    now += pause

    wait = rules.wait(value, amount, seconds, cost, now)

    if wait == 0.0:
        return
    assert rules.wait(value, amount, seconds, cost, now + wait) == 0.0
    assert rules.wait(value, amount, seconds, cost, now + math.ceil(wait)) == 0.0
    if wait > 2e-6:
        assert rules.wait(value, amount, seconds, cost, now + wait - 2e-6) > 0.0


@EVERY_STRATEGY
@given(history=histories())
def test_a_counter_is_empty_after_reset_after_and_not_much_earlier(rules, history):
    amount, seconds, first, hits, pause, _ = history
    value, now = played(rules, amount, seconds, first, hits)
    now += pause

    state = rules.state(value, amount, seconds, now, 0.0)

    assert state.used + state.remaining == amount
    assert rules.state(value, amount, seconds, now + state.reset_after + 1e-6, 0.0).used == 0
    if state.used and rules is not SLIDING_WINDOW_COUNTER:  # there, a weight below 1 is rounded to 0
        assert rules.state(value, amount, seconds, now + state.reset_after - 1e-5, 0.0).used > 0


@EVERY_STRATEGY
@given(history=histories())
def test_only_a_value_that_says_nothing_any_more_is_called_unfit(rules, history):
    amount, seconds, first, hits, pause, _ = history
    value, now = played(rules, amount, seconds, first, hits)
    if value is None:
        return
    now += pause

    unfit = rules.unfit({1: value}, seconds, now) == [1]

    assert unfit == (rules.expiry(value, seconds) <= now)
    if unfit:
        assert rules.state(value, amount, seconds, now, 0.0).used == 0


@EVERY_STRATEGY
def test_a_cost_above_the_amount_never_fits_and_says_the_windows_length(rules):
    assert rules.wait(None, 3, 60, 4, 1000.0) == 60.0


@EVERY_STRATEGY
def test_an_amount_of_nothing_lets_nothing_through_but_a_cost_of_nothing(rules):
    assert rules.wait(None, 0, 60, 1, 1000.0) == 60.0
    assert rules.wait(None, 0, 60, 0, 1000.0) == 0.0


@EVERY_STRATEGY
def test_a_value_from_a_clock_set_back_by_a_year_is_brought_home(rules):
    year = 31_536_000.0
    future = 1_700_000_000.0 + year
    value = rules.add(rules.add(None, 60, 2, future), 60, 1, future)
    now = 1_700_000_000.0

    assert rules.unfit({1: value}, 60, now) == [1]
    home = rules.settled(value, 60, now)

    assert rules.unfit({1: home}, 60, now) == []
    assert rules.state(home, 5, 60, now, 0.0).used == 3
    assert rules.state(home, 5, 60, now + 120, 0.0).used == 0


def test_a_thread_that_was_overtaken_at_a_windows_edge_loses_no_count():
    value = SLIDING_WINDOW_COUNTER.add(None, 60, 7, 119.0)
    value = SLIDING_WINDOW_COUNTER.add(value, 60, 1, 120.000_1)

    value = SLIDING_WINDOW_COUNTER.add(value, 60, 1, 119.999_9)

    assert sliding_counts(value, 60, 120.0) == (7, 60.0, 2, 120.0)


def test_a_thread_that_was_overtaken_keeps_the_units_of_a_moving_window_in_order():
    value = MOVING_WINDOW.add(None, 60, 1, 100.5)

    value = MOVING_WINDOW.add(value, 60, 1, 100.0)

    assert moving_counts(value, 101.0) == (160.5, 2)


def test_a_unit_of_a_moving_window_ceases_to_count_at_exactly_the_windows_length():
    value = MOVING_WINDOW.add(None, 60, 1, 100.0)

    assert moving_counts(value, 159.999_999) == (160.0, 1)
    assert moving_counts(value, 160.0) == (0.0, 0)


def test_expired_units_of_a_moving_window_give_their_room_back_at_the_next_hit():
    value = MOVING_WINDOW.add(None, 60, 1000, 100.0)

    value = MOVING_WINDOW.add(value, 60, 1, 200.0)

    assert len(value) == 8


def test_a_sliding_count_beyond_all_reason_stays_a_count():
    value = SLIDING_WINDOW_COUNTER.add(None, 60, 2**63, 120.0)

    value = SLIDING_WINDOW_COUNTER.add(value, 60, 2**70, 121.0)

    assert sliding_counts(value, 60, 121.0) == (0, 0.0, 2**64 - 1, 119.0)
