"""Replays the rows of keys that were hot at some time: counts of executions by second, in order of time.

A key is kept for certain only while it is hot. Its hot executions are known for every such key; all its
executions of the day are known only if it is also in the sample. So two caches are replayed. One sees the hot
executions of all keys, the other all executions of the sampled keys. The difference between the two, for the
same keys, is due to their cold executions, and it stands for the cold executions of the other keys (a
difference estimator: Särndal, Swensson, Wretman, Model Assisted Survey Sampling, 6.3). If every key is in the
sample, the second cache alone is enough.

The log does not tell when within its second an execution was. If n executions are spread over the second
independently, the first one after a given moment e is at e + 1 - u^(1/n) with u uniform in (0, 1), provided
that this is still in the second. So misses are at the right time on average, and a sequence of TTLs does not
drift. A key has the same u in both caches. `replay_hot_entries.py` follows the entries from second to second.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from otel_ratelimit.cache_advice.live_entries import LiveEntries
from otel_ratelimit.cache_advice.query_day import (
    HOT,
    MICROSECONDS,
    UNKNOWN,
    Executions,
    HotExecutions,
    Ints,
)
from otel_ratelimit.cache_advice.replay_context import ReplayContext
from otel_ratelimit.cache_advice.replay_counts import ReplayCounts
from otel_ratelimit.cache_advice.replay_hot_caches import FULL_CACHE, HOT_CACHE, Cells, HotCaches, KeyFacts

_INITIAL_CAPACITY: Final = 1_024


class HotReplay:
    """Takes pieces of rows in order of time, and counts; `finish` ends the day.

    Args:
        hot: where to add up what is known for certain.
        cold: where to add up what the sampled keys stand for.
        live: where to add the entries of the former.
        cold_live: where to add the entries of the latter.
        context: the day, and the cache that is replayed on it.
    """

    def __init__(
        self,
        hot: ReplayCounts,
        cold: ReplayCounts,
        live: LiveEntries,
        cold_live: LiveEntries,
        context: ReplayContext,
    ) -> None:
        self._counts = hot, cold
        self._sampled = context.sampled
        self._start = context.start
        self._seconds = context.seconds
        self._entry_bytes = context.entry_bytes
        self._mean_bytes = context.mean_bytes
        self._places: dict[int, int] = {}
        self._known = KeyFacts(_INITIAL_CAPACITY)
        self._caches = HotCaches(self._known, context, live, cold_live)
        self._waiting = Cells.none()

    @property
    def keys(self) -> int:
        """Number of different keys so far."""
        return len(self._places)

    def add(self, piece: HotExecutions) -> None:
        """Replay all seconds that later pieces cannot add to."""
        rows, (row, second, n) = piece
        if not len(rows):
            return
        place = self._places_of(rows)
        within = np.clip(second - self._start, 0, self._seconds - 1)
        is_hot = (rows.flags[row] & HOT) != 0
        self._waiting = self._waiting.with_more(Cells(within, place[row], n, is_hot))
        # Rows are sorted by time, so no later row has executions from before the start of the last one.
        self._replay_until(int(np.clip(rows.at[-1] // MICROSECONDS - self._start, 0, self._seconds)))

    def finish(self) -> None:
        """Replay the rest, and add up the counts by template."""
        if not self.keys:
            return
        self._replay_until(self._seconds)
        hot, cold = self._counts
        known = self._known
        is_sampled = known.is_sampled
        hot.keys += np.bincount(known.template[: self.keys], minlength=len(hot.keys))
        caches = self._caches
        if self._sampled.is_everything:
            caches.add_to(hot, caches.of(FULL_CACHE), np.ones(len(is_sampled)))
            return
        caches.add_to(hot, caches.of(HOT_CACHE), np.ones(len(is_sampled)))
        weight = self._sampled.weight
        caches.add_to(cold, caches.cold_part(), np.where(is_sampled, weight, 0.0), kept=1.0 - 1.0 / weight)

    def _places_of(self, rows: Executions) -> Ints:
        """The place of each row's key; a new key gets the next place."""
        distinct, first, inverse = np.unique(rows.key, return_index=True, return_inverse=True)
        places, known = self._places, self._known
        at = np.array([places.setdefault(key, len(places)) for key in distinct.tolist()], dtype=np.int64)
        known.grow_to(len(places))
        known.key[at] = distinct
        known.template[at] = rows.template[first]
        known.is_sampled[at] = self._sampled.has(distinct)
        place = at[inverse.reshape(-1)]
        measured = np.flatnonzero(rows.result_bytes != UNKNOWN)
        known.result_bytes[place[measured]] = rows.result_bytes[measured]
        size = known.result_bytes[at]
        known.entry_bytes[at] = self._entry_bytes(
            np.where(size < 0, self._mean_bytes[known.template[at]], size)
        )
        capacity = len(known.key)
        known.took_us += np.bincount(place, rows.n * rows.duration_us, capacity)
        known.executions += np.bincount(place, rows.n, capacity)
        return place

    def _replay_until(self, until: int) -> None:
        """Replay all seconds before `until`."""
        ready, self._waiting = self._waiting.split(until)
        cells = ready.where(self._known.is_sampled[ready.key]).of_cache(FULL_CACHE)
        if not self._sampled.is_everything:
            cells = cells.with_more(ready.where(ready.is_hot).of_cache(HOT_CACHE))
        self._caches.replay(cells.merged())
