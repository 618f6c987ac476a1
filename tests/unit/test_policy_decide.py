from __future__ import annotations

from otel_ratelimit.core.counter_store import Taken, WindowState
from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.core.identity import Identity
from otel_ratelimit.core.route_plan import KeySpec, RoutePlan, Strategy, Window
from otel_ratelimit.policy.decide import decide, judge

MINUTE = Window("p|e|60|f|", 10, 60, Strategy.FIXED_WINDOW, False, "10 per 1 minute", "10-per-minute")
HOUR = Window("p|e|3600|f|", 50, 3600, Strategy.FIXED_WINDOW, False, "50 per 1 hour", "50-per-hour")
SHADOW_HOUR = Window("p|e|3600|f|", 50, 3600, Strategy.FIXED_WINDOW, True, "50 per 1 hour", "50-per-hour")
IDENTITY = Identity("i" + "0" * 32, "ip", "192.0.2.1", None)


def plan(*windows, on_error="closed"):
    return RoutePlan("e", "GET", "/e", "t", False, KeySpec("ip"), windows, 1, on_error, "test")


def test_allowed_speaks_of_the_window_with_the_least_share_left():
    taken = Taken(True, (WindowState(2, 8, 60.0, 0.0), WindowState(45, 5, 3600.0, 0.0)))
    assert judge((MINUTE, HOUR), taken) == (DecisionKind.ALLOWED, 1)


def test_blocked_speaks_of_the_window_that_keeps_the_client_longest():
    taken = Taken(False, (WindowState(10, 0, 60.0, 12.0), WindowState(50, 0, 3600.0, 900.0)))
    assert judge((MINUTE, HOUR), taken) == (DecisionKind.BLOCKED, 1)


def test_a_shadow_window_never_speaks_for_a_real_refusal():
    taken = Taken(False, (WindowState(10, 0, 60.0, 12.0), WindowState(50, 0, 3600.0, 900.0)))
    assert judge((MINUTE, SHADOW_HOUR), taken) == (DecisionKind.BLOCKED, 0)


def test_only_a_shadow_window_exceeded_is_reported_and_lets_through():
    taken = Taken(True, (WindowState(1, 9, 60.0, 0.0), WindowState(50, 0, 3600.0, 900.0)))
    assert judge((MINUTE, SHADOW_HOUR), taken) == (DecisionKind.SHADOW_BLOCKED, 1)


class Store:
    name = "test"

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def take(self, windows, client, cost, now):
        self.asked.append((windows, client, cost, now))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_the_store_is_asked_once_for_all_windows_and_the_time_it_took_is_noted():
    store = Store(Taken(True, (WindowState(1, 9, 60.0, 0.0), WindowState(1, 49, 3600.0, 0.0))))
    ticks = iter([100.0, 100.25])
    decision = decide(
        plan(MINUTE, HOUR),
        (MINUTE, HOUR),
        IDENTITY,
        store,
        clock=lambda: 1_700_000_000.0,
        timer=lambda: next(ticks),
    )
    assert store.asked == [((MINUTE, HOUR), IDENTITY.key, 1, 1_700_000_000.0)]
    assert decision.kind is DecisionKind.ALLOWED
    assert decision.duration == 0.25
    assert decision.at == 1_700_000_000.0
    assert decision.windows[decision.tightest] is MINUTE
    assert decision.utilization == 1.0 - 9 / 10


def test_a_store_that_fails_gives_an_error_decision_with_its_type():
    store = Store(StorageUnavailableError("timeout"))
    decision = decide(plan(MINUTE), (MINUTE,), IDENTITY, store, clock=lambda: 1.0, timer=lambda: 0.0)
    assert decision.kind is DecisionKind.ERROR
    assert decision.error_type == "timeout"
    assert decision.states == ()
    assert decision.tightest == -1
    assert decision.utilization == 0.0


def test_retry_after_is_the_longest_wait_of_the_enforced_windows():
    store = Store(
        Taken(
            False,
            (
                WindowState(10, 0, 60.0, 12.0),
                WindowState(50, 0, 3600.0, 900.0),
            ),
        )
    )
    decision = decide(
        plan(MINUTE, SHADOW_HOUR),
        (MINUTE, SHADOW_HOUR),
        IDENTITY,
        store,
        clock=lambda: 1.0,
        timer=lambda: 0.0,
    )
    assert decision.retry_after == 12.0
