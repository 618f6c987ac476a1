"""Follows the entries of hot keys through seconds in which they are executed several times.

Of each entry only its misses have to be looked at: a miss says until when the entry answers, and so where the
next one can be. Where it is certain what a second finds, whatever was before, a run of seconds begins. Runs
are followed independently, all of them at once, a miss at a time; what lies between two misses follows from
running sums.
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
"""When something was filled that is not there, whatever the TTL."""


class EntryTimeline:
    """Cells: seconds in which an entry is executed, by entry and then by time, each pair once.

    Args:
        entry: its place.
        second: of the day.
        n: executions in it.
        after: so many seconds after a moment in that second comes the first execution, if it is still in it.
    """

    def __init__(self, entry: Ints, second: Ints, n: Ints, after: Floats) -> None:
        new = begins(entry)
        self.first: Ints = np.flatnonzero(new)
        """Cell of each entry."""
        self.last: Ints = np.append(self.first[1:], len(new)) - 1
        self.entry: Ints = entry[self.first]
        self.rank: Ints = np.cumsum(new) - 1
        """Number of the cell's entry."""
        self.second = second
        self.n = n
        self._after = after
        self._when: Ints = (self.rank << _ENTRY_SHIFT) + second
        """Rising over all cells."""
        self._pause: Ints = np.diff(self._when, prepend=np.int64(-1 << _ENTRY_SHIFT))

    def by_entry(self, values: NDArray[Any]) -> Floats:
        """Sums of the cells' values."""
        return _sums(self.rank, values, len(self.entry))

    def runs(self, ttl: int, *, also: Bools | None = None) -> Ints:
        """First cells of runs: after a pause nothing is left, however late in its second it was filled.

        Args:
            ttl: seconds.
            also: other cells before which it is known what is there.
        """
        after_pause = self._pause > ttl
        return np.flatnonzero(after_pause if also is None else after_pause | also)

    def firsts(self, begin: Ints) -> Ints:
        """Number of the first run of each entry."""
        return np.searchsorted(begin, self.first)

    def lasts(self, begin: Ints) -> Ints:
        """Number of the last one."""
        return np.append(self.firsts(begin)[1:], len(begin)) - 1

    def misses(self, ttl: int, begin: Ints, expires: Floats) -> Ints:
        """Cells that find nothing.

        Args:
            ttl: seconds.
            begin: of the runs.
            expires: what is there before each run, as the second of the day until which it answers; becomes
                what is there after it.
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
            # In the second in which it expires the entry may answer all, but not in any later one.
            at += until + after.take(at, mode="clip") >= second.take(at, mode="clip") + 1.0
            within = np.flatnonzero(at < end[running])
            at, running = at[within], running[within]
            miss[at] = True
            expires[running] = np.maximum(until[within], second[at]) + after[at] + ttl
        return np.flatnonzero(miss)


class WritesToEntries:
    """The same entries, whose tables are written meanwhile.

    Args:
        course: of entries that read written tables.
        before: writes to those tables before the second of each cell.
        within: in that second.
        seen: of each entry, those until the end of its last cell before this course.
        luck: of each cell, in (0, 1).
    """

    def __init__(self, course: EntryTimeline, before: Ints, within: Ints, seen: Ints, luck: Floats) -> None:
        self._course = course
        self._before = before
        self.seen: Ints = (before + within)[course.last]
        """As `seen`, after this course."""
        n = course.n
        self._twice_writes: Ints = 2 * before + within
        """On average half of those in the same second come before a hit."""
        self._part_stale: Floats = within / (within + 1.0)
        """Share of a cell's hits that come after a write in the same second."""
        self._executions = _running(n)
        self._hits_writes = _running(n * self._twice_writes)
        self._partly_stale = _running(n * self._part_stale)
        self._change = _next(begins(course.rank, before))
        # Dropped by a write: of n reads and w writes in any order, n w / (n + w) come after a write.
        self._share: Floats = within / (n + within)
        self._always_missed = course.by_entry(n * self._share)
        # Where the last in the second is a write, nothing is left for the next.
        self._leaves = np.where(within > 0, course.second + _HALF, np.nan)
        self._leaves[luck < self._share] = _LONG_AGO
        self._finds = np.roll(self._leaves, 1)
        self._finds[course.first] = np.nan
        known = np.roll(before + within, 1)
        known[course.first] = seen
        self._finds[before > known] = _LONG_AGO

    def overtaken(self, miss: Ints, writes_at_fill: Ints) -> tuple[Floats, Floats]:
        """Where writes drop nothing, by entry: stale hits, and writes between fill and hit over all hits.

        Args:
            miss: cells that find nothing.
            writes_at_fill: those before what is there before each entry's first cell was filled; becomes what
                it is afterwards.
        """
        course = self._course
        is_fill = np.zeros(len(course.second), dtype=np.bool_)
        is_fill[miss] = True
        is_begin = is_fill.copy()
        is_begin[course.first] = True
        begin = np.flatnonzero(is_begin)
        end = np.append(begin[1:], len(is_begin))
        rank, fills, before = course.rank[begin], is_fill[begin], self._before[begin]
        filled = np.where(fills, before, writes_at_fill[rank])
        # Of the executions of the cell that fills one is no hit.
        hits = self._executions[end] - self._executions[begin] - fills
        writes = self._hits_writes[end] - self._hits_writes[begin] - fills * self._twice_writes[begin]
        change = np.where(before > filled, begin, np.minimum(self._change[begin], end))
        partly = self._partly_stale[change] - self._partly_stale[begin] - fills * self._part_stale[begin]
        stale = self._executions[end] - self._executions[change] + partly
        writes_at_fill[:] = filled[course.lasts(begin)]
        entries = len(course.entry)
        between = _HALF * writes - filled * hits
        return _sums(rank, stale, entries), _sums(rank, between, entries)

    def dropped_misses(self, ttl: int, expires: Floats) -> Floats:
        """Misses by entry where every write drops what is there.

        Args:
            ttl: seconds.
            expires: of what is there before each entry's first cell; becomes what it is afterwards.
        """
        course = self._course
        begin = course.runs(ttl, also=~np.isnan(self._finds))
        at_begin = _expiry(self._finds[begin], ttl, np.zeros(len(begin)))
        first = course.firsts(begin)
        at_begin[first] = _expiry(self._finds[course.first], ttl, expires)
        miss = course.misses(ttl, begin, at_begin)
        expires[:] = _expiry(self._leaves[course.last], ttl, at_begin[course.lasts(begin)])
        # The first finds nothing, and of the others those after a write.
        rank, entries = course.rank[miss], len(course.entry)
        return self._always_missed + np.bincount(rank, 1.0 - self._share[miss], entries)


def _expiry(filled: Floats, ttl: int, unknown: Floats) -> Floats:
    """Of what was filled then; `unknown` where that is not known here."""
    return np.where(np.isnan(filled), unknown, filled + ttl)


def _sums(rank: Ints, values: NDArray[Any], entries: int) -> Floats:
    return np.asarray(np.bincount(rank, values, entries), dtype=np.float64)


def _running(values: NDArray[Any]) -> NDArray[Any]:
    """Sums of those before each place."""
    return np.concatenate((np.zeros(1, dtype=values.dtype), np.cumsum(values)))


def _next(begins_here: Bools) -> Ints:
    """For each place the next one after it at which something begins, or the end."""
    begin = np.flatnonzero(begins_here)
    end = np.append(begin[1:], len(begins_here))
    return np.repeat(end, end - begin)
