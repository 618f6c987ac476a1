"""What the play-back counts, by template and time to live."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from otel_ratelimit.analysis.cache.columns import Floats, Ints


class Tally:
    """Sums over the rows of one way into the sample; weighted where rows stand for more than themselves.

    Arrays by template, those that depend on the time to live by template and TTL.

    Args:
        templates: how many.
        ttls: how many.
    """

    def __init__(self, templates: int, ttls: int) -> None:
        by_template, by_ttl = (templates,), (templates, ttls)
        self.executions: Floats = np.zeros(by_template)
        self.duration_us: Floats = np.zeros(by_template)
        """Of all executions together."""
        self.keys: Floats = np.zeros(by_template)
        self.sampled_keys: Floats = np.zeros(by_template)
        """Without weights; only those that may as well not have been kept."""
        self.misses: Floats = np.zeros(by_ttl)
        self.missed_us: Floats = np.zeros(by_ttl)
        """Duration of the misses."""
        self.dropped_misses: Floats = np.zeros(by_ttl)
        """Where a write to a table drops what was cached of it."""
        self.dropped_missed_us: Floats = np.zeros(by_ttl)
        self.stale: Floats = np.zeros(by_ttl)
        """Hits after a write to one of their tables, where writes drop nothing."""
        self.overtaken: Floats = np.zeros(by_ttl)
        """Writes between fill and hit, over all hits."""
        self.byte_seconds: Floats = np.zeros(by_ttl)
        """Size of the cached entries times how long they live within the day."""
        # By key, of misses m and executions n with the weight w and the probability r of being kept:
        self.nn: Floats = np.zeros(by_template)
        """Sum of (1 - r) (w n)^2."""
        self.mn: Floats = np.zeros(by_ttl)
        self.mm: Floats = np.zeros(by_ttl)

    def add_keys(self, template: Ints, weight: float) -> None:
        """Count keys, each of which stands for so many."""
        found = np.bincount(template, minlength=len(self.keys))
        self.keys += weight * found
        if weight > 1.0:
            self.sampled_keys += found


class LiveEntries:
    """What the cache holds at each second of the day, by time to live.

    Args:
        ttls: seconds each.
        seconds: of the day.
    """

    def __init__(self, ttls: Sequence[int], seconds: int) -> None:
        self._ttls = ttls
        self._seconds = seconds
        self._keys = np.zeros((len(ttls), seconds + 1))
        self._bytes = np.zeros((len(ttls), seconds + 1))

    def filled(self, ttl: int, second: Ints, keys: Floats, size: Floats) -> None:
        """Entries came into the cache.

        Args:
            ttl: place of the time to live.
            second: of the day, of each.
            keys: how many each stands for.
            size: of one of them, bytes.
        """
        if not len(second):
            return
        begin = int(second.min())
        length = int(second.max()) - begin + 1
        gone = begin + self._ttls[ttl]
        # Who would live beyond the day is gone at its end.
        in_time = min(max(self._seconds - gone, 0), length)
        for series, weight in ((self._keys[ttl], keys), (self._bytes[ttl], keys * size)):
            filled = np.bincount(second - begin, weight, length)
            series[begin : begin + length] += filled
            series[gone : gone + in_time] -= filled[:in_time]
            series[-1] -= filled[in_time:].sum()

    def add(self, other: LiveEntries, factor: float) -> None:
        """Add what another holds, times `factor`."""
        self._keys += factor * other._keys
        self._bytes += factor * other._bytes

    def series(self, ttl: int) -> tuple[Floats, Floats]:
        """Keys and bytes at the end of each second."""
        return np.cumsum(self._keys[ttl])[:-1], np.cumsum(self._bytes[ttl])[:-1]
