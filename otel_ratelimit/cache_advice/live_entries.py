"""Entries and bytes that the cache holds at each second of the day, by time to live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from otel_ratelimit.cache_advice.query_day import Floats, Ints


class LiveEntries:
    """What the cache holds at each second of the day, by time to live.

    Bytes are counted twice, the second time by one half of the sampled keys, each for two, so that one half
    can tell when they are the most, and the other how many they are then.

    Args:
        ttls: times to live.
        seconds: of the day.
        rate: share of the keys that are in the sample.
    """

    def __init__(self, ttls: Sequence[int], seconds: int, rate: float = 1.0) -> None:
        self.ttls = ttls
        """Seconds each."""
        self.seconds = seconds
        """Of the day."""
        self.rate = rate
        self._keys, self._bytes, self._half_bytes = (np.zeros((len(ttls), seconds + 1)) for _ in range(3))
        self._met = np.zeros(seconds + 1)

    def met(self, second: Ints, keys: Floats) -> None:
        """Keys came for the first time: which does not depend on the time to live.

        Args:
            second: of the day, of each.
            keys: how many each stands for.
        """
        self._met += np.bincount(second, keys, len(self._met))

    def filled(self, ttl: int, second: Ints, keys: Floats, size: Floats, half: Floats | None = None) -> None:
        """Entries came into the cache.

        Args:
            ttl: place of the time to live.
            second: of the day, of each.
            keys: how many each stands for.
            size: of one of them, bytes.
            half: how often each counts where only half of the keys do; once if not given.
        """
        if not len(second):
            return
        begin = int(second.min())
        length = int(second.max()) - begin + 1
        gone = begin + self.ttls[ttl]
        # Who would live beyond the day is gone at its end.
        in_time = min(max(self.seconds - gone, 0), length)
        whole = keys * size
        for series, weight in (
            *((self._keys[ttl], keys), (self._bytes[ttl], whole)),
            (self._half_bytes[ttl], whole if half is None else whole * half),
        ):
            filled = np.bincount(second - begin, weight, length)
            series[begin : begin + length] += filled
            series[gone : gone + in_time] -= filled[:in_time]
            series[-1] -= filled[in_time:].sum()

    def add(self, other: LiveEntries, factor: float) -> None:
        """Add what another holds, times `factor`."""
        self._keys += factor * other._keys
        self._bytes += factor * other._bytes
        self._half_bytes += factor * other._half_bytes
        self._met += factor * other._met

    def different(self) -> Floats:
        """Keys that have come, at the end of each second: there are never more entries than these."""
        return np.cumsum(self._met)[:-1]

    def series(self, ttl: int) -> Live:
        """At the end of each second."""
        found = (self._keys, self._bytes, self._half_bytes)
        return Live(*(np.cumsum(each[ttl])[:-1] for each in found))


class Live(NamedTuple):
    """What the cache holds, by second."""

    keys: Floats
    size: Floats
    """Bytes."""
    half_size: Floats
    """The same by one half of the sampled keys."""
