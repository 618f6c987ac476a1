"""Each store against a model so plain that it can be seen to be right, over random histories."""

import pytest
from counter_stores import assert_exact, in_process, sweeper_of, zone_with_file_lock, zone_with_mutex
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from naive_counters import NaiveCounters

from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.storage.strategies import RULES
from otel_ratelimit.storage.zone.values import FORMS


def window(amount, seconds, strategy, *, shadow=False, burst=None):
    return Window(f"app|ep{shadow}|{seconds}|{strategy}|", amount, seconds, strategy, shadow, "", "", burst)


WINDOWS = [
    window(3, 10, Strategy.FIXED_WINDOW),
    window(5, 60, Strategy.FIXED_WINDOW),
    window(4, 10, Strategy.FIXED_WINDOW, shadow=True),
    window(3, 10, Strategy.SLIDING_WINDOW_COUNTER),
    window(7, 60, Strategy.SLIDING_WINDOW_COUNTER),
    window(2, 10, Strategy.SLIDING_WINDOW_COUNTER, shadow=True),
    window(3, 10, Strategy.MOVING_WINDOW),
    window(6, 60, Strategy.MOVING_WINDOW),
    window(2, 60, Strategy.MOVING_WINDOW, shadow=True),
    window(3, 10, Strategy.TOKEN_BUCKET),
    window(6, 60, Strategy.TOKEN_BUCKET, burst=9),
    window(7, 60, Strategy.TOKEN_BUCKET, burst=2, shadow=True),
]
CLIENTS = [f"{letter}{first + n:032x}" for letter, first in (("i", 0), ("u", 3)) for n in range(3)]
CLIENTS += ["free text", "\udfff" * 50]


class Comparison(RuleBasedStateMachine):
    make = staticmethod(in_process)
    strategies = RULES

    def __init__(self):
        super().__init__()
        self.now = 1_700_000_000.0
        self.counters = self.make(clock=lambda: self.now)
        self.sweeper = sweeper_of(self.counters)
        self.model = NaiveCounters()

    some = st.lists(st.sampled_from(WINDOWS), min_size=1, max_size=4, unique=True)

    @rule(windows=some, client=st.sampled_from(CLIENTS), cost=st.integers(0, 4))
    def take(self, windows, client, cost):
        windows = [each for each in windows if each.strategy in self.strategies]
        before = self.counters.peek(windows, client, cost, self.now)

        answer = self.counters.take(windows, client, cost, self.now)

        allowed, room = self.model.take(windows, client, cost, self.now)
        assert answer.allowed == before.allowed == allowed
        assert [not state.exceeded for state in answer.states] == room
        for w, state in zip(windows, answer.states, strict=True):
            assert state.used == self.model.used(w, client, self.now)
            assert state.remaining == max(0, w.capacity - state.used)
            self.retry_is_exact(w, client, cost, state.retry_after)
            empty = self.now + state.reset_after + 1e-6
            assert self.counters.peek([w], client, 0, empty).states[0].used == 0

    def retry_is_exact(self, w, client, cost, wait):
        if wait and cost <= w.capacity:
            assert self.model.used(w, client, self.now + wait) + cost <= w.capacity
            assert not self.counters.peek([w], client, cost, self.now + wait).states[0].exceeded
            if wait > 2e-6:
                assert self.model.used(w, client, self.now + wait - 2e-6) + cost > w.capacity

    @rule(windows=some, client=st.sampled_from(CLIENTS))
    def clear(self, windows, client):
        self.counters.clear(windows, client)
        self.model.clear(windows, client)

    @rule(seconds=st.one_of(st.floats(0, 30), st.sampled_from([0.0, 1.0, 10.0, 60.0, 120.0, 1e5])))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def sweep(self):
        before = self.counters.snapshot().keys

        report = self.sweeper.sweep()

        assert before - self.counters.snapshot().keys == report.removed_keys

    @rule()
    def new_clients_flood_the_store(self):
        filler = Window("app|flood|5|fixed-window|", 1, 5, Strategy.FIXED_WINDOW, False, "", "")
        for n in range(700):
            self.counters.take([filler], f"f{n:032x}", 1, self.now)

    @invariant()
    def the_ledger_is_exact(self):
        assert_exact(self.counters)


class WithMutex(Comparison):
    make = staticmethod(zone_with_mutex)
    strategies = FORMS


class WithFileLock(Comparison):
    make = staticmethod(zone_with_file_lock)
    strategies = FORMS


Comparison.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestTheStoreInTheProcessAgreesWithThePlainModel = Comparison.TestCase
TestAZoneAgreesWithThePlainModel = WithMutex.TestCase
WithMutex.TestCase.settings = Comparison.TestCase.settings
TestAZoneWithAFileLockAgreesWithThePlainModel = pytest.mark.full(WithFileLock.TestCase)
WithFileLock.TestCase.settings = Comparison.TestCase.settings
