"""Hit rate, breathing room and recommendations: from the roll-up the same as from the raw requests."""

from __future__ import annotations

from collections import Counter, defaultdict
from math import ceil

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otel_ratelimit.analytics.headroom import headroom
from otel_ratelimit.analytics.hit_rate import HitRate, hit_rates, overall_hit_rate
from otel_ratelimit.analytics.reader import Excess, LimitUse, RequestTotal
from otel_ratelimit.analytics.recommended_limits import recommend_limits
from otel_ratelimit.analytics.usage_buffer import UsageBuffer
from otel_ratelimit.core.counter_store import WindowState
from otel_ratelimit.core.decision import Decision, DecisionKind
from otel_ratelimit.core.identity import Identity
from otel_ratelimit.core.route_plan import KeySpec, RoutePlan, Strategy, Window

ROUTES = ("/a", "/b")


def plan(route, amount, *, exempt=False):
    window = Window("p", amount, 60, Strategy.FIXED_WINDOW, False, f"{amount} per 1 minute", "n")
    windows = () if exempt else (window,)
    return RoutePlan(route, "GET", route, "default", exempt, KeySpec("ip"), windows, 1, "closed", "")


def replay(requests, amount):
    """Decisions of a limiter that counts `amount` a minute by fixed windows; requests: (minute,
    client, route)."""
    plans = {route: plan(route, amount) for route in ROUTES}
    used = Counter()
    for minute, client, route in requests:
        the_plan, key = plans[route], (minute, client, route)
        refused = used[key] >= amount
        used[key] += not refused
        state = WindowState(used[key], amount - used[key], 30.0, 30.0 if refused else 0.0)
        outcome = DecisionKind.BLOCKED if refused else DecisionKind.ALLOWED
        who = Identity("i" + "0" * 32, "ip", client, None)
        yield Decision(outcome, the_plan, the_plan.windows, (state,), who, 0, 60.0 * minute, 0.0)


def rolled_up(decisions):
    """Answers that the database would give: totals, and histograms by limit."""
    buffer = UsageBuffer()
    for decision in decisions:
        buffer.add(decision)
    totals, limits = Counter(), defaultdict(lambda: (Counter(), Counter()))
    for row in buffer.take():
        totals[row.endpoint, row.method, row.tier, row.decision] += row.requests
        if row.limit_text:
            key = (row.endpoint, row.method, row.tier, row.limit_text, row.limit_value, row.limit_seconds)
            limits[key][0].update(row.utilization)
            limits[key][1].update(row.clients)
    return (
        [RequestTotal(*key, requests) for key, requests in totals.items()],
        [LimitUse(*key, *histograms) for key, histograms in limits.items()],
    )


requests = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from("abcde"), st.sampled_from(ROUTES)), min_size=1, max_size=150
)


@given(requests, st.integers(1, 12))
def test_the_hit_rate_is_that_of_the_raw_decisions(asked, amount):
    decisions = list(replay(asked, amount))
    totals, _ = rolled_up(decisions)
    for rate in hit_rates(totals):
        raw = [d.kind for d in decisions if d.plan.route == rate.endpoint]
        assert rate.requests == len(raw)
        assert rate.hit_rate == raw.count(DecisionKind.BLOCKED) / len(raw)
    everything = overall_hit_rate(totals)
    assert everything.requests == len(asked)
    assert everything.blocked == sum(d.kind is DecisionKind.BLOCKED for d in decisions)


@given(requests, st.integers(1, 250), st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0]))
def test_the_breathing_room_is_that_of_the_raw_decisions_to_the_percent(asked, amount, quantile):
    decisions = list(replay(asked, amount))
    _, uses = rolled_up(decisions)
    rooms = headroom(uses, quantile)
    assert {room.endpoint for room in rooms} == {d.plan.route for d in decisions}
    for room in rooms:
        shares = sorted(
            1.0 if d.kind is DecisionKind.BLOCKED else d.states[0].used / amount
            for d in decisions
            if d.plan.route == room.endpoint
        )
        raw = shares[ceil(quantile * len(shares)) - 1]
        assert room.room == pytest.approx(1 - ceil(raw * 100 - 1e-9) / 100)
        assert room.requests == len(shares)
        assert room.highest == pytest.approx(ceil(shares[-1] * 100 - 1e-9) / 100)


@given(requests, st.integers(1, 12))
@example([(0, "a", "/a")] * 9 + [(0, "b", "/a")], 4)
def test_what_a_limit_would_have_rejected_is_what_a_replay_under_it_rejects(asked, amount):
    uses, excess = evidence(asked, amount)
    for found in recommend_limits(uses, excess, 0.0, "requests"):
        mine = [request for request in asked if request[2] == found.endpoint]
        demand = Counter(mine)
        assert found.requests == len(mine)
        assert found.client_windows == len(demand)
        for candidate in found.candidates:
            over = [n - candidate.limit_value for n in demand.values() if n > candidate.limit_value]
            assert candidate.rejected_requests == sum(over), candidate
            assert candidate.rejected_clients == len(over), candidate


@given(
    requests,
    st.integers(1, 12),
    st.sampled_from([0.0, 0.01, 0.1, 0.3]),
    st.sampled_from(["clients", "requests"]),
)
def test_the_recommended_limit_keeps_to_the_share_and_one_lower_would_not(asked, amount, share, by):
    uses, excess = evidence(asked, amount)
    for found in recommend_limits(uses, excess, share, by):
        demand = Counter(request for request in asked if request[2] == found.endpoint)

        def rejected(limit, demand=demand):
            over = [n - limit for n in demand.values() if n > limit]
            return len(over) / len(demand) if by == "clients" else sum(over) / demand.total()

        if found.recommended is None:
            assert rejected(10 * amount) > share
            continue
        chosen = found.recommended.limit_value
        assert rejected(chosen) <= share
        if 1 < chosen <= amount:
            assert rejected(chosen - 1) > share


def evidence(asked, amount):
    decisions = list(replay(asked, amount))
    _, uses = rolled_up(decisions)
    refused = Counter(
        (d.plan.route, d.identity.address, d.at) for d in decisions if d.kind is DecisionKind.BLOCKED
    )
    excess = Counter((route, n) for (route, _, _), n in refused.items())
    text = f"{amount} per 1 minute"
    return uses, [
        Excess(route, "GET", "default", text, amount, 60, n, windows)
        for (route, n), windows in excess.items()
    ]


def test_above_a_hundred_units_a_lower_limit_is_exact_where_it_is_a_whole_percent():
    asked = [(0, "a", "/a")] * 250 + [(0, "b", "/a")] * 120 + [(0, "c", "/a")] * 3
    uses, excess = evidence(asked, 400)
    [found] = recommend_limits(uses, excess, 0.34, "clients")
    assert found.client_windows == 3
    by_value = {candidate.limit_value: candidate for candidate in found.candidates}
    assert (by_value[100].rejected_requests, by_value[100].rejected_clients) == (150 + 20, 2)
    assert (by_value[200].rejected_requests, by_value[200].rejected_clients) == (50, 1)
    assert found.recommended.limit_value == 120
    assert found.recommended.limit_text == "120 per 1 minute"


def test_refusals_of_clients_not_told_apart_count_against_every_higher_limit():
    use = LimitUse("/a", "GET", "t", "10 per 1 minute", 10, 60, {10: 5, 101: 40}, {10: 5})
    [found] = recommend_limits([use], [Excess("/a", "GET", "t", "10 per 1 minute", 10, 60, 8, 1)])
    highest = found.candidates[-1]
    assert (highest.limit_value, highest.rejected_requests) == (100, 32)


def test_violations_whose_minute_of_use_lies_outside_the_period_make_no_share_above_one():
    use = LimitUse("/a", "GET", "t", "10 per 1 minute", 10, 60, {10: 1}, {10: 1})
    [found] = recommend_limits([use], [Excess("/a", "GET", "t", "10 per 1 minute", 10, 60, 500, 2)])
    assert found.requests == 1001
    assert all(candidate.rejected_requests_share <= 1.0 for candidate in found.candidates)


def test_little_evidence_is_called_little():
    use = LimitUse("/a", "GET", "t", "10 per 1 minute", 10, 60, {10: 5}, {10: 5})
    [found] = recommend_limits([use])
    assert not found.enough_evidence
    assert "; too little to rely on: that takes 100 requests" in found.reason
    assert found.recommended.limit_text == "1 per 1 minute"
    plenty = LimitUse("/a", "GET", "t", "10 per 1 minute", 10, 60, {10: 500}, {10: 500})
    assert recommend_limits([plenty])[0].enough_evidence


def test_nothing_is_recommended_on_nothing():
    assert recommend_limits([]) == []
    assert recommend_limits([LimitUse("/a", "GET", "t", "1 per 1 minute", 1, 60, {}, {})]) == []
    assert hit_rates([]) == headroom([]) == []
    assert overall_hit_rate([]).hit_rate == 0.0


def test_all_refused_and_a_limit_of_one():
    use = LimitUse("/a", "GET", "t", "1 per 1 minute", 1, 60, {101: 1000}, {})
    [found] = recommend_limits([use], [Excess("/a", "GET", "t", "1 per 1 minute", 1, 60, 1000, 1)])
    assert found.recommended is None
    assert found.reason.startswith("even 10 requests a minute, 10 times the present limit, would")
    [room] = headroom([use])
    assert (room.room, room.refused, room.units_left) == (0.0, 1000, 0)


def test_exempt_requests_and_errors_are_no_part_of_the_hit_rate():
    totals = [
        RequestTotal("/a", "GET", "t", DecisionKind.ALLOWED, 6),
        RequestTotal("/a", "POST", "t", DecisionKind.BLOCKED, 1),
        RequestTotal("/a", "GET", "t", DecisionKind.SHADOW_BLOCKED, 1),
        RequestTotal("/a", "GET", "", DecisionKind.EXEMPT, 100),
        RequestTotal("/a", "GET", "t", DecisionKind.ERROR, 50),
    ]
    assert hit_rates(totals) == [HitRate("/a", 6, 1, 1, 100, 50)]
    assert hit_rates(totals)[0].hit_rate == 0.25
    assert hit_rates(totals)[0].requests == 158


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        recommend_limits([], max_rejected_share=share)


@pytest.mark.parametrize("quantile", [0.0, 1.1])
def test_a_quantile_that_is_none_is_refused(quantile):
    with pytest.raises(ValueError, match="quantile"):
        headroom([], quantile)
