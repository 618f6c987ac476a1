"""From what a day's analysis advises to what the cache of it needs, and so costs."""

from __future__ import annotations

from otel_ratelimit.analysis.cache.cost import Needs
from otel_ratelimit.analysis.cache.result import AtTtl, CacheAnalysis


def needs_of(analysis: CacheAnalysis, store_ms: float) -> Needs:
    """What the plan of `analysis` asks of a cache on such a day; nothing at all where there is no plan.

    The interval of the latency saved follows from that of the hit ratio: a hit more saves what a hit takes in
    the database on average, and the storing of what it did not find. Drops on invalidation are not counted as
    requests; there are as many as writes at most, which are few where caching pays.

    Args:
        analysis: of the day.
        store_ms: to put a result into the cache.
    """
    plan = analysis.plan
    if plan is None:
        return Needs(
            memory_bytes=0.0,
            requests_a_day=0.0,
            executions_a_day=0.0,
            latency_saved_ms=0.0,
            latency_saved_low_ms=0.0,
            latency_saved_high_ms=0.0,
            database_saved_ms=0.0,
            database_ms=analysis.database_ms,
        )
    at = plan.at
    a_hit_ms = at.database_saved_ms / at.hits + store_ms if at.hits > 0.0 else 0.0
    return Needs(
        memory_bytes=at.peak_bytes,
        requests_a_day=at.asked + _misses(at),
        executions_a_day=at.asked,
        latency_saved_ms=at.latency_saved_ms,
        latency_saved_low_ms=at.latency_saved_ms
        - (at.hit_ratio - at.hit_ratio_low) * analysis.executions * a_hit_ms,
        latency_saved_high_ms=at.latency_saved_ms
        + (at.hit_ratio_high - at.hit_ratio) * analysis.executions * a_hit_ms,
        database_saved_ms=at.database_saved_ms,
        database_ms=analysis.database_ms,
    )


def _misses(at: AtTtl) -> float:
    return max(at.asked - at.hits, 0.0)
