"""From the policy's `[cache]` to the assumptions and prices of the analysis."""

from __future__ import annotations

from otel_ratelimit.cache_advice.prices import PRICES, Price, Pricing
from otel_ratelimit.core.cache_assumptions import Assumptions
from otel_ratelimit.policy import Cache, CachePrice


def assumptions_of(cache: Cache) -> Assumptions:
    """The assumptions of the analysis; the cheapest price decides what memory costs."""
    pricing = pricing_of(cache)
    return Assumptions(
        engine=cache.engine,
        allocator=cache.allocator,
        key_bytes=cache.key_bytes,
        size_factor=cache.size_factor,
        lookup_ms=cache.lookup_milliseconds,
        store_ms=cache.store_milliseconds,
        stale_budget=cache.stale_share,
        value_of_saved_ms=cache.value_of_saved_millisecond,
        value_of_database_second=cache.value_of_database_second,
        memory_gb_hour=min(price.gb_hour_in_use(pricing.reserve) for price in pricing.prices),
    )


def pricing_of(cache: Cache) -> Pricing:
    """The prices of the policy; the presets where it has none."""
    prices = tuple(_price(given) for given in cache.prices) or PRICES
    return Pricing(prices=prices, reserve=cache.reserve, currency=cache.currency)


def _price(given: CachePrice) -> Price:
    return Price(
        name=given.name,
        kind=given.kind,
        as_of=given.as_of,
        memory_bytes=given.memory,
        month=given.month,
        gb_hour=given.gb_hour,
        million_requests=given.million_requests,
        least_bytes=given.least_memory,
    )
