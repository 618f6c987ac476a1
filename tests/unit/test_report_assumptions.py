"""The policy's `[cache]` gives the assumptions of the analysis."""

from __future__ import annotations

import pytest

from otel_ratelimit.cache_advice.prices import PRICES, Pricing
from otel_ratelimit.core.cache_assumptions import Assumptions
from otel_ratelimit.policy import parse_policy
from otel_ratelimit.reports.assumptions import assumptions_of, pricing_of

HOURS_A_MONTH = 730.5
INSTANCE = 'name = "node"\nkind = "instance"\nmemory = 4_000_000_000\nmonth = 100.0'
OWN = 'name = "own"\nkind = "self-hosted"\ngb_hour = 0.06'
BY_USE = 'name = "by use"\nkind = "serverless"\ngb_hour = 0.09'


def cache(*prices, lines=""):
    tables = "".join(f"\n[[cache.prices]]\n{price}\n" for price in prices)
    return parse_policy(f"version = 1\n[cache]\n{lines}{tables}", "p.toml").cache


def test_an_empty_table_gives_the_defaults_and_the_presets():
    assert pricing_of(cache()) == Pricing()
    assert assumptions_of(cache()) == Assumptions(memory_gb_hour=min(price.gb_hour for price in PRICES))


def test_what_the_table_says_is_assumed():
    found = assumptions_of(cache(lines="lookup_milliseconds = 0.3\nstale_share = 0\nengine = 'redis'\n"))
    assert (found.lookup_ms, found.stale_budget, found.engine) == (0.3, 0.0, "redis")
    pricing = pricing_of(cache(OWN, lines="currency = 'EUR'\nreserve = 0.4\n"))
    assert (pricing.currency, pricing.reserve, pricing.prices[0].name) == ("EUR", 0.4, "own")


@pytest.mark.parametrize(
    ("price", "gb_hour"),
    [
        # A quarter stays free, of one's own memory and of instances; a provider bills what is used.
        (INSTANCE, 100.0 / (4.0 * HOURS_A_MONTH) / 0.75),
        (OWN, 0.06 / 0.75),
        (BY_USE, 0.09),
    ],
)
def test_memory_costs_what_one_more_gigabyte_in_use_costs(price, gb_hour):
    assert assumptions_of(cache(price)).memory_gb_hour == pytest.approx(gb_hour)


def test_the_cheapest_price_decides_what_memory_costs():
    assert assumptions_of(cache(OWN, INSTANCE, BY_USE)).memory_gb_hour == pytest.approx(
        100.0 / (4.0 * HOURS_A_MONTH) / 0.75
    )
