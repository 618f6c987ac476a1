"""The most memory that a cache of some templates takes: at their own fullest time, not at that of all.

The peak of all comes from every key of the sample (`peak`). What part of it is theirs is measured on the
trace, a smaller sample that keeps each execution's time: their own peak there, over that of all there. Where
they are everything, that is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from otel_ratelimit.cache_advice.live_entries import LiveEntries
from otel_ratelimit.cache_advice.peak_memory import peaks
from otel_ratelimit.cache_advice.query_day import MICROSECONDS, Bools, Floats, Ints
from otel_ratelimit.cache_advice.replay_cold import KEY_SHIFT, missed
from otel_ratelimit.cache_advice.replay_trace import Trace
from otel_ratelimit.core.cache_assumptions import Assumptions

_LEAST: Final = 1e-9


class _Fills(NamedTuple):
    """What comes into the cache of the trace, with one time to live."""

    second: Ints
    key: Ints
    """Its place in the trace."""


class _Highest(NamedTuple):
    """Entries and bytes when these are the most, by time to live; a longer one never takes less."""

    keys: Floats
    size: Floats


class Peaks:
    """Peaks by time to live, of all templates and of some.

    Args:
        live: what the cache holds if it holds everything.
        trace: a part of the day by time.
        assumed: of the engine.
    """

    def __init__(self, live: LiveEntries, trace: Trace, assumed: Assumptions) -> None:
        self._all = peaks(live, assumed)
        self._trace = trace
        self._ttls = live.ttls
        self._seconds = live.seconds
        self._fills: Sequence[_Fills] = _fills(trace, live.ttls)
        self._known: dict[bytes, _Highest] = {}

    def of(self, place: int, chosen: Bools, *, keys: float, share: float) -> tuple[float, float]:
        """Entries and bytes of a cache for the chosen templates.

        Args:
            place: of the time to live.
            chosen: by template.
            keys: different ones that they have; there are never more entries.
            share: of all bytes over the day, which stands in where the trace has none of them.
        """
        entries, size = self._all[place]
        if chosen.all():
            return entries, size
        own, whole = self._highest(chosen), self._highest(np.ones_like(chosen))
        if own.size[place] <= 0.0:
            part_keys = part_size = share
        else:
            part_keys = own.keys[place] / max(whole.keys[place], _LEAST)
            part_size = own.size[place] / max(whole.size[place], _LEAST)
        found = min(part_keys, 1.0) * entries
        fewer = min(keys / found, 1.0) if found > 0.0 else 0.0
        return found * fewer, min(part_size, 1.0) * size * fewer

    def _highest(self, chosen: Bools) -> _Highest:
        which = chosen.tobytes()
        if which not in self._known:
            each = [self._at_most(place, chosen) for place in range(len(self._ttls))]
            keys, size = (np.array(column) for column in zip(*each, strict=True))
            self._known[which] = _Highest(np.maximum.accumulate(keys), np.maximum.accumulate(size))
        return self._known[which]

    def _at_most(self, place: int, chosen: Bools) -> tuple[float, float]:
        trace, fills = self._trace, self._fills[place]
        theirs = chosen[trace.template[fills.key]]
        if not theirs.any():
            return 0.0, 0.0
        second, key = fills.second[theirs], fills.key[theirs]
        size = self._held(second, trace.weight[key] * trace.size[key], self._ttls[place])
        at = int(size.argmax())
        entries = self._held(second, trace.weight[key], self._ttls[place])
        return float(entries[at]), float(size[at])

    def _held(self, second: Ints, weight: Floats, ttl: int) -> Floats:
        change = np.bincount(second, weight, self._seconds)
        change[ttl:] -= np.bincount(second, weight, self._seconds)[: max(self._seconds - ttl, 0)]
        return np.cumsum(change)


def _fills(trace: Trace, ttls: Sequence[int]) -> Sequence[_Fills]:
    if not len(trace.at):
        nothing = np.zeros(0, dtype=np.int64)
        return [_Fills(nothing, nothing) for _ in ttls]
    order = np.lexsort((trace.at, trace.key))
    key = trace.key[order].astype(np.int64)
    when = (key << KEY_SHIFT) + np.rint(trace.at[order] * MICROSECONDS).astype(np.int64)
    second = trace.at[order].astype(np.int64)
    found = []
    for ttl in ttls:
        filled = np.flatnonzero(missed(when, ttl * MICROSECONDS))
        found.append(_Fills(second[filled], key[filled]))
    return found
