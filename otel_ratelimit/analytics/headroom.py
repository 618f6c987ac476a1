"""Headroom: how far real use stays below each limit. The public function calls it breathing room.

It is computed from the histograms of `rate_limit_usage`, which count every request and have a bin for each
percent. So a quantile is exact to one percent of the limit, rounded towards less headroom.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil

from otel_ratelimit.analytics.reader import LimitUse
from otel_ratelimit.analytics.records import REFUSED_PERCENT


@dataclass(frozen=True, slots=True)
class BreathingRoom:
    """The headroom of one limit of one endpoint.

    Shares are the part of the limit that is used after a request; a refused request counts as 1.0.
    """

    endpoint: str
    method: str
    tier: str
    limit_text: str
    limit_value: int
    limit_seconds: int
    requests: int
    """Requests that were measured against this limit."""
    refused: int
    """How many of these the limit refused."""
    p50: float
    p95: float
    p99: float
    highest: float
    room: float
    """1, less the share used at the given quantile."""
    units_left: int
    """The headroom in units of the limit: exact for limits of up to 100, a lower bound for higher limits."""


def headroom(uses: Iterable[LimitUse], quantile: float = 0.95) -> list[BreathingRoom]:
    """The headroom of each limit that was measured, the tightest first.

    Raises:
        ValueError: `quantile` is not above 0 and at most 1.
    """
    if not 0.0 < quantile <= 1.0:
        raise ValueError(f"quantile is {quantile}; give more than 0 and at most 1, for instance 0.95")
    found = [_headroom(use, quantile) for use in uses if use.requests]
    return sorted(found, key=lambda each: (each.room, -each.refused, each.endpoint, each.method))


def percent_at(counts: Mapping[int, int], quantile: float) -> int:
    """The lowest percent that at least this share of the requests does not exceed; refused counts as 100.

    This is the nearest-rank definition of a quantile q: the value at rank ceil(q * n) of n sorted values.
    """
    rank = max(1, ceil(quantile * sum(counts.values())))
    seen = 0
    for percent in sorted(counts):
        seen += counts[percent]
        if seen >= rank:
            return min(percent, 100)
    return 100


def _headroom(use: LimitUse, quantile: float) -> BreathingRoom:
    def share(of: float) -> float:
        return percent_at(use.requests, of) / 100

    percent = percent_at(use.requests, quantile)
    return BreathingRoom(
        endpoint=use.endpoint,
        method=use.method,
        tier=use.tier,
        limit_text=use.limit_text,
        limit_value=use.limit_value,
        limit_seconds=use.limit_seconds,
        requests=sum(use.requests.values()),
        refused=use.requests.get(REFUSED_PERCENT, 0),
        p50=share(0.5),
        p95=share(0.95),
        p99=share(0.99),
        highest=share(1.0),
        room=(100 - percent) / 100,
        units_left=use.limit_value - percent * use.limit_value // 100,
    )
