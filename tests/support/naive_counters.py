"""Counters so plain that they can be seen to be right: every hit ever, in a list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from math import ceil

from otel_ratelimit.core.route_plan import Strategy, Window

NO_ROUNDING = Fraction(1, 10**9)
"""The part of a unit by which a token bucket in floats may differ."""


class NaiveCounters:
    """As a `CounterStore`, without states."""

    def __init__(self) -> None:
        self.hits: dict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
        """By prefix and client: when, and how many units."""
        self.starts: dict[tuple[str, str], float] = {}
        """When the fixed window began."""

    def used(self, window: Window, client: str, now: float) -> int:
        """Units in use."""
        key = window.prefix, client
        hits = self.hits[key]
        if window.strategy == Strategy.FIXED_WINDOW:
            if self.starts.get(key, -1e9) + window.seconds <= now:
                return 0
            return sum(cost for moment, cost in hits if moment >= self.starts[key])
        if window.strategy == Strategy.MOVING_WINDOW:
            return sum(cost for moment, cost in hits if moment + window.seconds > now)
        if window.strategy == Strategy.TOKEN_BUCKET:
            unit, full = Fraction(window.seconds, window.amount), Fraction(0)
            for moment, cost in hits:
                full = max(full, Fraction(moment)) + cost * unit
            return max(0, ceil((full - Fraction(now)) / unit - NO_ROUNDING))
        index = now // window.seconds
        counts = {
            i: sum(cost for moment, cost in hits if moment // window.seconds == i) for i in (index - 1, index)
        }
        left = (index + 1) * window.seconds - now
        return int(counts[index - 1] * left / window.seconds + counts[index])

    def take(self, windows: Sequence[Window], client: str, cost: int, now: float) -> tuple[bool, list[bool]]:
        """Whether the request is allowed, and which windows have room."""
        room = [self.used(w, client, now) + cost <= w.capacity for w in windows]
        allowed = all(fits for w, fits in zip(windows, room, strict=True) if not w.shadow)
        shadows = all(fits for w, fits in zip(windows, room, strict=True) if w.shadow)
        for w in windows:
            if allowed and cost and (shadows or not w.shadow):
                key = w.prefix, client
                if self.starts.get(key, -1e9) + w.seconds <= now:
                    self.starts[key] = now
                self.hits[key].append((now, cost))
        return allowed, room

    def clear(self, windows: Sequence[Window], client: str) -> None:
        """Forget a client's hits."""
        for w in windows:
            self.hits.pop((w.prefix, client), None)
            self.starts.pop((w.prefix, client), None)
