"""Follows the entries of hot keys through seconds in which they are executed several times.

Only the misses of an entry have to be looked at: a miss says until when the entry answers, and so when the
next miss can be. A run of seconds begins where the state of the entry is certain, whatever happened before.
Runs are followed independently, all of them at once, one miss at a time; what happens between two misses
follows from running sums.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from otel_ratelimit.cache_advice.query_day import Bools, Floats, Ints, begins

_ENTRY_SHIFT: Final = 32
"""Seconds of different entries are further apart than any TTL."""
_HALF: Final = 0.5
_LONG_AGO: Final = -1e12
"""Time of the fill of an entry that is not there, for any TTL."""


class EntryTimeline:
    """The seconds in which each entry is executed ("cells"), sorted by entry and time, each pair once.

    Args:
        entry: place of the entry.
        second: second of the day.
        n: executions in that second.
        after: seconds from any moment to the first execution after it, if that is still in the same second.
    """

    def __init__(self, entry: Ints, second: Ints, n: Ints, after: Floats) -> None:
        new = begins(entry)
        self.first: Ints = np.flatnonzero(new)
        """First cell of each entry."""
        self.last: Ints = np.append(self.first[1:], len(new)) - 1
        self.entry: Ints = entry[self.first]
        self.rank: Ints = np.cumsum(new) - 1
        """Number of the cell's entry within this timeline."""
        self.second = second
        self.n = n
        self._after = after
        self._when: Ints = (self.rank << _ENTRY_SHIFT) + second
        """Rising over all cells."""
        self._pause: Ints = np.diff(self._when, prepend=np.int64(-1 << _ENTRY_SHIFT))

    def by_entry(self, values: NDArray[Any]) -> Floats:
        """Sums of the cells' values, by entry."""
        return _sums(self.rank, values, len(self.entry))

    def runs(self, ttl: int, *, also: Bools | None = None) -> Ints:
        """First cells of the runs: after a pause of more than a TTL an entry has certainly expired.

        Args:
            ttl: seconds.
            also: other cells before which the state of the entry is known.
        """
        after_pause = self._pause > ttl
        return np.flatnonzero(after_pause if also is None else after_pause | also)

    def firsts(self, begin: Ints) -> Ints:
        """Number of the first run of each entry."""
        return np.searchsorted(begin, self.first)

    def lasts(self, begin: Ints) -> Ints:
        """Number of the last run of each entry."""
        return np.append(self.firsts(begin)[1:], len(begin)) - 1

    def misses(self, ttl: int, begin: Ints, expires: Floats) -> Ints:
        """Cells that miss.

        Args:
            ttl: seconds.
            begin: first cells of the runs.
            expires: second of the day until which the entry before each run answers; is updated to the entry
                after the run.
        """
        second, after = self.second, self._after
        miss = np.zeros(len(second), dtype=np.bool_)
        end = np.append(begin[1:], len(second))
        fills = np.flatnonzero(expires + after[begin] < second[begin] + 1.0)
        at = begin[fills]
        miss[at] = True
        expires[fills] = np.maximum(expires[fills], second[at]) + after[at] + ttl
        running = np.flatnonzero(second[end - 1] + 1.0 > expires)
        while running.size:
            until = expires[running]
            at = np.searchsorted(
                self._when, (self.rank[begin[running]] << _ENTRY_SHIFT) + until.astype(np.int64)
            )
            # In the second in which it expires the entry can answer all executions; in a later one it cannot.
            at += until + after.take(at, mode="clip") >= second.take(at, mode="clip") + 1.0
            within = np.flatnonzero(at < end[running])
            at, running = at[within], running[within]
            miss[at] = True
            expires[running] = np.maximum(until[within], second[at]) + after[at] + ttl
        return np.flatnonzero(miss)


class WritesToEntries:
    """The same entries, with the writes to their tables.

    Args:
        timeline: entries that read written tables.
        before: writes to those tables before the second of each cell.
        within: writes in that second.
        seen: by entry, writes up to the end of its last cell before this timeline.
        draw: a random number in (0, 1) for each cell.
    """

    def __init__(self, timeline: EntryTimeline, before: Ints, within: Ints, seen: Ints, draw: Floats) -> None:
        self._timeline = timeline
        self._before = before
        self.seen: Ints = (before + within)[timeline.last]
        """`seen`, after this timeline."""
        n = timeline.n
        self._twice_writes: Ints = 2 * before + within
        """Doubled, because on average half of the writes in the same second come before a hit."""
        self._part_stale: Floats = within / (within + 1.0)
        """Share of a cell's hits that come after a write in the same second."""
        self._executions = _running(n)
        self._hits_writes = _running(n * self._twice_writes)
        self._partly_stale = _running(n * self._part_stale)
        self._change = _next(begins(timeline.rank, before))
        # With n reads and w writes in any order, n w / (n + w) reads come right after a write.
        self._share: Floats = within / (n + within)
        self._always_missed = timeline.by_entry(n * self._share)
        # If the last event of the second is a write, the next cell finds no entry.
        self._leaves = np.where(within > 0, timeline.second + _HALF, np.nan)
        self._leaves[draw < self._share] = _LONG_AGO
        self._finds = np.roll(self._leaves, 1)
        self._finds[timeline.first] = np.nan
        known = np.roll(before + within, 1)
        known[timeline.first] = seen
        self._finds[before > known] = _LONG_AGO

    def overtaken(self, miss: Ints, writes_at_fill: Ints) -> tuple[Floats, Floats]:
        """Where writes drop nothing, by entry: stale hits; writes between fill and hit, summed over all hits.

        Args:
            miss: cells that miss.
            writes_at_fill: writes before the fill of the entry that is there at its first cell; is updated to
                the entry that is there after its last cell.
        """
        timeline = self._timeline
        is_fill = np.zeros(len(timeline.second), dtype=np.bool_)
        is_fill[miss] = True
        is_begin = is_fill.copy()
        is_begin[timeline.first] = True
        begin = np.flatnonzero(is_begin)
        end = np.append(begin[1:], len(is_begin))
        rank, fills, before = timeline.rank[begin], is_fill[begin], self._before[begin]
        filled = np.where(fills, before, writes_at_fill[rank])
        # One execution of the cell that fills is not a hit.
        hits = self._executions[end] - self._executions[begin] - fills
        writes = self._hits_writes[end] - self._hits_writes[begin] - fills * self._twice_writes[begin]
        change = np.where(before > filled, begin, np.minimum(self._change[begin], end))
        partly = self._partly_stale[change] - self._partly_stale[begin] - fills * self._part_stale[begin]
        stale = self._executions[end] - self._executions[change] + partly
        writes_at_fill[:] = filled[timeline.lasts(begin)]
        entries = len(timeline.entry)
        between = _HALF * writes - filled * hits
        return _sums(rank, stale, entries), _sums(rank, between, entries)

    def dropped_misses(self, ttl: int, expires: Floats) -> Floats:
        """Misses by entry, where every write drops the entry.

        Args:
            ttl: seconds.
            expires: expiry of the entry that is there at its first cell; is updated to the entry that is
                there after its last cell.
        """
        timeline = self._timeline
        begin = timeline.runs(ttl, also=~np.isnan(self._finds))
        at_begin = _expiry(self._finds[begin], ttl, np.zeros(len(begin)))
        first = timeline.firsts(begin)
        at_begin[first] = _expiry(self._finds[timeline.first], ttl, expires)
        miss = timeline.misses(ttl, begin, at_begin)
        expires[:] = _expiry(self._leaves[timeline.last], ttl, at_begin[timeline.lasts(begin)])
        # The first execution misses, and so do those of the others that come right after a write.
        rank, entries = timeline.rank[miss], len(timeline.entry)
        return self._always_missed + np.bincount(rank, 1.0 - self._share[miss], entries)


def _expiry(filled: Floats, ttl: int, unknown: Floats) -> Floats:
    """Expiry of an entry that was filled at that time; `unknown` where that time is not known here."""
    return np.where(np.isnan(filled), unknown, filled + ttl)


def _sums(rank: Ints, values: NDArray[Any], entries: int) -> Floats:
    return np.asarray(np.bincount(rank, values, entries), dtype=np.float64)


def _running(values: NDArray[Any]) -> NDArray[Any]:
    """Sums of the values before each place."""
    return np.concatenate((np.zeros(1, dtype=values.dtype), np.cumsum(values)))


def _next(begins_here: Bools) -> Ints:
    """For each place the next place at which something begins, or the end."""
    begin = np.flatnonzero(begins_here)
    end = np.append(begin[1:], len(begins_here))
    return np.repeat(end, end - begin)
