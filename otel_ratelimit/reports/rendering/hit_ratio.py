"""The hit ratio of the planned cache as the cache itself will count it: hits by requests.

The plan's own ratio is a share of all that a cache could answer, most of which may never ask it.
"""

from __future__ import annotations

from dataclasses import dataclass

from otel_ratelimit.cache_advice.result import AtTtl, CacheAnalysis


@dataclass(frozen=True, slots=True)
class HitRatio:
    """A ratio with the ends of its interval, each 0 to 1."""

    value: float
    low: float
    high: float


def expected_hit_ratio(analysis: CacheAnalysis, at: AtTtl) -> HitRatio:
    """The expected value of `keyspace_hits / (keyspace_hits + keyspace_misses)`.

    Args:
        analysis: of the day.
        at: its plan.
    """
    if at.asked <= 0.0:
        return HitRatio(0.0, 0.0, 0.0)
    scale = analysis.executions / at.asked
    return HitRatio(
        _share(at.hits / at.asked), _share(at.hit_ratio_low * scale), _share(at.hit_ratio_high * scale)
    )


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)
