"""Replays the rows of cold keys, which have exact times, key by key.

An execution that comes more than a TTL after the previous one is certainly a miss. Such executions divide
those of a key into runs, and each run can be followed independently: after a miss, the next miss is the first
execution more than a TTL later, if it is still in the run. All runs of a piece are followed at once, one miss
at a time.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from otel_ratelimit.cache_advice.live_entries import LiveEntries
from otel_ratelimit.cache_advice.query_day import (
    MICROSECONDS,
    UNKNOWN,
    Bools,
    Executions,
    Floats,
    Ints,
    begins,
)
from otel_ratelimit.cache_advice.replay_context import ReplayContext
from otel_ratelimit.cache_advice.replay_counts import ReplayCounts
from otel_ratelimit.cache_advice.sampled_keys import in_half
from otel_ratelimit.cache_advice.table_writes import WrittenTables

KEY_SHIFT: Final = 38
"""2^38 microseconds are three days, so executions of different keys are further apart than any TTL."""


class ColdReplay:
    """Takes pieces of rows, each with whole keys, and counts hits and misses.

    Args:
        counts: where to add up.
        live: where to add entries of the cache.
        context: the day, and the cache that is replayed on it.
    """

    def __init__(self, counts: ReplayCounts, live: LiveEntries, context: ReplayContext) -> None:
        self._counts = counts
        self._live = live
        self._sampled = context.sampled
        self._ttls = context.ttls
        self._written = context.written
        self._is_written = context.written.is_written
        self._start_us = context.start * MICROSECONDS
        self._end_us = (context.start + context.seconds) * MICROSECONDS
        self._entry_bytes = context.entry_bytes
        self._mean_bytes = context.mean_bytes

    def add(self, rows: Executions) -> None:
        """Replay the sampled keys of a piece, whose rows are sorted by key and then by time."""
        if not self._sampled.is_everything:
            rows = rows.where(self._sampled.has(rows.key))
        if not len(rows):
            return
        piece = _Piece(rows, self._start_us, self._sampled.weight)
        counts, templates, weight = self._counts, len(self._counts.keys), piece.weight
        executions = weight * rows.n
        counts.executions += np.bincount(rows.template, executions, templates)
        counts.duration_us += np.bincount(rows.template, executions * rows.duration_us, templates)
        counts.add_keys(piece.key_template, weight)
        by_key = np.bincount(piece.rank, executions, piece.keys)
        kept = weight * (1.0 - 1.0 / weight)
        counts.nn += np.bincount(piece.key_template, (1.0 - 1.0 / weight) * by_key**2, templates)
        first = (piece.first_at - self._start_us) // MICROSECONDS
        self._live.first_executed(first, np.full(piece.keys, weight))
        size = self._entry_bytes(_sizes(rows, piece, self._mean_bytes))
        writes = _WritesSeen(rows, piece, self._written, self._is_written)
        for place, ttl in enumerate(self._ttls):
            miss = missed(piece.when, ttl * MICROSECONDS)
            missing = np.flatnonzero(miss)
            template, rank = rows.template[missing], piece.rank[missing]
            misses = weight * np.bincount(template, minlength=templates)
            missed_us = weight * np.bincount(template, rows.duration_us[missing], templates)
            counts.misses[:, place] += misses
            counts.missed_us[:, place] += missed_us
            m = np.bincount(rank, minlength=piece.keys)
            counts.mn[:, place] += kept * np.bincount(piece.key_template, m * by_key, templates)
            counts.mm[:, place] += kept * weight * np.bincount(piece.key_template, m * m, templates)
            self._remember(place, rows.where(missing), weight, size[rank])
            if writes.any:
                self._with_writes(place, ttl, miss, rows, piece, writes)
            else:
                counts.dropped_misses[:, place] += misses
                counts.dropped_missed_us[:, place] += missed_us

    def _remember(self, place: int, missed: Executions, weight: float, size: Floats) -> None:
        second = (missed.at - self._start_us) // MICROSECONDS
        self._live.filled(place, second, np.full(len(missed), weight), size, in_half(missed.key))
        lives = np.minimum(self._ttls[place], (self._end_us - missed.at) / MICROSECONDS)
        self._counts.byte_seconds[:, place] += weight * np.bincount(
            missed.template, size * lives, len(self._counts.keys)
        )

    def _with_writes(
        self, place: int, ttl: int, miss: Bools, rows: Executions, piece: _Piece, writes: _WritesSeen
    ) -> None:
        counts, templates, weight = self._counts, len(self._counts.keys), piece.weight
        dropped = np.flatnonzero(missed(piece.when, ttl * MICROSECONDS, writes.between))
        template = rows.template[dropped]
        counts.dropped_misses[:, place] += weight * np.bincount(template, minlength=templates)
        counts.dropped_missed_us[:, place] += weight * np.bincount(
            template, rows.duration_us[dropped], templates
        )
        # The first row of the piece is a miss, so each row has a miss at or before it.
        filled = np.maximum.accumulate(np.where(miss, writes.rows, 0))
        overtaken = writes.before - writes.before[filled]
        stale = np.flatnonzero(overtaken)
        template, n = rows.template[stale], rows.n[stale]
        counts.stale[:, place] += weight * np.bincount(template, n, templates)
        counts.overtaken[:, place] += weight * np.bincount(template, overtaken[stale] * n, templates)


class _Piece:
    """Values that are derived from the rows of a piece once."""

    def __init__(self, rows: Executions, start_us: int, weight: float) -> None:
        new = begins(rows.key)
        self.rank: Ints = np.cumsum(new) - 1
        """Number of the row's key within the piece."""
        self.weight = weight
        """Number of rows that each row stands for."""
        first = np.flatnonzero(new)
        self.keys = len(first)
        self.key_template: Ints = rows.template[first]
        self.first_at: Ints = rows.at[first]
        """Time of each key's first execution."""
        self.when: Ints = (self.rank << KEY_SHIFT) + (rows.at - start_us)
        """Rising over all rows."""


class _WritesSeen:
    def __init__(self, rows: Executions, piece: _Piece, written: WrittenTables, is_written: Bools) -> None:
        self.any = bool(is_written[piece.key_template].any())
        if self.any:
            self.rows = np.arange(len(rows))
            self.before = written.before(rows.template, rows.at)
            self.between = np.zeros(len(rows), dtype=np.bool_)
            same_key = piece.rank[1:] == piece.rank[:-1]
            self.between[1:] = (np.diff(self.before) > 0) & same_key


def missed(when: Ints, ttl: int, dropped: Bools | None = None) -> Bools:
    """Which executions miss, if a miss fills the cache and a hit does not make the entry live longer.

    Args:
        when: times, rising; executions of different keys are more than any TTL apart.
        ttl: an entry answers up to and including this time after its fill.
        dropped: executions before which a write dropped the entry.
    """
    miss = np.empty(len(when), dtype=np.bool_)
    miss[0] = True
    np.greater(np.diff(when), ttl, out=miss[1:])
    if dropped is not None:
        miss |= dropped
    begin = np.flatnonzero(miss)
    end = np.append(begin[1:], len(when))
    is_long = when[end - 1] - when[begin] > ttl
    at, end = begin[is_long], end[is_long]
    while at.size:
        at = np.searchsorted(when, when[at] + ttl, side="right")
        within = at < end
        at, end = at[within], end[within]
        miss[at] = True
    return miss


def _sizes(rows: Executions, piece: _Piece, mean_bytes: Floats) -> Floats:
    """Bytes of each key's result; the mean of its template where no result of the key was measured."""
    known = np.flatnonzero(rows.result_bytes != UNKNOWN)
    rank = piece.rank[known]
    measured = np.bincount(rank, minlength=piece.keys)
    total = np.bincount(rank, rows.result_bytes[known], piece.keys)
    return np.where(measured > 0, total / np.maximum(measured, 1), mean_bytes[piece.key_template])
