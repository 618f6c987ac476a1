"""Which obstacles make caching a template not pay; each one is tested by removing it.

An obstacle decides if caching would pay without it, all else being equal. Where no single obstacle decides,
the smallest set that decides together is named. An obstacle is removed like this:

    writes         no table that the template reads is written: no answer is stale, no entry is dropped
    memory_price   the memory costs nothing
    few_repeats    every execution is a hit, except for the share of the hits that writes cost
    small_gain     the cache answers and stores in no time, so a hit saves all the time of the database

Each of these is the largest possible change. The last two also change the measure of the others, so writes
and memory come first where several obstacles would decide; then comes the one whose removal brings more.
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
from otel_ratelimit.cache_advice.savings import best_worth, saved_ms, worth
from otel_ratelimit.core.cache_assumptions import Assumptions

REMOVABLE: Final[tuple[ObstacleName, ...]] = ("writes", "memory_price", "few_repeats", "small_gain")
"""The obstacles that can be removed; with `not_executed` and `not_measured` there is nothing to weigh."""
_FIRST: Final[tuple[ObstacleName, ...]] = ("writes", "memory_price")
_Without = frozenset[ObstacleName]


class Obstacles:
    """The obstacles of all templates of a day.

    Args:
        found: the estimates of the day.
        writes: writes to the tables of each template.
        stale_share: share of the hits that are stale, by template and TTL.
        assumptions: what is assumed of the cache.
    """

    def __init__(self, found: Estimates, writes: Ints, stale_share: Floats, assumptions: Assumptions) -> None:
        self._found = found
        self._writes = writes
        self._stale_share = stale_share
        self._assumptions = assumptions
        self._worths: dict[_Without, Floats] = {}

    def of(self, template: int) -> tuple[ObstacleName, ...]:
        """The obstacles that decide, the most important first; empty where caching pays.

        Args:
            template: place of the template.
        """
        if self._found.executions[template] <= 0.0:
            return ("not_executed",)
        if self.worth_without(())[template] > 0.0:
            return ()
        for size in range(1, len(REMOVABLE) + 1):
            would_do = [
                chosen
                for chosen in combinations(REMOVABLE, size)
                if self.worth_without(chosen)[template] > 0.0
            ]
            if would_do:
                return max(would_do, key=lambda chosen: self._rank(chosen, template))
        return ("not_measured",)

    def worth_without(self, obstacles: Sequence[ObstacleName]) -> Floats:
        """The worth of caching without these obstacles, by template; 0 where it still would not pay.

        Args:
            obstacles: some of `REMOVABLE`.
        """
        without = frozenset(obstacles)
        if without not in self._worths:
            self._worths[without] = self._weighed(without)
        return self._worths[without]

    def _rank(self, chosen: tuple[ObstacleName, ...], template: int) -> tuple[float, ...]:
        alone = (float(chosen == (name,)) for name in _FIRST)
        return (*alone, float(self.worth_without(chosen)[template]))

    def _weighed(self, without: _Without) -> Floats:
        found, assumed = self._found, self._assumptions
        if "small_gain" in without:
            assumed = replace(assumed, lookup_ms=0.0, store_ms=0.0)
        if "memory_price" in without:
            assumed = replace(assumed, memory_gb_hour=0.0)
        hits, hit_us = found.hits, found.hit_us
        dropped, dropped_us = found.dropped_hits, found.dropped_hit_us
        if "few_repeats" in without:
            dropped = found.executions[:, None] * _share_left(dropped, hits)
            dropped_us = found.duration_us[:, None] * _share_left(dropped_us, hit_us)
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
        return np.maximum(best_worth(alone), best_worth(dropping))


def _share_left(part: Floats, whole: Floats) -> Floats:
    """Share of the hits that writes leave; 1 where there are no hits.

    With a short TTL a drop can even add hits, because the next entry is filled at a better time; at most 1.
    """
    return np.minimum(np.where(whole > 0.0, part / np.maximum(whole, 1e-9), 1.0), 1.0)
