"""The store against a model so plain that it can be seen to be right, over random histories."""

from collections import defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.storage.bounded_memory import BoundedMemoryStore
from otel_ratelimit.storage.sweeper import Sweeper


def window(amount, seconds, strategy, *, shadow=False):
    return Window(f"app|ep{shadow}|{seconds}|{strategy}|", amount, seconds, strategy, shadow, "", "")


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
]
CLIENTS = [f"{letter}{n:032x}" for letter in "iu" for n in range(3)] + ["free text", "\udfff" * 50]


class Model:
    """Every hit ever, in a list."""

    def __init__(self):
        self.hits = defaultdict(list)  # (prefix, client) -> [(moment, cost)]
        self.starts = {}  # (prefix, client) -> start of the fixed window

    def used(self, window, client, now):
        key = window.prefix, client
        hits = self.hits[key]
        if window.strategy == Strategy.FIXED_WINDOW:
            if self.starts.get(key, -1e9) + window.seconds <= now:
                return 0
            return sum(cost for moment, cost in hits if moment >= self.starts[key])
        if window.strategy == Strategy.MOVING_WINDOW:
            return sum(cost for moment, cost in hits if moment + window.seconds > now)
        index = now // window.seconds
        counts = {
            i: sum(cost for moment, cost in hits if moment // window.seconds == i) for i in (index - 1, index)
        }
        left = (index + 1) * window.seconds - now
        return int(counts[index - 1] * left / window.seconds + counts[index])

    def take(self, windows, client, cost, now):
        room = [self.used(w, client, now) + cost <= w.amount for w in windows]
        allowed = all(fits for w, fits in zip(windows, room, strict=True) if not w.shadow)
        shadows = all(fits for w, fits in zip(windows, room, strict=True) if w.shadow)
        for w in windows:
            if allowed and cost and (shadows or not w.shadow):
                key = w.prefix, client
                if self.starts.get(key, -1e9) + w.seconds <= now:
                    self.starts[key] = now
                self.hits[key].append((now, cost))
        return allowed, room

    def clear(self, windows, client):
        for w in windows:
            self.hits.pop((w.prefix, client), None)
            self.starts.pop((w.prefix, client), None)


class Comparison(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.now = 1_700_000_000.0
        self.counters = BoundedMemoryStore(1_000_000, clock=lambda: self.now)
        self.sweeper = Sweeper(self.counters, 60, rest=lambda _seconds: None)
        self.model = Model()

    some = st.lists(st.sampled_from(WINDOWS), min_size=1, max_size=4, unique=True)

    @rule(windows=some, client=st.sampled_from(CLIENTS), cost=st.integers(0, 4))
    def take(self, windows, client, cost):
        before = self.counters.peek(windows, client, cost, self.now)

        answer = self.counters.take(windows, client, cost, self.now)

        allowed, room = self.model.take(windows, client, cost, self.now)
        assert answer.allowed == before.allowed == allowed
        assert [not state.exceeded for state in answer.states] == room
        for w, state in zip(windows, answer.states, strict=True):
            assert state.used == self.model.used(w, client, self.now)
            assert state.remaining == max(0, w.amount - state.used)
            self.retry_is_exact(w, client, cost, state.retry_after)
            empty = self.now + state.reset_after + 1e-6
            assert self.counters.peek([w], client, 0, empty).states[0].used == 0

    def retry_is_exact(self, w, client, cost, wait):
        if wait and cost <= w.amount:
            assert self.model.used(w, client, self.now + wait) + cost <= w.amount
            assert not self.counters.peek([w], client, cost, self.now + wait).states[0].exceeded
            if wait > 2e-6:
                assert self.model.used(w, client, self.now + wait - 2e-6) + cost > w.amount

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
        weight = sum(table.weigh() for table in self.counters.tables())
        assert self.counters.budget.used == weight <= 1_000_000


Comparison.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestTheStoreAgreesWithThePlainModel = Comparison.TestCase
