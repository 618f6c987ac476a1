"""The token bucket against a model in fractions, and at the ends of what can be configured."""

import random
from fractions import Fraction
from math import inf, nextafter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.storage.bounded_memory import BoundedMemoryStore
from otel_ratelimit.storage.strategies import TOKEN_BUCKET
from otel_ratelimit.storage.sweeper import Sweeper

NOW = 1_790_000_000.0
CLIENT = "i" + "0" * 32
NEAR = Fraction(1, 10**6)
"""The part of a unit within which a decision may differ from the model's."""


def window(amount, seconds=60, burst=None):
    name = f"a|e|{seconds}|token-bucket|"
    return Window(name, amount, seconds, Strategy.TOKEN_BUCKET, False, "", "", burst)


class Exact:
    """The generic cell rate algorithm, in fractions."""

    def __init__(self, limit):
        self.unit = Fraction(limit.seconds, limit.amount)
        self.burst = limit.burst or limit.amount
        self.full = Fraction(0)

    def spare(self, cost, now):
        """How many units are left after `cost`; negative if they do not fit."""
        return self.burst - cost - max(Fraction(0), self.full - Fraction(now)) / self.unit

    def take(self, cost, now):
        self.full = max(self.full, Fraction(now)) + cost * self.unit


LIMITS = [
    window(100, 60, 20),
    window(5, 1),
    window(3, 86_400, 7),
    window(1_000_000, 1),
    window(1_000_000, 1, 10**9),
    window(10**12, 3600, 10**12),
    window(7, 60, 1),
    window(1, 31_536_000, 10),
]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit.burst}@{limit.amount}-{limit.seconds}")
def test_a_million_random_requests_get_the_answers_of_an_exact_model(limit):
    rng = random.Random(11)
    exact, value, now = Exact(limit), None, NOW
    wait, add = TOKEN_BUCKET.wait, TOKEN_BUCKET.add
    capacity, period = limit.capacity, limit.period
    unit = period / capacity
    most = max(1, capacity // 20)
    differing = taken = 0
    for _ in range(1_000_000 // len(LIMITS)):
        cost = 1 if rng.random() < 0.5 else rng.randint(1, most)
        now += rng.expovariate(1 / (unit * cost)) if rng.random() < 0.9 else 0.0
        fits = not wait(value, capacity, period, cost, now)
        spare = exact.spare(cost, now)
        if fits != (spare >= 0):
            differing += 1
            assert abs(spare) < NEAR + Fraction(capacity, 2**48)
        if fits:
            value = add(value, capacity, period, cost, now)
            exact.take(cost, now)
            taken += cost
    assert differing < 10
    ahead = Fraction(value.real) + Fraction(value.imag) - exact.full
    assert abs(ahead) / exact.unit < Fraction(taken, 2**51)  # as the module promises


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit.burst}@{limit.amount}-{limit.seconds}")
def test_a_client_that_never_stops_gets_the_burst_and_then_the_rate(limit):
    value, now, begin = None, NOW, NOW
    capacity, period = limit.capacity, limit.period
    cost = max(1, capacity // 1000)
    taken = 0
    for _ in range(200_000):
        wait = TOKEN_BUCKET.wait(value, capacity, period, cost, now)
        if wait:
            now += wait
            assert TOKEN_BUCKET.wait(value, capacity, period, cost, now) == 0.0
        value = TOKEN_BUCKET.add(value, capacity, period, cost, now)
        taken += cost
    earned = capacity + (Fraction(now) - Fraction(begin)) * limit.amount / limit.seconds
    assert taken <= earned + NEAR * cost
    assert earned - taken < cost + Fraction(10**-6) * limit.amount / limit.seconds + NEAR * cost


def test_a_million_units_a_second_are_neither_more_nor_less():
    value = TOKEN_BUCKET.add(None, 10**6, 1.0, 1, NOW)
    for _ in range(999_999):
        value = TOKEN_BUCKET.add(value, 10**6, 1.0, 1, NOW)
    state = TOKEN_BUCKET.state(value, 10**6, 1.0, NOW, 0.0)
    assert (state.used, state.remaining) == (10**6, 0)
    assert state.reset_after == pytest.approx(1.0, abs=1e-9)
    assert TOKEN_BUCKET.state(value, 10**6, 1.0, NOW + 0.5, 0.0).used == 500_000


@st.composite
def histories(draw):
    amount = draw(st.sampled_from([1, 2, 7, 100, 10**6, 10**12]))
    seconds = draw(st.sampled_from([1, 60, 86_400]))
    limit = window(amount, seconds, draw(st.sampled_from([None, 1, 2, 13, 1000, 10**6])))
    unit = limit.seconds / limit.amount
    pause = st.one_of(
        st.just(0.0), st.floats(0, 3).map(lambda n: n * unit), st.floats(0, 2).map(lambda n: n * limit.period)
    )
    costs = st.one_of(st.integers(1, min(limit.capacity, 3)), st.integers(1, limit.capacity))
    return limit, draw(st.floats(1e9, 4e9)), draw(st.lists(st.tuples(pause, costs), min_size=1, max_size=40))


@given(histories())
@settings(max_examples=300, deadline=None)
def test_in_no_interval_is_more_taken_than_the_burst_and_the_rate(history):
    limit, now, hits = history
    rate = Fraction(limit.amount, limit.seconds)
    value, taken = None, []
    for pause, cost in hits:
        now += pause
        wait = TOKEN_BUCKET.wait(value, limit.capacity, limit.period, cost, now)
        if wait and pause:  # come back at the first possible moment
            now += wait
        elif wait:
            continue
        value = TOKEN_BUCKET.add(value, limit.capacity, limit.period, cost, now)
        taken.append((Fraction(now), cost))
    for first in range(len(taken)):
        total = 0
        for moment, cost in taken[first:]:
            total += cost
            allowed = limit.capacity + rate * (moment - taken[first][0])
            assert total <= allowed + Fraction(1, 2**40) + allowed / 2**48


@given(histories(), st.integers(1, 1000))
@settings(max_examples=300, deadline=None)
def test_the_figures_agree_and_a_hair_earlier_than_retry_after_is_too_early(history, cost):
    limit, now, hits = history
    capacity, period = limit.capacity, limit.period
    value = None
    for pause, each in hits:
        now += pause
        if not TOKEN_BUCKET.wait(value, capacity, period, each, now):
            value = TOKEN_BUCKET.add(value, capacity, period, each, now)

        state = TOKEN_BUCKET.state(value, capacity, period, now, 0.0)
        assert state.used + state.remaining == capacity
        if state.remaining:
            assert TOKEN_BUCKET.wait(value, capacity, period, state.remaining, now) == 0.0
        assert TOKEN_BUCKET.wait(value, capacity, period, state.remaining + 1, now) > 0.0

    wait = TOKEN_BUCKET.wait(value, capacity, period, cost, now)
    if wait and cost <= capacity:
        assert TOKEN_BUCKET.wait(value, capacity, period, cost, now + wait) == 0.0
        hair = max(2e-6, 1e-9 * period / capacity, 1e-12 * period)
        if wait > hair:
            assert TOKEN_BUCKET.wait(value, capacity, period, cost, now + wait - hair) > 0.0


def test_a_bucket_is_unfit_exactly_when_it_is_full_again():
    value = TOKEN_BUCKET.add(None, 7, 60.0, 3, NOW + 0.1)
    full = TOKEN_BUCKET.expiry(value, 60.0)
    assert TOKEN_BUCKET.unfit({1: value}, 60.0, nextafter(full, -inf)) == []
    assert TOKEN_BUCKET.unfit({1: value}, 60.0, full) == [1]
    assert TOKEN_BUCKET.state(value, 7, 60.0, full, 0.0).used == 0


def test_the_counter_goes_on_when_the_burst_or_the_amount_changes():
    counters = BoundedMemoryStore(1_000_000)
    assert counters.take([window(60, 60, 30)], CLIENT, 20, NOW).allowed  # full again after 20 s

    def seen(limit, later=0.0):
        return counters.peek([limit], CLIENT, 1, NOW + later).states[0][:3]

    assert seen(window(60, 60, 50)) == (20, 30, 20.0)
    assert seen(window(120, 60, 50)) == (40, 10, 20.0)
    assert seen(window(60, 60, 50), 19.0) == (1, 49, 1.0)


def test_a_client_above_a_lowered_burst_waits_for_the_new_period_at_most():
    counters = BoundedMemoryStore(1_000_000)
    assert counters.take([window(60, 60, 1000)], CLIENT, 1000, NOW).allowed

    refused = counters.take([window(60, 60, 10)], CLIENT, 1, NOW)

    assert (refused.allowed, refused.states[0]) == (False, (10, 0, 10.0, 10.0))


def test_the_sweeper_keeps_a_bucket_that_is_larger_than_others_of_its_prefix():
    now = [NOW]
    counters = BoundedMemoryStore(1_000_000, clock=lambda: now[0])
    sweeper = Sweeper(counters, 60, rest=lambda _seconds: None)
    assert counters.take([window(60, 60, 10)], CLIENT, 1, NOW).allowed
    assert counters.take([window(60, 60, 1000)], CLIENT, 900, NOW).allowed

    now[0] += 60.0
    sweeper.sweep()

    assert counters.peek([window(60, 60, 1000)], CLIENT, 1, now[0]).states[0].used == 841


def test_a_cost_of_nothing_always_fits_and_a_cost_above_the_burst_never():
    value = TOKEN_BUCKET.add(None, 10, 10.0, 10, NOW)
    assert TOKEN_BUCKET.wait(value, 5, 5.0, 0, NOW) == 0.0
    assert TOKEN_BUCKET.wait(None, 5, 5.0, 6, NOW) == 5.0


def test_no_rounding_error_takes_a_unit_of_a_huge_burst():
    rng = random.Random(3)
    for _ in range(2000):
        limit = window(rng.randint(1, 10**6), rng.choice([1, 60, 3600]), rng.randint(1, 10**9))
        cost = rng.randint(1, limit.capacity)
        value = TOKEN_BUCKET.add(None, limit.capacity, limit.period, cost, NOW)
        assert TOKEN_BUCKET.state(value, limit.capacity, limit.period, NOW, 0.0).used == cost
