"""Needs of the advised cache on a day: the memory and requests that its price depends on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from otel_ratelimit.cache_advice.result import AtTtl, CacheAnalysis

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """The memory and requests that a cache needs on a day, and its savings on that day."""

    memory_bytes: float
    """At the peak."""
    requests_a_day: float
    """Lookups and stores."""
    executions_a_day: float
    """Queries that are looked up in it."""
    latency_saved_ms: float
    """In 24 hours."""
    latency_saved_low_ms: float
    """At the lower end of its interval."""
    latency_saved_high_ms: float
    database_saved_ms: float
    """In 24 hours."""
    database_saved_low_ms: float
    """At the lower end of its interval."""
    database_saved_high_ms: float
    database_ms: float
    """Time that all queries take on a day."""


def needs_of(analysis: CacheAnalysis, store_ms: float) -> Needs:
    """The needs of the planned cache on such a day; all 0 if there is no plan.

    Args:
        analysis: the analysis of the day.
        store_ms: time to put a result into the cache.
    """
    if analysis.plan is None:
        return _nothing(analysis.database_ms / _days(analysis))
    return needs_at(analysis, analysis.plan.at, store_ms)


def needs_at(analysis: CacheAnalysis, at: AtTtl, store_ms: float) -> Needs:
    """The needs of one of the caches of `analysis` on such a day.

    Sums are scaled to 24 hours, since a day may have 23 or 25 and the analysed time need not be a day; memory
    is not scaled. The intervals of the savings follow from that of the hit ratio: one more hit saves the mean
    time of a hit in the database, and the time to store its result. Requests that drop entries are not
    counted: there are at most as many as writes, which are few where caching pays.

    Args:
        analysis: the analysis of the day.
        at: the cache; its ratios are shares of all executions that a cache could answer.
        store_ms: time to put a result into the cache.
    """
    days = _days(analysis)
    database_ms = analysis.database_ms / days
    a_hit_ms = at.database_saved_ms / at.hits if at.hits > 0.0 else 0.0
    fewer = analysis.executions * (at.hit_ratio - at.hit_ratio_low)
    more = analysis.executions * (at.hit_ratio_high - at.hit_ratio)
    latency_ms = a_hit_ms + store_ms if at.hits > 0.0 else 0.0
    return Needs(
        memory_bytes=at.peak_bytes,
        requests_a_day=(at.asked + max(at.asked - at.hits, 0.0)) / days,
        executions_a_day=at.asked / days,
        latency_saved_ms=at.latency_saved_ms / days,
        latency_saved_low_ms=(at.latency_saved_ms - fewer * latency_ms) / days,
        latency_saved_high_ms=(at.latency_saved_ms + more * latency_ms) / days,
        database_saved_ms=at.database_saved_ms / days,
        database_saved_low_ms=(at.database_saved_ms - fewer * a_hit_ms) / days,
        database_saved_high_ms=(at.database_saved_ms + more * a_hit_ms) / days,
        database_ms=database_ms,
    )


def _days(analysis: CacheAnalysis) -> float:
    return (analysis.period_end - analysis.period_start) / _DAY


def _nothing(database_ms: float) -> Needs:
    return Needs(
        memory_bytes=0.0,
        requests_a_day=0.0,
        executions_a_day=0.0,
        latency_saved_ms=0.0,
        latency_saved_low_ms=0.0,
        latency_saved_high_ms=0.0,
        database_saved_ms=0.0,
        database_saved_low_ms=0.0,
        database_saved_high_ms=0.0,
        database_ms=database_ms,
    )
