"""A part of the day's executions by time, small enough to be replayed many times.

Two things keep it small, and neither changes how often a key repeats: fewer cold keys are kept, those with
the lowest hashes; and executions of hot keys are counted in wider bins of time. If that is not enough, fewer
hot keys are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from otel_ratelimit.cache_advice.query_day import (
    MICROSECONDS,
    UNKNOWN,
    Bools,
    Executions,
    Floats,
    HotExecutions,
    Ints,
    Keys,
    begins,
)

MAX_EVENTS: Final = 150_000
"""For hot keys, and again for cold keys."""
_COARSEST_SECONDS: Final = 64
_SPACE: Final = 2.0**64
_NO_TEMPLATES: Final = np.zeros(0, dtype=np.int64)


class Trace(NamedTuple):
    """Events by time; keys by place."""

    at: Floats
    """Seconds of the day."""
    key: Ints
    """Place of the key."""
    n: Ints
    """Executions at that time."""
    weight: Floats
    """By key: number of keys that it stands for; 1 for keys that were kept for certain."""
    size: Floats
    """By key: bytes of its entry, without its part of the hash tables."""
    template: Ints = _NO_TEMPLATES
    """By key: place of its template; empty if it is not needed."""


class TraceSample:
    """Gathers the events of a day.

    Args:
        start: Unix time at which it begins, seconds.
        entry_bytes: from the sizes of results to the sizes of entries.
        mean_bytes: mean size of results by template, for results that were not measured.
        max_events: for hot keys, and again for cold keys.
    """

    def __init__(
        self,
        start: int,
        entry_bytes: Callable[[Floats], Floats],
        mean_bytes: Floats,
        max_events: int = MAX_EVENTS,
    ) -> None:
        self._start = start
        self._entry_bytes = entry_bytes
        self._mean_bytes = mean_bytes
        self._max_events = max_events
        self._cold = _Events.none()
        self._cold_kept = 1.0
        self._hot = _Events.none()
        self._hot_kept = 1.0
        self._bin = 1

    def add_cold(self, rows: Executions) -> None:
        """Add rows of keys that were never hot."""
        if not len(rows):
            return
        at = rows.at / MICROSECONDS - self._start
        new = _Events(rows.key, at, rows.n, 1.0 / rows.rate, rows.template, rows.result_bytes)
        self._cold = self._cold.with_more(new.below(self._cold_kept))
        while len(self._cold.key) > self._max_events:
            self._cold_kept = min(self._cold_kept, float(self._cold.key.max()) / _SPACE) / 2.0
            self._cold = self._cold.below(self._cold_kept)

    def add_hot(self, piece: HotExecutions) -> None:
        """Add rows of keys that were hot at some time."""
        rows, (row, second, n) = piece
        if not len(row):
            return
        at = (second - self._start).astype(np.float64)
        chosen = _Events(rows.key[row], at, n, np.ones(len(row)), rows.template[row], rows.result_bytes[row])
        self._hot = self._hot.with_more(chosen.below(self._hot_kept).binned(self._bin))
        while len(self._hot.key) > 2 * self._max_events:
            if self._bin < _COARSEST_SECONDS:
                self._bin *= 2
                self._hot = self._hot.binned(self._bin)
            else:
                self._hot_kept /= 2.0
                self._hot = self._hot.below(self._hot_kept)

    def trace(self) -> Trace:
        """The trace of everything that was kept."""
        cold, hot = self._cold, self._hot.binned(self._bin)
        cold = cold._replace(weight=np.maximum(cold.weight, 1.0 / self._cold_kept))
        hot = hot._replace(weight=np.full(len(hot.key), 1.0 / self._hot_kept))
        # Among events at the same moment any order is as good as another.
        both = hot.with_more(cold)
        both = both.where(np.argsort(both.at, kind="stable"))
        _, first, key = np.unique(both.key, return_index=True, return_inverse=True)
        key = key.reshape(-1)
        size = np.full(len(first), float(UNKNOWN))
        measured = np.flatnonzero(both.result_bytes != UNKNOWN)
        size[key[measured]] = both.result_bytes[measured]
        size = np.where(size < 0, self._mean_bytes[both.template[first]], size)
        return Trace(both.at, key, both.n, both.weight[first], self._entry_bytes(size), both.template[first])


class _Events(NamedTuple):
    key: Keys
    at: Floats
    n: Ints
    weight: Floats
    template: Ints
    result_bytes: Ints

    @classmethod
    def none(cls) -> _Events:
        whole = np.zeros(0, dtype=np.int64)
        return cls(np.zeros(0, dtype=np.uint64), np.zeros(0), whole, np.zeros(0), whole, whole)

    def where(self, chosen: Ints | Bools) -> _Events:
        return _Events(*(column[chosen] for column in self))  # type: ignore[arg-type]  # all are arrays

    def with_more(self, other: _Events) -> _Events:
        pairs = zip(self, other, strict=True)
        return _Events(*(np.concatenate(pair) for pair in pairs))

    def below(self, share: float) -> _Events:
        """The events of that share of all keys."""
        return self if share >= 1.0 else self.where(self.key < np.uint64(share * _SPACE))

    def binned(self, seconds: int) -> _Events:
        """The executions of a key in the same bin of time become one event."""
        at = np.floor(self.at / seconds)
        order = np.lexsort((self.key, at))
        key, at = self.key[order], at[order]
        if not len(key):
            return self
        first = np.flatnonzero(begins(key, at))
        return _Events(
            key[first],
            at[first] * seconds,
            np.add.reduceat(self.n[order], first),
            self.weight[order][first],
            self.template[order][first],
            np.maximum.reduceat(self.result_bytes[order], first),
        )
