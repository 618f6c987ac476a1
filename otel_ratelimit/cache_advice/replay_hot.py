"""Plays back the rows of keys that were hot at some time: how many executions in which second, by time.

A key is kept for certain only while it is hot. What it did meanwhile is known of every such key; all that it
did on the day, only of those that are in the sample as well. So two caches are played. One sees the hot
executions of all keys, the other everything of the sampled keys; what the second has more than the first of
the same keys is what they did while they were cold, and stands for that of all the others (a difference
estimator: Särndal, Swensson, Wretman, Model Assisted Survey Sampling, 6.3). Where every key is in the sample,
the second alone says it all.

Where in its second an execution was is not known. If n were anywhere in it, independently, the first one
after a given moment e is at e + 1 - u^(1/n) with u uniform in (0, 1), provided that this is still in the
second: so a miss falls where it would have, on average, and one TTL after the other does not drift. A key has
the same u in both caches. How the entries fare from second to second is followed in `hot_course`.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from otel_ratelimit.cache_advice.live_entries import LiveEntries
from otel_ratelimit.cache_advice.query_day import (
    HOT,
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
from otel_ratelimit.cache_advice.replay_context import ReplayContext
from otel_ratelimit.cache_advice.replay_counts import ReplayCounts
from otel_ratelimit.cache_advice.replay_hot_entries import EntryTimeline, WritesToEntries
from otel_ratelimit.cache_advice.sampled_keys import in_half
from otel_ratelimit.cache_advice.table_writes import WrittenTables

_FIRST_ROOM: Final = 1_024
_SECOND_BITS: Final = 17
"""Enough for the longest day."""
_OTHER_LUCK: Final = 1 << _SECOND_BITS
"""Added to a second, for what has nothing to do with when in it the key came."""
_HALF: Final = 0.5
_HOT: Final = 0
"""The cache that sees hot executions."""
_ALL: Final = 1
"""The one that sees everything of sampled keys."""


class HotReplay:
    """Takes pieces, the earlier first, and counts; `finish` when there are no more.

    Args:
        hot: for what is known for certain.
        cold: for what sampled keys stand for.
        live: what the cache holds of the former.
        cold_live: of the latter.
        playing: the day, and what all play-backs share.
    """

    def __init__(
        self,
        hot: ReplayCounts,
        cold: ReplayCounts,
        live: LiveEntries,
        cold_live: LiveEntries,
        playing: ReplayContext,
    ) -> None:
        self._tallies = hot, cold
        self._sampled = playing.sampled
        self._start = playing.start
        self._seconds = playing.seconds
        self._entry_bytes = playing.entry_bytes
        self._mean_bytes = playing.mean_bytes
        self._places: dict[int, int] = {}
        self._known = _Known(_FIRST_ROOM)
        self._caches = _Caches(self._known, playing, live, cold_live)
        self._waiting = _Cells.none()

    @property
    def keys(self) -> int:
        """Different ones so far."""
        return len(self._places)

    def add(self, piece: HotExecutions) -> None:
        """Play back all seconds that no later piece can tell of."""
        rows, (row, second, n) = piece
        if not len(rows):
            return
        place = self._placed(rows)
        within = np.clip(second - self._start, 0, self._seconds - 1)
        is_hot = (rows.flags[row] & HOT) != 0
        self._waiting = self._waiting.with_more(_Cells(within, place[row], n, is_hot))
        # Rows come by time: none that follows tells of what was before the last one began.
        self._play(int(np.clip(rows.at[-1] // MICROSECONDS - self._start, 0, self._seconds)))

    def finish(self) -> None:
        """Play back the rest, and hand over what was counted."""
        if not self.keys:
            return
        self._play(self._seconds)
        hot, cold = self._tallies
        known = self._known
        is_sampled = known.is_sampled
        hot.keys += np.bincount(known.template[: self.keys], minlength=len(hot.keys))
        caches = self._caches
        if self._sampled.is_everything:
            caches.tell(hot, caches.of(_ALL), np.ones(len(is_sampled)))
            return
        caches.tell(hot, caches.of(_HOT), np.ones(len(is_sampled)))
        weight = self._sampled.weight
        caches.tell(cold, caches.more(), np.where(is_sampled, weight, 0.0), kept=1.0 - 1.0 / weight)

    def _placed(self, rows: Executions) -> Ints:
        """Each row's key by its place; those not seen before get one."""
        distinct, first, inverse = np.unique(rows.key, return_index=True, return_inverse=True)
        places, known = self._places, self._known
        at = np.array([places.setdefault(key, len(places)) for key in distinct.tolist()], dtype=np.int64)
        known.make_room(len(places))
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
        room = len(known.key)
        known.took_us += np.bincount(place, rows.n * rows.duration_us, room)
        known.executions += np.bincount(place, rows.n, room)
        return place

    def _play(self, until: int) -> None:
        """All seconds before `until`."""
        ready, self._waiting = self._waiting.split(until)
        cells = ready.where(self._known.is_sampled[ready.key]).of_cache(_ALL)
        if not self._sampled.is_everything:
            cells = cells.with_more(ready.where(ready.is_hot).of_cache(_HOT))
        self._caches.play(cells.merged())


class _Known:
    """What is known of each key, whatever the cache; arrays by place."""

    def __init__(self, room: int) -> None:
        self.key: Keys = np.zeros(room, dtype=np.uint64)
        self.template: Ints = np.zeros(room, dtype=np.int64)
        self.is_sampled: Bools = np.zeros(room, dtype=np.bool_)
        self.result_bytes: Floats = np.full(room, float(UNKNOWN))
        self.entry_bytes: Floats = np.zeros(room)
        self.took_us: Floats = np.zeros(room)
        self.executions: Floats = np.zeros(room)
        """In rows."""

    def make_room(self, wanted: int) -> None:
        """For that many keys."""
        if wanted > len(self.key):
            room = max(wanted, 2 * len(self.key))
            had = len(self.key)
            for name, array in vars(self).items():
                setattr(self, name, _grown(array, room))
            self.result_bytes[had:] = UNKNOWN

    @property
    def mean_us(self) -> Floats:
        """Duration of an execution."""
        return self.took_us / np.maximum(self.executions, 1.0)


class _Counted:
    """What one cache did with each key: by key, or by key and TTL."""

    def __init__(self, room: int, ttls: int) -> None:
        self.executions: Floats = np.zeros(room)
        self.expires: Floats = np.zeros((room, ttls))
        """Second of the day; 0 for what is not there."""
        self.dropped_expires: Floats = np.zeros((room, ttls))
        """The same where writes drop entries."""
        self.writes_at_fill: Ints = np.zeros((room, ttls), dtype=np.int64)
        self.writes_seen: Ints = np.zeros(room, dtype=np.int64)
        """Until the last second in which it was executed; writes then included."""
        self.lived: Floats = np.zeros((room, ttls))
        """Seconds that its entries live within the day."""
        self.misses: Floats = np.zeros((room, ttls))
        self.dropped_misses: Floats = np.zeros((room, ttls))
        self.stale: Floats = np.zeros((room, ttls))
        self.overtaken: Floats = np.zeros((room, ttls))

    def make_room(self, room: int) -> None:
        """For that many keys."""
        if room > len(self.executions):
            for name, array in vars(self).items():
                setattr(self, name, _grown(array, room))


class _Caches:
    """Both caches; the one's entries at even places, the other's at odd ones."""

    def __init__(
        self, known: _Known, playing: ReplayContext, live: LiveEntries, cold_live: LiveEntries
    ) -> None:
        self._known = known
        self._ttls = playing.ttls
        self._sampled = playing.sampled
        self._written = playing.written
        self._is_written = playing.written.is_written
        self._seconds = playing.seconds
        self._counted = _Counted(2 * len(known.key), len(playing.ttls))
        self._live, self._cold_live = live, cold_live

    def play(self, cells: _Cells) -> None:
        """By entry and second, each pair once; none before those that were played already."""
        self._counted.make_room(2 * len(self._known.key))
        is_written = self._is_written[self._known.template[cells.key >> 1]]
        self._play(cells.where(~is_written), None)
        self._play(cells.where(is_written), self._written)

    def of(self, cache: int) -> dict[str, Floats]:
        """What that one counted, by key."""
        self._counted.make_room(2 * len(self._known.key))
        return {name: array[cache::2] for name, array in vars(self._counted).items()}

    def more(self) -> dict[str, Floats]:
        """What the one that sees everything counted more than the other."""
        hot = self.of(_HOT)
        return {name: array - hot[name] for name, array in self.of(_ALL).items()}

    def tell(
        self, tally: ReplayCounts, counted: dict[str, Floats], weight: Floats, *, kept: float = 0.0
    ) -> None:
        """Add up by template.

        Args:
            tally: where to.
            counted: by key.
            weight: of each key.
            kept: one less the probability with which a key is in the sample.
        """
        known = self._known

        def by_template(values: Floats) -> Floats:
            summed = np.zeros((len(tally.keys), *values.shape[1:]))
            np.add.at(summed, known.template, values)
            return summed

        by_ttl = weight[:, None]
        n = weight * counted["executions"]
        misses = by_ttl * counted["misses"]
        dropped = by_ttl * counted["dropped_misses"]
        mean_us = known.mean_us
        tally.executions += by_template(n)
        tally.duration_us += by_template(n * mean_us)
        tally.misses += by_template(misses)
        tally.missed_us += by_template(misses * mean_us[:, None])
        tally.dropped_misses += by_template(dropped)
        tally.dropped_missed_us += by_template(dropped * mean_us[:, None])
        tally.stale += by_template(by_ttl * counted["stale"])
        tally.overtaken += by_template(by_ttl * counted["overtaken"])
        tally.byte_seconds += by_template(by_ttl * counted["lived"] * known.entry_bytes[:, None])
        tally.nn += by_template(kept * n * n)
        tally.mn += by_template(kept * n[:, None] * misses)
        tally.mm += by_template(kept * misses * misses)

    def _play(self, cells: _Cells, written: WrittenTables | None) -> None:
        if not len(cells.second):
            return
        counted, known = self._counted, self._known
        luck = _uniform(known.key[cells.key >> 1], cells.second)
        course = EntryTimeline(cells.key, cells.second, cells.n, 1.0 - luck ** (1.0 / cells.n))
        entry = course.entry
        writes = None if written is None else self._writes_met(cells, course, written)
        certain, sampled = self._weights(entry)
        size, half = known.entry_bytes[entry >> 1], in_half(known.key[entry >> 1])
        self._meet(course, certain, sampled, is_new=counted.executions[entry] <= 0.0)
        counted.executions[entry] += course.by_entry(course.n)
        for place, ttl in enumerate(self._ttls):
            begin = course.runs(ttl)
            left = np.zeros(len(begin))
            left[course.firsts(begin)] = counted.expires[entry, place]
            miss = course.misses(ttl, begin, left)
            counted.expires[entry, place] = left[course.lasts(begin)]
            second, of = course.second[miss], course.rank[miss]
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
                self._meet_writes(place, ttl, entry, miss, writes)
        if writes is not None:
            counted.writes_seen[entry] = writes.seen

    def _meet(self, course: EntryTimeline, certain: Floats, sampled: Floats, *, is_new: Bools) -> None:
        second = course.second[course.first][is_new]
        self._live.met(second, certain[is_new])
        if not self._sampled.is_everything:
            self._cold_live.met(second, sampled[is_new])

    def _writes_met(self, cells: _Cells, course: EntryTimeline, written: WrittenTables) -> WritesToEntries:
        known = self._known
        key = cells.key >> 1
        template = known.template[key]
        before, within = written.in_second(template, cells.second)
        luck = _uniform(known.key[key], cells.second + _OTHER_LUCK)
        return WritesToEntries(course, before, within, self._counted.writes_seen[course.entry], luck)

    def _meet_writes(self, place: int, ttl: int, entry: Ints, miss: Ints, writes: WritesToEntries) -> None:
        counted = self._counted
        at_fill, expires = counted.writes_at_fill[entry, place], counted.dropped_expires[entry, place]
        stale, overtaken = writes.overtaken(miss, at_fill)
        counted.stale[entry, place] += stale
        counted.overtaken[entry, place] += overtaken
        counted.dropped_misses[entry, place] += writes.dropped_misses(ttl, expires)
        counted.writes_at_fill[entry, place] = at_fill
        counted.dropped_expires[entry, place] = expires

    def _weights(self, entry: Ints) -> tuple[Floats, Floats]:
        """How many live entries each stands for: of those known for certain, and of the others."""
        is_all = (entry & 1).astype(np.float64)
        if self._sampled.is_everything:
            return is_all, np.zeros(len(entry))
        is_hot = 1.0 - is_all
        # What a sampled key did while it was hot is known for certain.
        return is_hot, self._sampled.weight * (is_all - is_hot * self._known.is_sampled[entry >> 1])


class _Cells(NamedTuple):
    """Executions of a key in a second of the day."""

    second: Ints
    key: Ints
    """Its place."""
    n: Ints
    is_hot: Bools

    @classmethod
    def none(cls) -> _Cells:
        whole = np.zeros(0, dtype=np.int64)
        return cls(whole, whole, whole, np.zeros(0, dtype=np.bool_))

    def where(self, chosen: Bools) -> _Cells:
        """Those cells."""
        return _Cells(*(column[chosen] for column in self))  # type: ignore[arg-type]  # all are arrays

    def with_more(self, other: _Cells) -> _Cells:
        """Both."""
        pairs = zip(self, other, strict=True)
        return _Cells(*(np.concatenate(pair) for pair in pairs))

    def split(self, second: int) -> tuple[_Cells, _Cells]:
        """Those before `second`, and the others."""
        before = self.second < second
        return self.where(before), self.where(~before)

    def of_cache(self, cache: int) -> _Cells:
        """With the places of the cache's entries in place of those of keys."""
        return self._replace(key=2 * self.key + cache)

    def merged(self) -> _Cells:
        """By key and second, each pair once: several processes tell of the same key."""
        if not len(self.second):
            return self
        order = np.argsort((self.key << _SECOND_BITS) + self.second)
        second, key = self.second[order], self.key[order]
        first = np.flatnonzero(begins(second, key))
        n = np.add.reduceat(self.n[order], first)
        return _Cells(second[first], key[first], n, self.is_hot[order][first])


def _uniform(key: Keys, second: Ints) -> Floats:
    """In (0, 1), the same each time: SplitMix64 (Steele, Lea, Flood, OOPSLA '14) of key and second."""
    mixed = key + second.astype(np.uint64) * np.uint64(0x9E37_79B9_7F4A_7C15)
    for shift, factor in ((30, 0xBF58_476D_1CE4_E5B9), (27, 0x94D0_49BB_1331_11EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return ((mixed >> np.uint64(11)).astype(np.float64) + _HALF) / 2.0**53


def _grown(array: NDArray[Any], room: int) -> NDArray[Any]:
    larger = np.zeros((room, *array.shape[1:]), dtype=array.dtype)
    larger[: len(array)] = array
    return larger
