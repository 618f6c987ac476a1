"""Plays back the rows of cold keys: exact times, by key.

An execution that comes more than a TTL after the one before it misses for certain. These divide a key's
executions into runs that can be followed independently: from a miss, the next one is the first execution
more than a TTL later, if it is still in the run. All runs of a piece are followed at once, a miss at a time.
"""

from __future__ import annotations

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

KEY_SHIFT = 38
"""Microseconds of three days: executions of different keys are further apart than any TTL."""


class ColdReplay:
    """Takes pieces, each with whole keys, and counts.

    Args:
        tally: where to.
        live: what the cache holds.
        playing: the day, and what all play-backs share.
    """

    def __init__(self, tally: ReplayCounts, live: LiveEntries, playing: ReplayContext) -> None:
        self._tally = tally
        self._live = live
        self._sampled = playing.sampled
        self._ttls = playing.ttls
        self._written = playing.written
        self._is_written = playing.written.is_written
        self._start_us = playing.start * MICROSECONDS
        self._end_us = (playing.start + playing.seconds) * MICROSECONDS
        self._entry_bytes = playing.entry_bytes
        self._mean_bytes = playing.mean_bytes

    def add(self, rows: Executions) -> None:
        """Play back a piece, by key and then by time; those keys of it that are in the sample."""
        if not self._sampled.is_everything:
            rows = rows.where(self._sampled.has(rows.key))
        if not len(rows):
            return
        piece = _Piece(rows, self._start_us, self._sampled.weight)
        tally, templates, weight = self._tally, len(self._tally.keys), piece.weight
        executions = weight * rows.n
        tally.executions += np.bincount(rows.template, executions, templates)
        tally.duration_us += np.bincount(rows.template, executions * rows.duration_us, templates)
        tally.add_keys(piece.key_template, weight)
        by_key = np.bincount(piece.rank, executions, piece.keys)
        kept = weight * (1.0 - 1.0 / weight)
        tally.nn += np.bincount(piece.key_template, (1.0 - 1.0 / weight) * by_key**2, templates)
        first = (piece.first_at - self._start_us) // MICROSECONDS
        self._live.met(first, np.full(piece.keys, weight))
        size = self._entry_bytes(_sizes(rows, piece, self._mean_bytes))
        writes = _WritesSeen(rows, piece, self._written, self._is_written)
        for place, ttl in enumerate(self._ttls):
            miss = missed(piece.when, ttl * MICROSECONDS)
            missing = np.flatnonzero(miss)
            template, rank = rows.template[missing], piece.rank[missing]
            misses = weight * np.bincount(template, minlength=templates)
            missed_us = weight * np.bincount(template, rows.duration_us[missing], templates)
            tally.misses[:, place] += misses
            tally.missed_us[:, place] += missed_us
            m = np.bincount(rank, minlength=piece.keys)
            tally.mn[:, place] += kept * np.bincount(piece.key_template, m * by_key, templates)
            tally.mm[:, place] += kept * weight * np.bincount(piece.key_template, m * m, templates)
            self._remember(place, rows.where(missing), weight, size[rank])
            if writes.any:
                self._with_writes(place, ttl, miss, rows, piece, writes)
            else:
                tally.dropped_misses[:, place] += misses
                tally.dropped_missed_us[:, place] += missed_us

    def _remember(self, place: int, missed: Executions, weight: float, size: Floats) -> None:
        second = (missed.at - self._start_us) // MICROSECONDS
        self._live.filled(place, second, np.full(len(missed), weight), size, in_half(missed.key))
        lives = np.minimum(self._ttls[place], (self._end_us - missed.at) / MICROSECONDS)
        self._tally.byte_seconds[:, place] += weight * np.bincount(
            missed.template, size * lives, len(self._tally.keys)
        )

    def _with_writes(
        self, place: int, ttl: int, miss: Bools, rows: Executions, piece: _Piece, writes: _WritesSeen
    ) -> None:
        tally, templates, weight = self._tally, len(self._tally.keys), piece.weight
        dropped = np.flatnonzero(missed(piece.when, ttl * MICROSECONDS, writes.between))
        template = rows.template[dropped]
        tally.dropped_misses[:, place] += weight * np.bincount(template, minlength=templates)
        tally.dropped_missed_us[:, place] += weight * np.bincount(
            template, rows.duration_us[dropped], templates
        )
        # The first row of all is a miss, so each row has one at or before it.
        filled = np.maximum.accumulate(np.where(miss, writes.rows, 0))
        overtaken = writes.before - writes.before[filled]
        stale = np.flatnonzero(overtaken)
        template, n = rows.template[stale], rows.n[stale]
        tally.stale[:, place] += weight * np.bincount(template, n, templates)
        tally.overtaken[:, place] += weight * np.bincount(template, overtaken[stale] * n, templates)


class _Piece:
    """What is derived of the rows once."""

    def __init__(self, rows: Executions, start_us: int, weight: float) -> None:
        new = begins(rows.key)
        self.rank: Ints = np.cumsum(new) - 1
        """Number of the row's key."""
        self.weight = weight
        """How many rows each stands for."""
        first = np.flatnonzero(new)
        self.keys = len(first)
        self.key_template: Ints = rows.template[first]
        self.first_at: Ints = rows.at[first]
        """When each key came first."""
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
    """Which executions find nothing: filled on a miss, and a hit does not make the entry live longer.

    Args:
        when: rising; executions of different keys are more than any TTL apart.
        ttl: an entry answers up to and including this time after its fill.
        dropped: before which executions the entry was dropped.
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
    """Of each key's result, bytes; its template's mean where none was measured."""
    known = np.flatnonzero(rows.result_bytes != UNKNOWN)
    rank = piece.rank[known]
    measured = np.bincount(rank, minlength=piece.keys)
    total = np.bincount(rank, rows.result_bytes[known], piece.keys)
    return np.where(measured > 0, total / np.maximum(measured, 1), mean_bytes[piece.key_template])
