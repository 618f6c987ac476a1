"""From what a day's analysis advises to what the cache of it needs, and so costs."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from otel_ratelimit.analysis.cache.cost import Needs
from otel_ratelimit.analysis.cache.result import CacheAnalysis

_DAY: Final = timedelta(days=1)


def needs_of(analysis: CacheAnalysis, store_ms: float) -> Needs:
    """What the plan of `analysis` asks of a cache on such a day; nothing at all where there is no plan.

    Sums are brought to 24 hours, since a day may have 23 or 25, and what is analysed need not be a day;
    memory is what it was. The intervals of what is saved follow from that of the hit ratio: a hit more saves
    what a hit takes in the database on average, and the storing of what it did not find. Drops when a
    table is written are not counted as requests: as many as writes at most, which are few where caching pays.

    Args:
        analysis: of the day.
        store_ms: to put a result into the cache.
    """
    days = (analysis.period_end - analysis.period_start) / _DAY
    database_ms = analysis.database_ms / days
    if analysis.plan is None:
        return _nothing(database_ms)
    at = analysis.plan.at
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
