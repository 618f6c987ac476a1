"""The two caches of the hot replay: for hot executions, and for all executions of sampled keys.

`replay_hot.py` says why there are two. `replay_hot_entries.py` follows the entries of both from second to
second.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from otel_ratelimit.cache_advice.live_entries import LiveEntries
from otel_ratelimit.cache_advice.query_day import UNKNOWN, Bools, Floats, Ints, Keys, begins
from otel_ratelimit.cache_advice.replay_context import ReplayContext
from otel_ratelimit.cache_advice.replay_counts import ReplayCounts
from otel_ratelimit.cache_advice.replay_hot_entries import EntryTimeline, WritesToEntries
from otel_ratelimit.cache_advice.sampled_keys import in_half
from otel_ratelimit.cache_advice.table_writes import WrittenTables

_SECOND_BITS: Final = 17
"""Enough for the longest day."""
_OTHER_DRAW: Final = 1 << _SECOND_BITS
"""Added to the second, for a random number that is independent of when in the second the key came."""
_HALF: Final = 0.5
HOT_CACHE: Final = 0
"""The cache that sees the hot executions of all keys."""
FULL_CACHE: Final = 1
"""The cache that sees all executions of the sampled keys."""


class KeyFacts:
    """Facts about each key, the same for both caches; arrays by place of the key."""

    def __init__(self, capacity: int) -> None:
        self.key: Keys = np.zeros(capacity, dtype=np.uint64)
        self.template: Ints = np.zeros(capacity, dtype=np.int64)
        self.is_sampled: Bools = np.zeros(capacity, dtype=np.bool_)
        self.result_bytes: Floats = np.full(capacity, float(UNKNOWN))
        self.entry_bytes: Floats = np.zeros(capacity)
        self.took_us: Floats = np.zeros(capacity)
        self.executions: Floats = np.zeros(capacity)
        """All executions of its rows."""

    def grow_to(self, wanted: int) -> None:
        """Grow to at least that many keys."""
        if wanted > len(self.key):
            capacity = max(wanted, 2 * len(self.key))
            had = len(self.key)
            for name, array in vars(self).items():
                setattr(self, name, _grown(array, capacity))
            self.result_bytes[had:] = UNKNOWN

    @property
    def mean_us(self) -> Floats:
        """Mean duration of an execution."""
        return self.took_us / np.maximum(self.executions, 1.0)


class _EntryCounts:
    """Counts and entries of both caches: by entry, or by entry and TTL."""

    def __init__(self, capacity: int, ttls: int) -> None:
        self.executions: Floats = np.zeros(capacity)
        self.expires: Floats = np.zeros((capacity, ttls))
        """Second of the day at which the entry expires; 0 if there is no entry."""
        self.dropped_expires: Floats = np.zeros((capacity, ttls))
        """The same, where writes drop entries."""
        self.writes_at_fill: Ints = np.zeros((capacity, ttls), dtype=np.int64)
        self.writes_seen: Ints = np.zeros(capacity, dtype=np.int64)
        """Writes up to the end of the last second in which the key was executed."""
        self.lived: Floats = np.zeros((capacity, ttls))
        """Seconds that the entries live within the day."""
        self.misses: Floats = np.zeros((capacity, ttls))
        self.dropped_misses: Floats = np.zeros((capacity, ttls))
        self.stale: Floats = np.zeros((capacity, ttls))
        self.overtaken: Floats = np.zeros((capacity, ttls))

    def grow_to(self, capacity: int) -> None:
        """Grow to at least that many keys."""
        if capacity > len(self.executions):
            for name, array in vars(self).items():
                setattr(self, name, _grown(array, capacity))


class HotCaches:
    """Both caches: entries of the first at even places, those of the second at odd places."""

    def __init__(
        self, known: KeyFacts, context: ReplayContext, live: LiveEntries, cold_live: LiveEntries
    ) -> None:
        self._known = known
        self._ttls = context.ttls
        self._sampled = context.sampled
        self._written = context.written
        self._is_written = context.written.is_written
        self._seconds = context.seconds
        self._counted = _EntryCounts(2 * len(known.key), len(context.ttls))
        self._live, self._cold_live = live, cold_live

    def replay(self, cells: Cells) -> None:
        """Replay cells, sorted by entry and second, each pair once; later calls have later seconds."""
        self._counted.grow_to(2 * len(self._known.key))
        is_written = self._is_written[self._known.template[cells.key >> 1]]
        self._replay(cells.where(~is_written), None)
        self._replay(cells.where(is_written), self._written)

    def of(self, cache: int) -> dict[str, Floats]:
        """The counts of one cache, by key."""
        self._counted.grow_to(2 * len(self._known.key))
        return {name: array[cache::2] for name, array in vars(self._counted).items()}

    def cold_part(self) -> dict[str, Floats]:
        """The counts that are due to cold executions: those of the second cache, less those of the first."""
        hot = self.of(HOT_CACHE)
        return {name: array - hot[name] for name, array in self.of(FULL_CACHE).items()}

    def add_to(
        self, totals: ReplayCounts, counted: dict[str, Floats], weight: Floats, *, kept: float = 0.0
    ) -> None:
        """Add up by template.

        Args:
            totals: where to add up.
            counted: counts by key.
            weight: weight of each key.
            kept: 1, less the probability that a key is in the sample.
        """
        known = self._known

        def by_template(values: Floats) -> Floats:
            summed = np.zeros((len(totals.keys), *values.shape[1:]))
            np.add.at(summed, known.template, values)
            return summed

        by_ttl = weight[:, None]
        n = weight * counted["executions"]
        misses = by_ttl * counted["misses"]
        dropped = by_ttl * counted["dropped_misses"]
        mean_us = known.mean_us
        totals.executions += by_template(n)
        totals.duration_us += by_template(n * mean_us)
        totals.misses += by_template(misses)
        totals.missed_us += by_template(misses * mean_us[:, None])
        totals.dropped_misses += by_template(dropped)
        totals.dropped_missed_us += by_template(dropped * mean_us[:, None])
        totals.stale += by_template(by_ttl * counted["stale"])
        totals.overtaken += by_template(by_ttl * counted["overtaken"])
        totals.byte_seconds += by_template(by_ttl * counted["lived"] * known.entry_bytes[:, None])
        totals.nn += by_template(kept * n * n)
        totals.mn += by_template(kept * n[:, None] * misses)
        totals.mm += by_template(kept * misses * misses)

    def _replay(self, cells: Cells, written: WrittenTables | None) -> None:
        if not len(cells.second):
            return
        counted, known = self._counted, self._known
        draw = _uniform(known.key[cells.key >> 1], cells.second)
        timeline = EntryTimeline(cells.key, cells.second, cells.n, 1.0 - draw ** (1.0 / cells.n))
        entry = timeline.entry
        writes = None if written is None else self._writes_to(cells, timeline, written)
        certain, sampled = self._weights(entry)
        size, half = known.entry_bytes[entry >> 1], in_half(known.key[entry >> 1])
        self._count_new(timeline, certain, sampled, is_new=counted.executions[entry] <= 0.0)
        counted.executions[entry] += timeline.by_entry(timeline.n)
        for place, ttl in enumerate(self._ttls):
            begin = timeline.runs(ttl)
            left = np.zeros(len(begin))
            left[timeline.firsts(begin)] = counted.expires[entry, place]
            miss = timeline.misses(ttl, begin, left)
            counted.expires[entry, place] = left[timeline.lasts(begin)]
            second, of = timeline.second[miss], timeline.rank[miss]
            misses = np.bincount(of, minlength=len(entry))
            lives = np.minimum(ttl, self._seconds - second)
            counted.misses[entry, place] += misses
            counted.lived[entry, place] += np.bincount(of, lives, len(entry))
            self._live.filled(place, second, certain[of], size[of])
            if not self._sampled.is_everything:
                self._cold_live.filled(place, second, sampled[of], size[of], half[of])
            if writes is None:
                counted.dropped_misses[entry, place] += misses
            else:
                self._count_writes(place, ttl, entry, miss, writes)
        if writes is not None:
            counted.writes_seen[entry] = writes.seen

    def _count_new(self, timeline: EntryTimeline, certain: Floats, sampled: Floats, *, is_new: Bools) -> None:
        second = timeline.second[timeline.first][is_new]
        self._live.first_executed(second, certain[is_new])
        if not self._sampled.is_everything:
            self._cold_live.first_executed(second, sampled[is_new])

    def _writes_to(self, cells: Cells, timeline: EntryTimeline, written: WrittenTables) -> WritesToEntries:
        known = self._known
        key = cells.key >> 1
        template = known.template[key]
        before, within = written.in_second(template, cells.second)
        draw = _uniform(known.key[key], cells.second + _OTHER_DRAW)
        return WritesToEntries(timeline, before, within, self._counted.writes_seen[timeline.entry], draw)

    def _count_writes(self, place: int, ttl: int, entry: Ints, miss: Ints, writes: WritesToEntries) -> None:
        counted = self._counted
        at_fill, expires = counted.writes_at_fill[entry, place], counted.dropped_expires[entry, place]
        stale, overtaken = writes.overtaken(miss, at_fill)
        counted.stale[entry, place] += stale
        counted.overtaken[entry, place] += overtaken
        counted.dropped_misses[entry, place] += writes.dropped_misses(ttl, expires)
        counted.writes_at_fill[entry, place] = at_fill
        counted.dropped_expires[entry, place] = expires

    def _weights(self, entry: Ints) -> tuple[Floats, Floats]:
        """Number of live entries that each stands for: entries known for certain, and other entries."""
        is_all = (entry & 1).astype(np.float64)
        if self._sampled.is_everything:
            return is_all, np.zeros(len(entry))
        is_hot = 1.0 - is_all
        # The hot executions of a sampled key are known for certain.
        return is_hot, self._sampled.weight * (is_all - is_hot * self._known.is_sampled[entry >> 1])


class Cells(NamedTuple):
    """Executions of a key in one second of the day."""

    second: Ints
    key: Ints
    """Place of the key."""
    n: Ints
    is_hot: Bools

    @classmethod
    def none(cls) -> Cells:
        """No cells."""
        whole = np.zeros(0, dtype=np.int64)
        return cls(whole, whole, whole, np.zeros(0, dtype=np.bool_))

    def where(self, chosen: Bools) -> Cells:
        """The chosen cells."""
        return Cells(*(column[chosen] for column in self))  # type: ignore[arg-type]  # all are arrays

    def with_more(self, other: Cells) -> Cells:
        """The cells of both."""
        pairs = zip(self, other, strict=True)
        return Cells(*(np.concatenate(pair) for pair in pairs))

    def split(self, second: int) -> tuple[Cells, Cells]:
        """The cells before `second`, and the other cells."""
        before = self.second < second
        return self.where(before), self.where(~before)

    def of_cache(self, cache: int) -> Cells:
        """The cells with places of the cache's entries instead of places of keys."""
        return self._replace(key=2 * self.key + cache)

    def merged(self) -> Cells:
        """The cells sorted by key and second, each pair once; several processes can log the same pair."""
        if not len(self.second):
            return self
        order = np.argsort((self.key << _SECOND_BITS) + self.second)
        second, key = self.second[order], self.key[order]
        first = np.flatnonzero(begins(second, key))
        n = np.add.reduceat(self.n[order], first)
        return Cells(second[first], key[first], n, self.is_hot[order][first])


def _uniform(key: Keys, second: Ints) -> Floats:
    """In (0, 1), the same for the same key and second: SplitMix64 (Steele, Lea, Flood, OOPSLA '14)."""
    mixed = key + second.astype(np.uint64) * np.uint64(0x9E37_79B9_7F4A_7C15)
    for shift, factor in ((30, 0xBF58_476D_1CE4_E5B9), (27, 0x94D0_49BB_1331_11EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return ((mixed >> np.uint64(11)).astype(np.float64) + _HALF) / 2.0**53


def _grown(array: NDArray[Any], capacity: int) -> NDArray[Any]:
    larger = np.zeros((capacity, *array.shape[1:]), dtype=array.dtype)
    larger[: len(array)] = array
    return larger
