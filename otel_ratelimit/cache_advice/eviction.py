"""Hit ratio of a cache whose memory is limited: a simulation of the engine's own eviction.

`allkeys-lru` of Redis and Valkey is not an exact LRU. To free memory, the engine picks five entries at random
and offers them to a pool of sixteen, which keeps the entries that were idle the longest; then it evicts the
idlest entry of the pool (evict.c, `evictionPoolPopulate`, `performEvictions`). It knows idle times only to
the second (`LRU_CLOCK_RESOLUTION`).

A cold key of the sample stands for 1/rate keys: it takes that much more memory, and is picked that much more
often. A hot key stands for itself. (Miniature simulation: Waldspurger et al., Cache Modeling and Optimization
using Miniature Simulations, ATC '17; here the hot keys are kept apart.)
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import deque
from typing import Final

import numpy as np

from otel_ratelimit.cache_advice.replay_trace import Trace

_SAMPLES: Final = 5
"""`maxmemory-samples`."""
_POOL: Final = 16
"""`EVPOOL_SIZE`."""
CLOCK_SECONDS: Final = 1.0
_SEED: Final = 3


def simulated_hit_ratio(
    trace: Trace, ttl: float, memory_bytes: float, *, clock_seconds: float = CLOCK_SECONDS
) -> float:
    """Share of the trace's executions that find their key, 0 to 1.

    Args:
        trace: executions by time.
        ttl: seconds; a hit does not make an entry live longer.
        memory_bytes: limit for entries and hash tables.
        clock_seconds: resolution at which the engine measures idle times.
    """
    cache = _Cache(trace, memory_bytes, clock_seconds)
    return cache.hit_ratio(ttl)


class _Cache:
    """The entries of the simulated engine, by the place of their key."""

    def __init__(self, trace: Trace, memory_bytes: float, clock_seconds: float) -> None:
        self._trace = trace
        self._limit = memory_bytes
        self._clock_seconds = clock_seconds
        self._random = random.Random(_SEED)  # noqa: S311 - a simulation that must repeat itself, and no secret
        keys = len(trace.size)
        # A key takes the memory of all keys that it stands for.
        self._size: list[float] = (trace.size * trace.weight).tolist()
        self._certain: list[bool] = (trace.weight <= 1.0).tolist()
        cold = trace.weight[trace.weight > 1.0]
        self._cold_weight = float(cold.mean()) if len(cold) else 1.0
        self._used_at = [0] * keys
        self._place = [-1] * keys
        """Place among the hot or the cold entries; -1 for a key that is not in the cache."""
        self._hot: list[int] = []
        self._cold: list[int] = []
        self._used = 0.0
        self._pool: list[tuple[int, int]] = []

    def hit_ratio(self, ttl: float) -> float:
        trace = self._trace
        place, used_at = self._place, self._used_at
        filled_until = [0.0] * len(place)
        fills: deque[tuple[float, int]] = deque()
        weight = trace.weight.tolist()
        missed = 0.0
        clock = (trace.at / self._clock_seconds).astype(np.int64)
        for at, key, now in zip(trace.at.tolist(), trace.key.tolist(), clock.tolist(), strict=True):
            while fills and fills[0][0] < at:
                expires, gone = fills.popleft()
                # Where an entry was evicted and filled again, the later fill counts.
                if place[gone] >= 0 and filled_until[gone] == expires:
                    self._remove(gone)
            if place[key] < 0:
                missed += weight[key]
                self._fill(key, now)
                filled_until[key] = at + ttl
                fills.append((at + ttl, key))
            used_at[key] = now
        executions = float((trace.n * trace.weight[trace.key]).sum())
        return 1.0 - missed / executions if executions else 0.0

    def _fill(self, key: int, now: int) -> None:
        self._used += self._size[key]
        while self._used > self._limit and (self._hot or self._cold):
            self._evict(now)
        entries = self._hot if self._certain[key] else self._cold
        self._place[key] = len(entries)
        entries.append(key)

    def _remove(self, key: int) -> None:
        entries = self._hot if self._certain[key] else self._cold
        place, last = self._place[key], entries.pop()
        if last != key:
            entries[place] = last
            self._place[last] = place
        self._place[key] = -1
        self._used -= self._size[key]

    def _evict(self, now: int) -> None:
        pool, draw = self._pool, self._random.random
        hot, cold = self._hot, self._cold
        hots = len(hot)
        everything = hots + len(cold) * self._cold_weight
        for _ in range(_SAMPLES):
            at = draw() * everything
            # Rounding can reach just beyond the last entry.
            key = (
                hot[int(at)] if at < hots else cold[min(int((at - hots) / self._cold_weight), len(cold) - 1)]
            )
            candidate = (now - self._used_at[key], key)
            if len(pool) < _POOL:
                pool.insert(bisect_right(pool, candidate), candidate)
            elif candidate[0] > pool[0][0]:
                del pool[0]
                pool.insert(bisect_right(pool, candidate), candidate)
        while pool:
            _, idlest = pool.pop()
            if self._place[idlest] >= 0:
                self._remove(idlest)
                return
