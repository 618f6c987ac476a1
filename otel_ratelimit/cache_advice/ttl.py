"""How the TTL is chosen: the shortest one that brings nearly everything, and whose answers are fresh enough.

Two ways to cache a template are compared.

TTL alone      Only those TTLs are allowed with which few enough answers are older than a write to one of the
               template's tables (`Assumptions.stale_budget`).
invalidation   Every TTL is allowed, and each write drops the cached answers of its tables. That costs hits, a
               request to the cache for each write, and code; so it must bring clearly more than a TTL alone.

Which TTLs are tried is in `ttl_candidates.py`, and what one of them is worth in `savings.py`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from otel_ratelimit.cache_advice.estimate import Estimates
from otel_ratelimit.cache_advice.query_day import Bools, Floats, Ints
from otel_ratelimit.cache_advice.savings import best_worth, saved_ms, worth
from otel_ratelimit.core.cache_assumptions import Assumptions

NEARLY_ALL: Final = 0.95
"""A longer TTL that adds less than the rest is not worth its memory, nor the age of its answers."""
CLEARLY_MORE: Final = 1.25
"""Invalidation must bring this many times what a TTL alone brings."""


class TtlChoice:
    """The TTL of each template, whether writes invalidate its answers, and one TTL for all templates.

    TTLs are given by their place among the candidates. Arrays are by template, or by template and TTL.

    Args:
        found: the estimates of the day.
        writes: writes to the tables of each template.
        assumptions: what is assumed of the cache.
    """

    def __init__(self, found: Estimates, writes: Ints, assumptions: Assumptions) -> None:
        self.saved_ms: Floats = saved_ms(found.executions, found.hits, found.hit_us, assumptions)
        """With a TTL alone."""
        deletes_ms = (writes * assumptions.lookup_ms)[:, None]
        self.saved_ms_invalidating: Floats = (
            saved_ms(found.executions, found.dropped_hits, found.dropped_hit_us, assumptions) - deletes_ms
        )
        self.stale_share: Floats = np.where(found.hits > 0.0, found.stale / np.maximum(found.hits, 1e-9), 0.0)
        """Share of the hits that are older than a write, with a TTL alone."""
        is_fresh = self.stale_share <= assumptions.stale_budget
        alone = worth(self.saved_ms, found.hit_us, found.byte_seconds, assumptions)
        self.worth_alone: Floats = np.where(is_fresh, alone, 0.0)
        """0 where too many answers would be stale."""
        invalidating = worth(
            self.saved_ms_invalidating, found.dropped_hit_us, found.byte_seconds, assumptions
        )
        self.invalidates: Bools = (writes > 0) & (
            best_worth(invalidating) > CLEARLY_MORE * best_worth(self.worth_alone)
        )
        self.worth: Floats = np.where(self.invalidates[:, None], invalidating, self.worth_alone)
        """In the better one of the two ways."""
        self.places = [shortest_ttl(each) for each in self.worth]
        """By template; None where caching does not pay."""

    def place_for_all(self) -> int | None:
        """The one TTL that suits all templates best; None where caching pays for none of them.

        Each template is cached in its own better way.
        """
        return shortest_ttl(np.maximum(self.worth, 0.0).sum(axis=0))

    def chosen_worth(self) -> Floats:
        """The gain of each template with its own TTL; 0 where caching does not pay."""
        return np.array(
            [0.0 if at is None else self.worth[template, at] for template, at in enumerate(self.places)]
        )


def shortest_ttl(worth_by_ttl: Floats) -> int | None:
    """The first place that brings nearly as much as the best one; None where none brings anything."""
    best = float(worth_by_ttl.max(initial=0.0))
    return int(np.argmax(worth_by_ttl >= NEARLY_ALL * best)) if best > 0.0 else None
