"""Entries and bytes that the cache holds at each second of the day, by time to live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from otel_ratelimit.cache_advice.query_day import Floats, Ints


class LiveEntries:
    """Entries that have not expired, at each second of the day and for each TTL.

    Bytes are counted twice. The second time only half of the sampled keys count, each twice, so that one half
    can say when the peak is, and the other half how high it is then.

    Args:
        ttls: TTLs, seconds.
        seconds: length of the day.
        rate: share of the keys that are in the sample.
    """

    def __init__(self, ttls: Sequence[int], seconds: int, rate: float = 1.0) -> None:
        self.ttls = ttls
        """In seconds."""
        self.seconds = seconds
        """Length of the day."""
        self.rate = rate
        self._keys, self._bytes, self._half_bytes = (np.zeros((len(ttls), seconds + 1)) for _ in range(3))
        self._first_executed = np.zeros(seconds + 1)

    def first_executed(self, second: Ints, keys: Floats) -> None:
        """Count keys when they are executed for the first time, which does not depend on the TTL.

        Args:
            second: second of the day, for each.
            keys: number of keys that each stands for.
        """
        self._first_executed += np.bincount(second, keys, len(self._first_executed))

    def filled(self, ttl: int, second: Ints, keys: Floats, size: Floats, half: Floats | None = None) -> None:
        """Count entries that are filled.

        Args:
            ttl: place of the TTL.
            second: second of the day, for each.
            keys: number of keys that each stands for.
            size: bytes of one entry.
            half: how often each counts where only half of the keys count; once if not given.
        """
        if not len(second):
            return
        begin = int(second.min())
        length = int(second.max()) - begin + 1
        gone = begin + self.ttls[ttl]
        # Entries that would outlive the day are gone at its end.
        in_time = min(max(self.seconds - gone, 0), length)
        whole = keys * size
        for series, weight in (
            (self._keys[ttl], keys),
            (self._bytes[ttl], whole),
            (self._half_bytes[ttl], whole if half is None else whole * half),
        ):
            filled = np.bincount(second - begin, weight, length)
            series[begin : begin + length] += filled
            series[gone : gone + in_time] -= filled[:in_time]
            series[-1] -= filled[in_time:].sum()

    def add(self, other: LiveEntries, factor: float) -> None:
        """Add the entries of another one, times `factor`."""
        self._keys += factor * other._keys
        self._bytes += factor * other._bytes
        self._half_bytes += factor * other._half_bytes
        self._first_executed += factor * other._first_executed

    def different(self) -> Floats:
        """Different keys so far, at the end of each second; there are never more entries."""
        return np.cumsum(self._first_executed)[:-1]

    def series(self, ttl: int) -> Live:
        """The entries at the end of each second."""
        found = (self._keys, self._bytes, self._half_bytes)
        return Live(*(np.cumsum(each[ttl])[:-1] for each in found))


class Live(NamedTuple):
    """Entries of the cache, by second."""

    keys: Floats
    size: Floats
    """Bytes."""
    half_size: Floats
    """The bytes, measured with one half of the sampled keys."""
