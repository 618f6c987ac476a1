"""What the policy's `[cache]` says, in the words of the analysis."""

from __future__ import annotations

from typing import Final

from otel_ratelimit.cache_advice.assumptions import Assumptions
from otel_ratelimit.cache_advice.daily_report import Supposed
from otel_ratelimit.cache_advice.prices import HOURS_A_MONTH, PRICES, Price
from otel_ratelimit.policy import Cache

_GB: Final = 1e9


def assumptions_of(cache: Cache) -> Assumptions:
    """Of the cache, and what its answers are worth."""
    prices = prices_of(cache)
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
        memory_gb_hour=min(_gb_hour(price, cache.reserve) for price in prices),
    )


def prices_of(cache: Cache) -> tuple[Price, ...]:
    """Those of the policy, else the built-in ones."""
    given = tuple(
        Price(
            name=price.name,
            kind=price.kind,
            as_of=price.as_of,
            memory_bytes=price.memory,
            month=price.month,
            gb_hour=price.gb_hour,
            million_requests=price.million_requests,
            least_bytes=price.least_memory,
        )
        for price in cache.prices
    )
    return given or PRICES


def supposed_of(cache: Cache) -> Supposed:
    """As it is kept with the report."""
    return Supposed(
        currency=cache.currency,
        value_of_saved_ms=cache.value_of_saved_millisecond,
        value_of_database_second=cache.value_of_database_second,
        lookup_ms=cache.lookup_milliseconds,
        store_ms=cache.store_milliseconds,
        stale_budget=cache.stale_share,
        reserve=cache.reserve,
    )


def _gb_hour(price: Price, reserve: float) -> float:
    """What a gigabyte more costs for an hour, on average."""
    if price.kind == "serverless":
        return price.gb_hour
    whole = price.gb_hour
    if price.kind == "instance":
        whole = price.month / (HOURS_A_MONTH * price.memory_bytes / _GB)
    return whole / (1.0 - reserve)
