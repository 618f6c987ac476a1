"""How far real use stays from each limit: its breathing room.

Computed from the roll-up's histograms, which count every request and have a bin for each percent; so a
quantile is true to one percent of the limit, rounded towards less room.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil

from otel_ratelimit.analytics.reader import LimitUse
from otel_ratelimit.analytics.records import REFUSED_PERCENT


@dataclass(frozen=True, slots=True)
class BreathingRoom:
    """One limit of one endpoint. Shares are of the limit used after a request; refused counts as 1.0."""

    endpoint: str
    method: str
    tier: str
    limit_text: str
    limit_value: int
    limit_seconds: int
    requests: int
    """Measured against this limit."""
    refused: int
    """Of those, refused by it."""
    p50: float
    p95: float
    p99: float
    highest: float
    room: float
    """1 less the share used at the quantile that was asked for."""
    units_left: int
    """The room in units of the limit: exact for limits of up to 100, else at least so many."""


def breathing_room(uses: Iterable[LimitUse], quantile: float = 0.95) -> list[BreathingRoom]:
    """Of each limit that was measured, the tightest first.

    Raises:
        ValueError: `quantile` is not between 0 and 1.
    """
    if not 0.0 < quantile <= 1.0:
        raise ValueError(f"a quantile of {quantile}; it lies above 0 and is at most 1, for instance 0.95")
    rooms = [_room(use, quantile) for use in uses if use.requests]
    return sorted(rooms, key=lambda room: (room.room, -room.refused, room.endpoint, room.method))


def percent_at(counts: Mapping[int, int], quantile: float) -> int:
    """The lowest percent that at least this share of the requests does not exceed; refused counts as 100.

    The nearest-rank definition: the value at rank ceil(q * n) of n in order.
    """
    rank = max(1, ceil(quantile * sum(counts.values())))
    seen = 0
    for percent in sorted(counts):
        seen += counts[percent]
        if seen >= rank:
            return min(percent, 100)
    return 100


def _room(use: LimitUse, quantile: float) -> BreathingRoom:
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
