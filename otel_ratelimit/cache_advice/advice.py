"""The advice for each template (whether to cache it, its TTL, whether writes must drop it), and the plan.

The TTL is chosen in `ttl.py`; the sentences are in `reasons.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from otel_ratelimit.cache_advice.estimate import Estimates, half_width
from otel_ratelimit.cache_advice.obstacles import Obstacles
from otel_ratelimit.cache_advice.query_day import Bools, Floats, Ints, Template
from otel_ratelimit.cache_advice.reasons import ObstacleReasons, PlanReasons
from otel_ratelimit.cache_advice.result import Advice, AtTtl, HeldBack, ObstacleName, TemplateResult
from otel_ratelimit.cache_advice.template_peak_memory import Peaks
from otel_ratelimit.cache_advice.ttl import TtlChoice
from otel_ratelimit.core.cache_assumptions import Assumptions

_US: Final = 1_000.0
_RATIOS: Final = (
    "hit_ratio",
    "hit_ratio_low",
    "hit_ratio_high",
    "hit_ratio_dropped",
    "hit_ratio_dropped_by_row",
)


class Plan(NamedTuple):
    """One cache, with one TTL, for all templates that are worth it."""

    advice: Advice | None
    templates: int


class Adviser:
    """Weighs the ways to cache the templates of a day.

    Args:
        templates: the templates.
        found: their estimates.
        peaks: their entries and bytes at the fullest time.
        writes: writes to the tables of each template.
        assumptions: what is assumed of the cache.
        ttls: TTLs to try, seconds.
    """

    def __init__(
        self,
        templates: Sequence[Template],
        found: Estimates,
        peaks: Peaks,
        writes: Ints,
        assumptions: Assumptions,
        ttls: Sequence[int],
    ) -> None:
        self._templates = templates
        self._found = found
        self._writes = writes
        self._ttls = ttls
        self._peaks = peaks
        # Each write drops at most one entry of each template, and so causes at most one miss.
        lost = np.minimum(found.hits - found.dropped_hits, writes[:, None])
        self._hits_by_row = np.maximum(found.hits - np.maximum(lost, 0.0), found.dropped_hits)
        self._stale_by_row = np.minimum(found.stale, found.overtaken / np.maximum(found.unique, 1.0)[:, None])
        self._choice = TtlChoice(found, writes, assumptions)
        self._obstacles = Obstacles(found, writes, self._choice.stale_share, assumptions)
        self._why = PlanReasons(found, writes, self._choice, assumptions)
        self._why_not = ObstacleReasons(found, writes, assumptions)

    def all_together(self) -> tuple[AtTtl, ...]:
        """A cache that all templates go through and that writes drop nothing of, by TTL."""
        everything = np.ones(len(self._templates), dtype=np.bool_)
        return tuple(self._at(place, everything, ~everything) for place in range(len(self._ttls)))

    def plan(self) -> Plan:
        """One cache for the templates that are worth it, with the TTL that suits them best together."""
        place = self._choice.place_for_all()
        if place is None:
            return Plan(None, 0)
        chosen = self._choice.worth[:, place] > 0.0
        invalidated = chosen & self._choice.invalidates
        at = self._at(place, chosen, invalidated)
        # Ratios are of all executions that a cache could answer, not only of those that go through it.
        part = float(self._found.executions[chosen].sum()) / float(self._found.executions.sum())
        whole = at.model_copy(update={name: getattr(at, name) * part for name in _RATIOS})
        reason = self._why.plan(place, chosen)
        return Plan(Advice(invalidate=bool(invalidated.any()), at=whole, reason=reason), int(chosen.sum()))

    def template(self, place: int) -> TemplateResult:
        """Everything that the report says about one template."""
        found, template = self._found, self._templates[place]
        executions, unique = float(found.executions[place]), float(found.unique[place])
        obstacles = self._obstacles.of(place) if self._choice.places[place] is None else ()
        return TemplateResult(
            template_hash=str(template.hash),
            template=template.text,
            database=template.database,
            tables=template.tables,
            executions=executions,
            unique=unique,
            duplicates=executions - unique,
            mean_duration_ms=float(found.duration_us[place]) / executions / _US if executions else 0.0,
            mean_result_bytes=template.mean_result_bytes,
            writes=int(self._writes[place]),
            has_own_share=bool(found.is_own[place]),
            advice=self._advice(place),
            not_worth=self._why_not.why_not(place, obstacles) if obstacles else "",
            obstacles=obstacles,
            by_ttl=tuple(self._one(at, place, invalidate=False) for at in range(len(self._ttls))),
        )

    def worth(self) -> Floats:
        """The gain from the advice for each template; 0 where there is no advice."""
        return self._choice.chosen_worth()

    def held_back(self) -> tuple[HeldBack, ...]:
        """Templates that were executed and are not worth caching, by the obstacles that decide."""
        templates: Counter[tuple[ObstacleName, ...]] = Counter()
        executions: dict[tuple[ObstacleName, ...], float] = {}
        for template, place in enumerate(self._choice.places):
            if place is None and self._found.executions[template] > 0.0:
                deciding = self._obstacles.of(template)
                templates[deciding] += 1
                executions[deciding] = executions.get(deciding, 0.0) + float(self._found.executions[template])
        found = [
            HeldBack(obstacles=deciding, templates=templates[deciding], executions=of)
            for deciding, of in executions.items()
        ]
        return tuple(sorted(found, key=lambda each: -each.executions))

    def _advice(self, template: int) -> Advice | None:
        place, invalidate = self._choice.places[template], bool(self._choice.invalidates[template])
        if place is None:
            return None
        at = self._one(place, template, invalidate=invalidate)
        reason = self._why.invalidation(template) if invalidate else self._why.ttl_alone(template, at)
        return Advice(invalidate=invalidate, at=at, reason=reason)

    def _one(self, place: int, template: int, *, invalidate: bool) -> AtTtl:
        chosen = np.zeros(len(self._templates), dtype=np.bool_)
        chosen[template] = True
        return self._at(place, chosen, chosen if invalidate else ~np.ones_like(chosen))

    def _at(self, place: int, chosen: Bools, invalidate: Bools) -> AtTtl:
        """The cache with one TTL for the chosen templates; writes drop the entries of some of them."""
        found, choice = self._found, self._choice
        executions = float(found.executions[chosen].sum())
        hits_each = np.where(invalidate, found.dropped_hits[:, place], found.hits[:, place])[chosen]
        hit_us = np.where(invalidate, found.dropped_hit_us[:, place], found.hit_us[:, place])[chosen]
        saved = np.where(invalidate, choice.saved_ms_invalidating[:, place], choice.saved_ms[:, place])[
            chosen
        ]
        hits = float(hits_each.sum())
        of = executions or 1.0
        ratio = hits / of
        variance = found.whole_variance[place] if chosen.all() else found.variance[chosen, place].sum()
        width = float(half_width(variance, executions))
        served = float(found.hits[chosen, place].sum()) or 1.0
        still = ~invalidate[chosen]
        share = float(found.byte_seconds[chosen, place].sum()) / (
            float(found.byte_seconds[:, place].sum()) or 1.0
        )
        keys, size = self._peaks.of(place, chosen, keys=float(found.unique[chosen].sum()), share=share)
        return AtTtl(
            ttl_seconds=self._ttls[place],
            asked=executions,
            hits=hits,
            hit_ratio=ratio,
            hit_ratio_low=max(ratio - width, 0.0),
            hit_ratio_high=min(ratio + width, 1.0),
            hit_ratio_dropped=float(found.dropped_hits[chosen, place].sum()) / of,
            hit_ratio_dropped_by_row=float(self._hits_by_row[chosen, place].sum()) / of,
            stale_by_table=float((found.stale[chosen, place] * still).sum()) / served,
            stale_by_row=float((self._stale_by_row[chosen, place] * still).sum()) / served,
            peak_keys=keys,
            peak_bytes=size,
            latency_saved_ms=float(saved.sum()),
            database_saved_ms=float(hit_us.sum()) / _US,
        )
