"""Requests that another limit would have refused, compared with the real store; and unknown ones."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ratelimit.analytics.headroom import headroom
from otel_ratelimit.analytics.reader import Excess, LimitUse
from otel_ratelimit.analytics.recommended_limits import recommend_limits
from otel_ratelimit.analytics.usage_buffer import UsageBuffer
from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.core.identity import Identity
from otel_ratelimit.core.route_plan import KeySpec, RoutePlan, Strategy, Window
from otel_ratelimit.policy.decide import decide
from otel_ratelimit.storage.bounded_memory import BoundedMemoryStore

SECONDS = 60


def decisions(requests, amount, *, cost=1, shadow=False):
    """Decisions of the real store on `requests` (seconds, client) under `amount` a minute."""
    window = Window(
        "p|", amount, SECONDS, Strategy.FIXED_WINDOW, shadow, f"{amount} per 1 minute", "a-per-minute"
    )
    plan = RoutePlan("e", "GET", "/a", "t", False, KeySpec("ip"), (window,), cost, "closed", "")
    store = BoundedMemoryStore(10_000_000)
    for at, client in requests:
        who = Identity(f"i{client * 32}", "ip", client, None)
        yield decide(plan, plan.windows, who, store, clock=lambda at=at: at, timer=lambda: 0.0)


def measured(requests, amount, **how):
    """The roll-up of that."""
    buffer = UsageBuffer()
    for decision in decisions(requests, amount, **how):
        buffer.add(decision)
    reached, arrived = Counter(), Counter()
    for row in buffer.take():
        reached.update(row.utilization)
        arrived.update(row.clients)
    return LimitUse("/a", "GET", "t", f"{amount} per 1 minute", amount, SECONDS, reached, arrived)


def demands(requests):
    """Requests of each client in each of its windows, which begin with their first request."""
    found, begun = Counter(), {}
    for at, client in requests:
        if client not in begun or at >= begun[client] + SECONDS:
            begun[client] = at
        found[client, begun[client]] += 1
    return found


traffic = st.lists(
    st.tuples(st.integers(0, 200).map(float), st.sampled_from("012")), min_size=1, max_size=120
).map(sorted)


@given(traffic, st.integers(1, 20), st.booleans())
def test_what_a_lower_limit_would_have_refused_is_what_the_store_refuses_under_it(requests, amount, shadow):
    [found] = recommend_limits([measured(requests, amount, shadow=shadow)])
    wanted = demands(requests)
    for candidate in found.candidates:
        if candidate.limit_value < amount:
            refused = [
                d for d in decisions(requests, candidate.limit_value) if d.kind is DecisionKind.BLOCKED
            ]
            assert candidate.rejected_requests == len(refused)
            assert candidate.rejected_clients == sum(n > candidate.limit_value for n in wanted.values())
            assert found.client_windows == len(wanted)


@given(traffic.map(lambda few: [(0.0, c) for _, c in few] * 3), st.integers(101, 260))
def test_above_a_hundred_units_the_candidates_are_exact_too(requests, amount):
    [found] = recommend_limits([measured(requests, amount)])
    wanted = demands(requests)
    for candidate in found.candidates:
        if candidate.limit_value < amount:
            over = [n - candidate.limit_value for n in wanted.values() if n > candidate.limit_value]
            assert candidate.rejected_requests == sum(over)
            assert candidate.rejected_clients == len(over)


@given(traffic, st.integers(2, 5), st.integers(10, 100))
def test_for_requests_that_cost_more_lower_limits_are_judged_by_units(requests, cost, amount):
    wanted = demands(requests)
    beyond = Counter(n - amount // cost for n in wanted.values() if n > amount // cost)
    excess = [Excess("/a", "GET", "t", f"{amount} per 1 minute", amount, SECONDS, *b) for b in beyond.items()]
    [found] = recommend_limits([measured(requests, amount, cost=cost)], excess)
    assert found.client_windows == len(wanted)
    for candidate in found.candidates:
        if candidate.limit_value < amount:
            fit = candidate.limit_value // cost
            assert candidate.rejected_requests == sum(max(0, n - fit) for n in wanted.values())
            assert candidate.rejected_clients == sum(n > fit for n in wanted.values())


def test_refusals_of_clients_not_told_apart_are_refusals_of_some_client():
    use = LimitUse(
        "/a", "GET", "t", "10 per 1 minute", 10, 60, {10: 1000, 100: 50, 101: 5000}, {10: 1000, 100: 50}
    )
    [found] = recommend_limits([use])
    assert found.recommended is None, "nobody knows what would have been enough for the fifty"
    present = next(candidate for candidate in found.candidates if candidate.limit_value == 10)
    assert (present.rejected_requests, present.rejected_clients) == (5000, 50)


def test_a_few_of_them_do_not_outweigh_what_is_known():
    text = "10 per 1 minute"
    use = LimitUse("/a", "GET", "t", text, 10, 60, {10: 1000, 100: 60, 101: 203}, {10: 1000, 100: 60})
    [found] = recommend_limits([use], [Excess("/a", "GET", "t", text, 10, 60, 5, 40)])
    assert found.recommended.limit_value == 15
    assert (found.recommended.rejected_requests, found.recommended.rejected_clients) == (3, 3)


def test_refusals_in_windows_that_began_before_the_period_count_their_clients_too():
    text = "10 per 1 minute"
    use = LimitUse("/a", "GET", "t", text, 10, 60, {101: 12}, {})
    [found] = recommend_limits([use], [Excess("/a", "GET", "t", text, 10, 60, 6, 2)])
    assert (found.requests, found.client_windows) == (12, 2)
    assert found.recommended.limit_value >= 16
    [unknown] = recommend_limits([use])
    assert (unknown.client_windows, unknown.recommended) == (1, None)


@pytest.mark.parametrize("amount", [1, 3, 7, 10, 64, 99, 100])
def test_the_units_left_are_exact_up_to_a_hundred(amount):
    for used in range(1, amount + 1):
        percent = -(-100 * used // amount)
        use = LimitUse("/a", "GET", "t", "x", amount, 60, {percent: 1}, {percent: 1})
        assert headroom([use])[0].units_left == amount - used


@pytest.mark.parametrize("used", [1, 2, 149, 150, 151, 299, 300])
def test_the_units_left_are_never_overstated(used):
    percent = -(-100 * used // 300)
    use = LimitUse("/a", "GET", "t", "x", 300, 60, {percent: 1}, {percent: 1})
    assert 0 <= 300 - used - headroom([use])[0].units_left < 3 or used == 300
    assert headroom([use])[0].units_left <= 300 - used
