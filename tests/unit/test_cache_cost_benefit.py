"""Cost and benefit of a cache, computed by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from otel_ratelimit.cache_advice.cost_benefit import calculate_redis_cost_benefit
from otel_ratelimit.cache_advice.needs import Needs
from otel_ratelimit.cache_advice.prices import DAYS_A_MONTH, HOURS_A_MONTH, PRICES, Price

TODAY = date(2026, 6, 1)
NEEDS = Needs(
    memory_bytes=3e9,
    requests_a_day=2_000_000,
    executions_a_day=1_500_000,
    latency_saved_ms=1_000_000,
    latency_saved_low_ms=900_000,
    latency_saved_high_ms=1_100_000,
    database_saved_ms=3_000_000,
    database_saved_low_ms=2_700_000,
    database_saved_high_ms=3_300_000,
    database_ms=10_000_000,
)
NODE = Price(name="node", kind="instance", as_of=TODAY, memory_bytes=2e9, month=20.0)
OWN = Price(name="own", kind="self-hosted", as_of=TODAY, month=50.0, gb_hour=0.01)
SERVERLESS = PRICES[0]


def test_what_each_kind_costs():
    # 3 GB and a quarter of the memory free: 4 GB, two nodes of 2 GB.
    assert NODE.monthly(NEEDS, 0.25) == 40.0
    assert OWN.monthly(NEEDS, 0.25) == pytest.approx(50.0 + 0.01 * 4 * HOURS_A_MONTH)
    # A managed service needs no reserve of ours; requests cost.
    requests = DAYS_A_MONTH * 2 * 0.0023
    assert SERVERLESS.monthly(NEEDS, 0.25) == pytest.approx(0.084 * 3 * HOURS_A_MONTH + requests)


def test_there_is_a_least_to_pay_for():
    tiny = replace(NEEDS, memory_bytes=1.0, requests_a_day=0)
    assert SERVERLESS.monthly(tiny, 0.25) == pytest.approx(0.084 * 0.1 * HOURS_A_MONTH)
    assert NODE.monthly(tiny, 0.25) == 20.0


def test_the_cheapest_is_chosen():
    found = calculate_redis_cost_benefit(NEEDS, [SERVERLESS, OWN, NODE])
    assert (found.price.name, found.monthly_cost) == ("node", 40.0)
    assert [name for name, _ in found.by_price] == ["node", "own", SERVERLESS.name]


def test_it_pays_if_what_it_brings_is_more_than_it_costs():
    # 10^6 ms a day, 30.4375 days.
    found = calculate_redis_cost_benefit(NEEDS, [NODE], value_of_saved_ms=1e-5)
    assert found.monthly_benefit == pytest.approx(10 * DAYS_A_MONTH)
    assert (found.worthwhile, found.certainty) == (True, "certain")
    assert "304.38 USD a month" in found.reason
    # As many as 40.00 / 304.375 of those there are.
    assert found.break_even_executions_a_day == pytest.approx(1_500_000 * 40 / 304.375)


def test_the_database_has_its_value_too():
    found = calculate_redis_cost_benefit(NEEDS, [NODE], value_of_database_second=0.001)
    assert found.monthly_benefit == pytest.approx(3.0 * DAYS_A_MONTH)


@pytest.mark.parametrize(
    ("value", "worthwhile", "certainty"),
    [
        (1.0e-6, False, "certain"),
        (1.25e-6, False, "likely"),
        (1.35e-6, True, "likely"),
        (2e-6, True, "certain"),
    ],
)
def test_it_is_certain_where_both_ends_of_the_interval_say_the_same(value, worthwhile, certainty):
    found = calculate_redis_cost_benefit(NEEDS, [NODE], value_of_saved_ms=value)
    assert (found.worthwhile, found.certainty) == (worthwhile, certainty)


@pytest.mark.parametrize(
    ("value", "worthwhile", "certainty"),
    [
        (0.00035, False, "certain"),
        (0.00042, False, "likely"),
        (0.00046, True, "likely"),
        (0.00055, True, "certain"),
    ],
)
def test_what_the_database_saves_has_an_interval_too(value, worthwhile, certainty):
    found = calculate_redis_cost_benefit(NEEDS, [NODE], value_of_database_second=value)
    assert (found.worthwhile, found.certainty) == (worthwhile, certainty)


@pytest.mark.parametrize(
    ("changed", "worthwhile", "said"),
    [
        ({}, True, "takes 30.0 % of the load off the database; no value is set"),
        ({"database_saved_ms": 500_000}, False, "5.0 % of the load off the database, less than 10 %"),
        (
            {"database_saved_ms": 5_800, "database_ms": 9_300},
            False,
            "busy with queries for 0.01 % of the time, less than 1 %, so that there is little to take off",
        ),
        # One per cent of a day: no figure beside its threshold is rounded to it.
        (
            {"database_saved_ms": 500_000, "database_ms": 863_999},
            False,
            "for 0.999999 % of the time, less than",
        ),
        (
            {"database_saved_ms": 999_960},
            False,
            "takes 9.9996 % of the load off the database, less than 10 %",
        ),
        ({"database_saved_ms": 500_000, "database_ms": 863_999}, False, "little to take off it"),
        ({"database_saved_ms": 500_000, "database_ms": 864_000}, True, "57.9 % of the load"),
        ({"latency_saved_ms": -1.0}, False, "takes longer than its answers save"),
        ({"database_ms": 0.0, "database_saved_ms": 0.0}, False, "for 0.00 % of the time"),
    ],
)
def test_without_a_value_the_answer_is_open(changed, worthwhile, said):
    found = calculate_redis_cost_benefit(replace(NEEDS, **changed), [NODE])
    assert (found.worthwhile, found.certainty) == (worthwhile, "open")
    assert said in found.reason
    assert found.break_even_executions_a_day is None


@pytest.mark.parametrize(
    ("gained", "said"),
    [
        (40.004, "brings 40.004 USD a month, more than the 40.000 that"),
        (39.9999, "brings 39.9999 USD a month, not more than the 40.0000 that"),
        (40.0, "brings 40.00 USD a month, not more than the 40.00 that"),
        (0.001, "brings less than 0.01 USD a month, not more than the 40.00 that"),
    ],
)
def test_two_amounts_of_which_one_is_more_do_not_look_alike(gained, said):
    needs = replace(NEEDS, database_saved_ms=1_000.0 * gained / DAYS_A_MONTH)
    found = calculate_redis_cost_benefit(needs, [NODE], value_of_database_second=1.0)
    assert said in found.reason


def test_what_requests_cost_may_eat_up_what_they_bring():
    dear = SERVERLESS.model_copy(update={"million_requests": 1_000.0})
    found = calculate_redis_cost_benefit(NEEDS, [dear], value_of_saved_ms=1e-6)
    assert found.worthwhile is False
    assert found.break_even_executions_a_day is None


def test_it_pays_from_the_break_even_on_and_not_before_whatever_is_the_cheapest_then():
    # Today the requests of the one cost less than the nodes of the other, and more than they bring.
    dear = Price(name="requests", kind="serverless", million_requests=0.5)
    value = {"value_of_saved_ms": 8e-7}
    now = calculate_redis_cost_benefit(NEEDS, [dear, NODE], **value)
    assert (now.price.name, now.worthwhile) == ("requests", False)

    even = now.break_even_executions_a_day

    assert even is not None
    for factor, pays in ((0.99, False), (1.01, True)):
        times = factor * even / NEEDS.executions_a_day
        names = ("requests_a_day", "executions_a_day", "latency_saved_ms", "database_saved_ms")
        other = replace(NEEDS, **{name: times * getattr(NEEDS, name) for name in names})
        assert calculate_redis_cost_benefit(other, [dear, NODE], **value).worthwhile is pays


def test_a_day_without_queries():
    none = Needs(
        **dict.fromkeys(
            (
                *("memory_bytes", "requests_a_day", "executions_a_day", "latency_saved_ms"),
                *("latency_saved_low_ms", "latency_saved_high_ms", "database_saved_ms", "database_ms"),
                *("database_saved_low_ms", "database_saved_high_ms"),
            ),
            0.0,
        )
    )
    found = calculate_redis_cost_benefit(none, [NODE], value_of_saved_ms=1.0)
    assert (found.worthwhile, found.certainty, found.break_even_executions_a_day) == (False, "certain", None)


@pytest.mark.parametrize(
    ("prices", "reserve", "said"), [([], 0.25, "no price"), ([NODE], 1.0, "reserve is 1.0")]
)
def test_what_makes_no_sense_is_refused(prices, reserve, said):
    with pytest.raises(ValueError, match=said):
        calculate_redis_cost_benefit(NEEDS, prices, reserve=reserve)
