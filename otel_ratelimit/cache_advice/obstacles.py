"""What stands in the way of caching a template, found by taking it away.

An obstacle decides if caching would pay without it, all else being equal. Where no single one does, the
fewest that do together are named. What "without it" means:

    writes         nothing that it reads is written: no answer is stale, nothing is dropped
    memory_price   the memory costs nothing
    few_repeats    every execution is a hit, but for the share that writes cost the hits that there are
    small_gain     the cache answers and stores at once, so that a hit saves what the database takes

Each is the most that could change, and the last two change what the others are measured by: of two that
would do, writes and memory come first; then what would bring more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Final

import numpy as np

from otel_ratelimit.cache_advice.estimate import Estimates
from otel_ratelimit.cache_advice.query_day import Bools, Floats, Ints
from otel_ratelimit.cache_advice.result import ObstacleName
from otel_ratelimit.cache_advice.savings import most, saved_ms, worth
from otel_ratelimit.core.cache_assumptions import Assumptions

EVERY: Final[tuple[ObstacleName, ...]] = ("writes", "memory_price", "few_repeats", "small_gain")
"""Those that can be taken away; `not_executed` and `not_measured` leave nothing to weigh."""
_FIRST: Final[tuple[ObstacleName, ...]] = ("writes", "memory_price")
_Without = frozenset[ObstacleName]


class Obstacles:
    """Of all templates of a day.

    Args:
        found: what was estimated of them.
        writes: to their tables, by template.
        stale_share: of the hits, by template and TTL.
        assumed: of the cache.
    """

    def __init__(self, found: Estimates, writes: Ints, stale_share: Floats, assumed: Assumptions) -> None:
        self._found = found
        self._writes = writes
        self._stale_share = stale_share
        self._assumed = assumed
        self._known: dict[_Without, Floats] = {}

    def of(self, template: int) -> tuple[ObstacleName, ...]:
        """Those that decide, the first first; empty where caching pays.

        Args:
            template: its place.
        """
        if self._found.executions[template] <= 0.0:
            return ("not_executed",)
        if self.worth_without(())[template] > 0.0:
            return ()
        for size in range(1, len(EVERY) + 1):
            would_do = [
                chosen for chosen in combinations(EVERY, size) if self.worth_without(chosen)[template] > 0.0
            ]
            if would_do:
                return max(would_do, key=lambda chosen: self._rank(chosen, template))
        return ("not_measured",)

    def worth_without(self, obstacles: Sequence[ObstacleName]) -> Floats:
        """What caching would bring if these were gone, by template; 0 where it still would not pay.

        Args:
            obstacles: of `EVERY`.
        """
        without = frozenset(obstacles)
        if without not in self._known:
            self._known[without] = self._weighed(without)
        return self._known[without]

    def _rank(self, chosen: tuple[ObstacleName, ...], template: int) -> tuple[float, ...]:
        alone = (float(chosen == (name,)) for name in _FIRST)
        return (*alone, float(self.worth_without(chosen)[template]))

    def _weighed(self, without: _Without) -> Floats:
        found, assumed = self._found, self._assumed
        if "small_gain" in without:
            assumed = replace(assumed, lookup_ms=0.0, store_ms=0.0)
        if "memory_price" in without:
            assumed = replace(assumed, memory_gb_hour=0.0)
        hits, hit_us = found.hits, found.hit_us
        dropped, dropped_us = found.dropped_hits, found.dropped_hit_us
        if "few_repeats" in without:
            dropped = found.executions[:, None] * _left(dropped, hits)
            dropped_us = found.duration_us[:, None] * _left(dropped_us, hit_us)
            hits = np.broadcast_to(found.executions[:, None], hits.shape)
            hit_us = np.broadcast_to(found.duration_us[:, None], hit_us.shape)
        fresh: Bools = self._stale_share <= assumed.stale_budget
        writes = self._writes
        if "writes" in without:
            fresh, writes = np.ones_like(fresh), np.zeros_like(writes)

        def brings(of_hits: Floats, of_hit_us: Floats, deletes_ms: Floats) -> Floats:
            saved = saved_ms(found.executions, of_hits, of_hit_us, assumed) - deletes_ms
            return worth(saved, of_hit_us, found.byte_seconds, assumed)

        nothing: Floats = np.zeros((len(writes), 1))
        alone = np.where(fresh, brings(hits, hit_us, nothing), 0.0)
        deletes = np.asarray(writes * assumed.lookup_ms, dtype=np.float64)[:, None]
        dropping = np.where((writes > 0)[:, None], brings(dropped, dropped_us, deletes), 0.0)
        return np.maximum(most(alone), most(dropping))


def _left(part: Floats, whole: Floats) -> Floats:
    """Share of the hits that writes leave; all of it where there is none to lose.

    To drop an entry may even bring hits with a short TTL, as the next one is filled at a better time.
    """
    return np.minimum(np.where(whole > 0.0, part / np.maximum(whole, 1e-9), 1.0), 1.0)
