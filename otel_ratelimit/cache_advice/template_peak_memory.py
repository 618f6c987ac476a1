"""The most memory that a cache of some templates takes, at their own fullest time.

The peak of all templates comes from every key of the sample (`peak_memory.py`). The part of the chosen
templates is measured on the trace, a smaller sample that keeps the time of each execution: it is their peak
there, divided by the peak of all templates there. If all templates are chosen, the part is 1.
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

_TINY: Final = 1e-9


class _Fills(NamedTuple):
    """Entries that are filled in the cache of the trace, with one TTL."""

    second: Ints
    key: Ints
    """Place of the key in the trace."""


class _Peak(NamedTuple):
    """Entries and bytes at the peak, by TTL; a longer TTL never takes less."""

    keys: Floats
    size: Floats


class Peaks:
    """Peaks by TTL, of all templates and of some.

    Args:
        live: entries of a cache that all templates go through.
        trace: a part of the day by time.
        assumptions: name the engine and its allocator.
    """

    def __init__(self, live: LiveEntries, trace: Trace, assumptions: Assumptions) -> None:
        self._all = peaks(live, assumptions)
        self._trace = trace
        self._ttls = live.ttls
        self._seconds = live.seconds
        self._fills: Sequence[_Fills] = _fills(trace, live.ttls)
        self._known: dict[bytes, _Peak] = {}

    def of(self, place: int, chosen: Bools, *, keys: float, share: float) -> tuple[float, float]:
        """Entries and bytes of a cache for the chosen templates.

        Args:
            place: place of the TTL.
            chosen: by template.
            keys: different keys of these templates; there are never more entries.
            share: their share of all bytes over the day, for templates that the trace does not hold.
        """
        entries, size = self._all[place]
        if chosen.all():
            return entries, size
        own, whole = self._peak(chosen), self._peak(np.ones_like(chosen))
        if own.size[place] <= 0.0:
            part_keys = part_size = share
        else:
            part_keys = own.keys[place] / max(whole.keys[place], _TINY)
            part_size = own.size[place] / max(whole.size[place], _TINY)
        found = min(part_keys, 1.0) * entries
        fewer = min(keys / found, 1.0) if found > 0.0 else 0.0
        return found * fewer, min(part_size, 1.0) * size * fewer

    def _peak(self, chosen: Bools) -> _Peak:
        which = chosen.tobytes()
        if which not in self._known:
            each = [self._peak_at(place, chosen) for place in range(len(self._ttls))]
            keys, size = (np.array(column) for column in zip(*each, strict=True))
            self._known[which] = _Peak(np.maximum.accumulate(keys), np.maximum.accumulate(size))
        return self._known[which]

    def _peak_at(self, place: int, chosen: Bools) -> tuple[float, float]:
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
