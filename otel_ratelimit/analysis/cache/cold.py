"""Plays back the rows of cold keys: exact times, by key.

An execution that comes more than a TTL after the one before it misses for certain. These divide a key's
executions into runs that can be followed independently: from a miss, the next one is the first execution
more than a TTL later, if it is still in the run. All runs of a piece are followed at once, a miss at a time.
"""

from __future__ import annotations

import numpy as np

from otel_ratelimit.analysis.cache.columns import (
    MICROSECONDS,
    UNKNOWN,
    Bools,
    Executions,
    Floats,
    Ints,
    begins,
)
from otel_ratelimit.analysis.cache.playing import Playing
from otel_ratelimit.analysis.cache.sampled import in_half
from otel_ratelimit.analysis.cache.tally import LiveEntries, Tally
from otel_ratelimit.analysis.cache.writes import WrittenTables

_KEY_SHIFT = 38
"""Microseconds of three days: executions of different keys are further apart than any TTL."""


class ColdPlayback:
    """Takes pieces, each with whole keys, and counts.

    Args:
        tally: where to.
        live: what the cache holds.
        playing: the day, and what all play-backs share.
    """

    def __init__(self, tally: Tally, live: LiveEntries, playing: Playing) -> None:
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
        tally, templates = self._tally, len(self._tally.keys)
        executions = piece.weight * rows.n
        tally.executions += np.bincount(rows.template, executions, templates)
        tally.duration_us += np.bincount(rows.template, executions * rows.duration_us, templates)
        tally.add_keys(piece.key_template, self._sampled.weight)
        by_key = np.bincount(piece.rank, executions, piece.keys)
        kept = 1.0 - 1.0 / self._sampled.weight
        tally.nn += np.bincount(piece.key_template, kept * by_key**2, templates)
        size = self._entry_bytes(_sizes(rows, piece, self._mean_bytes))
        writes = _WritesSeen(rows, piece, self._written, self._is_written)
        for place, ttl in enumerate(self._ttls):
            miss = missed(piece.when, ttl * MICROSECONDS)
            missing = np.flatnonzero(miss)
            weight, template = piece.weight[missing], rows.template[missing]
            tally.misses[:, place] += np.bincount(template, weight, templates)
            tally.missed_us[:, place] += np.bincount(template, weight * rows.duration_us[missing], templates)
            m = np.bincount(piece.rank[missing], weight, piece.keys)
            tally.mn[:, place] += np.bincount(piece.key_template, kept * m * by_key, templates)
            tally.mm[:, place] += np.bincount(piece.key_template, kept * m * m, templates)
            self._remember(place, rows.where(missing), weight, size[piece.rank[missing]])
            if writes.any:
                self._with_writes(place, ttl, miss, rows, piece, writes)
            else:
                tally.dropped_misses[:, place] += np.bincount(template, weight, templates)
                tally.dropped_missed_us[:, place] += np.bincount(
                    template, weight * rows.duration_us[missing], templates
                )

    def _remember(self, place: int, missed: Executions, weight: Floats, size: Floats) -> None:
        second = (missed.at - self._start_us) // MICROSECONDS
        self._live.filled(place, second, weight, size, in_half(missed.key))
        lives = np.minimum(self._ttls[place], (self._end_us - missed.at) / MICROSECONDS)
        self._tally.byte_seconds[:, place] += np.bincount(
            missed.template, weight * size * lives, len(self._tally.keys)
        )

    def _with_writes(  # noqa: PLR0913, PLR0917 - one piece, seen from all sides
        self, place: int, ttl: int, miss: Bools, rows: Executions, piece: _Piece, writes: _WritesSeen
    ) -> None:
        tally, templates = self._tally, len(self._tally.keys)
        dropped = np.flatnonzero(missed(piece.when, ttl * MICROSECONDS, writes.between))
        weight, template = piece.weight[dropped], rows.template[dropped]
        tally.dropped_misses[:, place] += np.bincount(template, weight, templates)
        tally.dropped_missed_us[:, place] += np.bincount(
            template, weight * rows.duration_us[dropped], templates
        )
        # The first row of all is a miss, so each row has one at or before it.
        filled = np.maximum.accumulate(np.where(miss, np.arange(len(rows)), 0))
        overtaken = (writes.before - writes.before[filled]) * (piece.weight * rows.n)
        stale = np.where(overtaken > 0, piece.weight * rows.n, 0.0)
        tally.stale[:, place] += np.bincount(rows.template, stale, templates)
        tally.overtaken[:, place] += np.bincount(rows.template, overtaken, templates)


class _Piece:
    """What is derived of the rows once."""

    def __init__(self, rows: Executions, start_us: int, weight: float) -> None:
        new = begins(rows.key)
        self.rank: Ints = np.cumsum(new) - 1
        """Number of the row's key."""
        self.weight: Floats = np.full(len(rows), weight)
        first = np.flatnonzero(new)
        self.keys = len(first)
        self.key_template: Ints = rows.template[first]
        self.when: Ints = (self.rank << _KEY_SHIFT) + (rows.at - start_us)
        """Rising over all rows."""


class _WritesSeen:
    def __init__(self, rows: Executions, piece: _Piece, written: WrittenTables, is_written: Bools) -> None:
        self.any = bool(is_written[piece.key_template].any())
        if self.any:
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
