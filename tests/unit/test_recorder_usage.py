"""Decisions summed up by the minute, with a histogram of how far each limit was used."""

from __future__ import annotations

import threading

import pytest

from otel_ratelimit.analytics.records import REFUSED_PERCENT
from otel_ratelimit.analytics.usage_buffer import UsageBuffer
from otel_ratelimit.core.counter_store import WindowState
from otel_ratelimit.core.decision import Decision, DecisionKind
from otel_ratelimit.core.identity import Identity
from otel_ratelimit.core.names import APPLICATION_TIER
from otel_ratelimit.core.route_plan import KeySpec, RoutePlan, Strategy, Window

WHO = Identity("i" + "0" * 32, "ip", "192.0.2.7", None)


def window(amount, seconds=60, *, shadow=False):
    return Window("p", amount, seconds, Strategy.FIXED_WINDOW, shadow, f"{amount} per {seconds} second", "n")


def plan(windows=(), tier="default", route="/thing", cost=1):
    return RoutePlan("thing", "GET", route, tier, not windows, KeySpec("ip"), windows, cost, "closed", "")


def state(used, amount, *, refused=False):
    return WindowState(used, max(amount - used, 0), 1.0, 5.0 if refused else 0.0)


def decision(the_plan, outcome, states=(), tightest=-1, at=600.0):
    return Decision(outcome, the_plan, the_plan.windows, tuple(states), WHO, tightest, at, 0.001)


MINUTE, HOUR = window(10), window(50, 3600)
BOTH = plan((MINUTE, HOUR))


def test_each_limit_has_a_histogram_and_each_request_stands_in_the_row_of_its_tightest_limit():
    buffer = UsageBuffer()
    buffer.add(decision(BOTH, DecisionKind.ALLOWED, [state(1, 10), state(31, 50)], tightest=1))
    buffer.add(decision(BOTH, DecisionKind.ALLOWED, [state(8, 10), state(32, 50)], tightest=0))
    minute, hour = buffer.take()
    assert (minute.limit_text, minute.limit_value, minute.limit_seconds, minute.requests) == (
        "10 per 60 second",
        10,
        60,
        1,
    )
    assert minute.utilization == {10: 1, 80: 1}
    assert (hour.requests, hour.utilization) == (1, {62: 1, 64: 1})
    assert minute.minute == hour.minute == 600


def test_a_share_is_rounded_up_so_that_one_of_a_thousand_is_not_nothing():
    buffer, rare = UsageBuffer(), plan((window(1000),))
    for used in (1, 10, 11, 1000):
        buffer.add(decision(rare, DecisionKind.ALLOWED, [state(used, 1000)], tightest=0))
    (row,) = buffer.take()
    assert row.utilization == {1: 2, 2: 1, 100: 1}
    assert row.clients == {1: 1, 2: 1}, "first arrivals: 0 to 1 is one, 9 to 10 none, 10 to 11 one"


def test_a_refused_request_is_measured_at_the_limit_that_refused_it_and_at_no_other():
    buffer = UsageBuffer()
    buffer.add(decision(BOTH, DecisionKind.BLOCKED, [state(10, 10, refused=True), state(20, 50)], tightest=0))
    (row,) = buffer.take()
    assert (row.decision, row.limit_text, row.requests) == (DecisionKind.BLOCKED, "10 per 60 second", 1)
    assert (row.utilization, row.clients) == ({REFUSED_PERCENT: 1}, {})


def test_in_shadow_the_limits_that_were_drained_are_measured_all_the_same():
    mixed = plan((window(5, shadow=True), window(7, shadow=True, seconds=90), HOUR))
    buffer = UsageBuffer()
    states = [state(5, 5, refused=True), state(6, 7), state(5, 50)]
    buffer.add(decision(mixed, DecisionKind.SHADOW_BLOCKED, states, tightest=0))
    shadow, hour = buffer.take()
    assert (shadow.requests, shadow.utilization) == (1, {REFUSED_PERCENT: 1})
    assert (hour.requests, hour.utilization) == (0, {10: 1})


@pytest.mark.parametrize("outcome", [DecisionKind.EXEMPT, DecisionKind.ERROR])
def test_where_no_limit_was_measured_requests_are_counted_alone(outcome):
    buffer = UsageBuffer()
    the_plan = BOTH if outcome is DecisionKind.ERROR else plan()
    for _ in range(3):
        buffer.add(decision(the_plan, outcome))
    (row,) = buffer.take()
    assert (row.decision, row.limit_text, row.limit_value, row.requests) == (outcome, "", 0, 3)
    assert row.utilization == {}


def test_limits_that_the_application_makes_for_each_request_share_a_row():
    buffer = UsageBuffer()
    for _ in range(50):
        fresh = plan((window(10),), tier=APPLICATION_TIER)
        buffer.add(decision(fresh, DecisionKind.BLOCKED, [WindowState(10, 0, 0.0, 0.0)], tightest=0))
    (row,) = buffer.take()
    assert (row.requests, row.utilization) == (50, {REFUSED_PERCENT: 50})


def test_each_minute_is_a_row_until_there_are_too_many_and_then_the_last_one_takes_the_rest():
    buffer = UsageBuffer(max_rows=10)
    for minute in range(1000):
        buffer.add(decision(BOTH, DecisionKind.ALLOWED, [state(1, 10), state(1, 50)], 0, at=60.0 * minute))
    rows = [row for row in buffer.take() if row.limit_value == 10]
    assert len(rows) == 10
    assert sum(row.requests for row in rows) == 1000
    assert [row.minute for row in rows] == [60 * minute for minute in range(10)]


def test_a_cost_of_several_units_arrives_where_it_jumps_to():
    buffer, dear = UsageBuffer(), plan((window(10),), cost=3)
    for used in (3, 6, 9):
        buffer.add(decision(dear, DecisionKind.ALLOWED, [state(used, 10)], tightest=0))
    (row,) = buffer.take()
    assert row.utilization == row.clients == {30: 1, 60: 1, 90: 1}


def test_threads_lose_no_request():
    buffer = UsageBuffer()
    one = decision(BOTH, DecisionKind.ALLOWED, [state(1, 10), state(1, 50)], tightest=0)
    rows = []
    threads = [threading.Thread(target=lambda: [buffer.add(one) for _ in range(3000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        rows.extend(buffer.take())
    rows.extend(buffer.take())
    assert sum(row.requests for row in rows) == 24_000
    assert sum(row.utilization.get(2, 0) for row in rows) == 24_000
