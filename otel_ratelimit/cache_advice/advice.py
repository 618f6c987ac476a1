"""What to cache, for how long, and whether writes must drop it.

Per template two ways are compared. With a TTL alone, those TTLs are allowed with which few enough answers are
older than a write to one of the tables. With invalidation every TTL is allowed, and each write drops what was
cached of its tables, which costs hits, a request to the cache, and code; so it must bring clearly more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from otel_ratelimit.cache_advice.estimate import Estimates, half_width
from otel_ratelimit.cache_advice.number_format import counted, milliseconds
from otel_ratelimit.cache_advice.obstacles import Obstacles
from otel_ratelimit.cache_advice.query_day import Bools, Floats, Ints, Template
from otel_ratelimit.cache_advice.reasons import Sentences
from otel_ratelimit.cache_advice.result import Advice, AtTtl, HeldBack, ObstacleName, TemplateResult
from otel_ratelimit.cache_advice.savings import most, saved_ms, worth
from otel_ratelimit.cache_advice.template_peak_memory import Peaks
from otel_ratelimit.cache_advice.ttl import shortest
from otel_ratelimit.core.cache_assumptions import Assumptions

CLEARLY_MORE: Final = 1.25
"""Invalidation has to bring so many times what the TTL alone does."""
_US: Final = 1_000.0


class Planned(NamedTuple):
    """What to cache of all templates, with one TTL."""

    advice: Advice | None
    templates: int


class Adviser:
    """Weighs the ways to cache.

    Args:
        templates: of the day.
        found: what was estimated of them.
        peaks: entries and bytes when these are the most.
        writes: to their tables, by template.
        assumptions: of the cache.
        ttls: seconds.
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
        self._assumptions = assumptions
        self._ttls = ttls
        self._peaks = peaks
        self._stale_share = _share(found.stale, found.hits)
        # Each write drops one entry of each template at most, and so causes one miss at most.
        lost = np.minimum(found.hits - found.dropped_hits, writes[:, None])
        self._hits_by_row = np.maximum(found.hits - np.maximum(lost, 0.0), found.dropped_hits)
        self._stale_by_row = np.minimum(found.stale, found.overtaken / np.maximum(found.unique, 1.0)[:, None])
        self.saved_ms = saved_ms(found.executions, found.hits, found.hit_us, assumptions)
        """By template and TTL."""
        deletes = (writes * assumptions.lookup_ms)[:, None]
        self.saved_ms_invalidating = (
            saved_ms(found.executions, found.dropped_hits, found.dropped_hit_us, assumptions) - deletes
        )
        allowed = self._stale_share <= assumptions.stale_budget
        alone = np.where(allowed, self._worth(self.saved_ms, found.hit_us), 0.0)
        invalidating = self._worth(self.saved_ms_invalidating, found.dropped_hit_us)
        # Whether writes are to drop what was cached of it: that brings clearly more than a TTL alone.
        self._drops: Bools = (writes > 0) & (most(invalidating) > CLEARLY_MORE * most(alone))
        self._best = np.where(self._drops[:, None], invalidating, alone)
        self._chosen = [shortest(brings) for brings in self._best]
        """Place of the TTL by template; None where caching it does not pay."""
        self._alone = alone
        self._obstacles = Obstacles(found, writes, self._stale_share, assumptions)
        self._sentences = Sentences(found, writes, assumptions)

    def all_together(self) -> tuple[AtTtl, ...]:
        """If everything went through the cache and writes dropped nothing, by TTL."""
        everything = np.ones(len(self._templates), dtype=np.bool_)
        return tuple(self._at(place, everything, ~everything) for place in range(len(self._ttls)))

    def plan(self) -> Planned:
        """Those templates for which it pays, with the TTL that suits them best together."""
        # Each template in the way that its own advice takes, whatever the TTL is that suits all.
        together = np.maximum(self._best, 0.0).sum(axis=0)
        place = shortest(together)
        if place is None:
            return Planned(None, 0)
        chosen = self._best[:, place] > 0.0
        dropping = chosen & self._drops
        at = self._at(place, chosen, dropping)
        of_all = float(self._found.executions.sum())
        asked = float(self._found.executions[chosen].sum())
        # Of all that a cache could answer, whatever is not worth asking it.
        whole = at.model_copy(
            update={
                name: getattr(at, name) * asked / of_all
                for name in (
                    *("hit_ratio", "hit_ratio_low", "hit_ratio_high"),
                    *("hit_ratio_dropped", "hit_ratio_dropped_by_row"),
                )
            }
        )
        count = int(chosen.sum())
        why = self._why_planned(place, chosen)
        if dropping.any():
            why += (
                f"; {int(dropping.sum())} of them need what is cached dropped when their tables are written"
            )
        return Planned(Advice(invalidate=bool(dropping.any()), at=whole, reason=why), count)

    def _why_planned(self, place: int, chosen: Bools) -> str:
        """What the chosen templates are chosen for: not all that is worth money saves time."""
        saved = np.where(self._drops, self.saved_ms_invalidating[:, place], self.saved_ms[:, place])
        count, slower = int(chosen.sum()), int((chosen & (saved <= 0.0)).sum())
        of = f"{count} of {counted(float((self._found.executions > 0).sum()), 'template', 'templates')}"
        one = count == 1
        if not slower:
            return f"{of} {'saves' if one else 'save'} time with it"
        longer = (
            f"asking the cache takes {milliseconds(-float(saved[chosen].sum()))} longer than its answers save"
            if saved[chosen].sum() <= 0.0
            else f"{slower} of them {'takes' if slower == 1 else 'take'} longer to ask than"
            f" {'its' if slower == 1 else 'their'} answers save"
        )
        return f"{of} {'is' if one else 'are'} worth it for the time of the database: {longer}"

    def template(self, place: int) -> TemplateResult:
        """All that is said of one template."""
        found, template = self._found, self._templates[place]
        executions, unique = float(found.executions[place]), float(found.unique[place])
        obstacles = self._obstacles.of(place) if self._chosen[place] is None else ()
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
            not_worth=self._sentences.why_not(place, obstacles) if obstacles else "",
            obstacles=obstacles,
            by_ttl=tuple(self._one(at, place, invalidate=False) for at in range(len(self._ttls))),
        )

    def best_worth(self) -> Floats:
        """What the advice for each template brings, in what it was chosen by; 0 where there is none."""
        return np.array(
            [0.0 if at is None else self._best[template, at] for template, at in enumerate(self._chosen)]
        )

    def held_back(self) -> tuple[HeldBack, ...]:
        """Templates that were executed and are not worth caching, by what decides."""
        templates: Counter[tuple[ObstacleName, ...]] = Counter()
        executions: Counter[tuple[ObstacleName, ...]] = Counter()
        for template, at in enumerate(self._chosen):
            if at is None and self._found.executions[template] > 0.0:
                deciding = self._obstacles.of(template)
                templates[deciding] += 1
                executions[deciding] += float(self._found.executions[template])  # type: ignore[assignment]
        return tuple(
            HeldBack(obstacles=deciding, templates=templates[deciding], executions=of)
            for deciding, of in executions.most_common()
        )

    def _advice(self, template: int) -> Advice | None:
        place, invalidate = self._chosen[template], bool(self._drops[template])
        if place is None:
            return None
        at = self._one(place, template, invalidate=invalidate)
        reason = self._why_invalidate(template) if invalidate else self._why_alone(template, at)
        return Advice(invalidate=invalidate, at=at, reason=reason)

    def _why_alone(self, template: int, at: AtTtl) -> str:
        if not self._writes[template]:
            return "nothing that it reads was written in that time; the TTL says how old an answer may be"
        return f"{100 * at.stale_by_table:.2g} % of the answers would be older than a write, at most"

    def _why_invalidate(self, template: int) -> str:
        written = f"its tables were written {counted(float(self._writes[template]), 'time', 'times')}"
        budget = f"{100 * self._assumptions.stale_budget:.3g} %"
        alone = int(self._alone[template].argmax())
        if self._alone[template, alone] <= 0.0:
            return (
                f"{written}: with any TTL that pays, more than {budget} of the answers would be older than a"
                " write, so that writes must drop them"
            )
        return (
            f"{written}: with a TTL alone that keeps all but {budget} of the answers fresh"
            f" {self._saves(float(self.saved_ms[template, alone]))}; so writes must drop them"
        )

    @staticmethod
    def _saves(saved: float) -> str:
        if saved > 0.0:
            return f"it would save {milliseconds(saved)} only"
        return f"asking the cache would take {milliseconds(-saved)} longer than its answers save"

    def _one(self, place: int, template: int, *, invalidate: bool) -> AtTtl:
        chosen = np.zeros(len(self._templates), dtype=np.bool_)
        chosen[template] = True
        return self._at(place, chosen, chosen if invalidate else ~np.ones_like(chosen))

    def _at(self, place: int, chosen: Bools, invalidate: Bools) -> AtTtl:
        """The cache with one TTL for the chosen templates, of which some are dropped by writes."""
        found = self._found
        executions = float(found.executions[chosen].sum())
        hits_each = np.where(invalidate, found.dropped_hits[:, place], found.hits[:, place])[chosen]
        hit_us = np.where(invalidate, found.dropped_hit_us[:, place], found.hit_us[:, place])[chosen]
        saved = np.where(invalidate, self.saved_ms_invalidating[:, place], self.saved_ms[:, place])[chosen]
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

    def _worth(self, saved: Floats, hit_us: Floats) -> Floats:
        return worth(saved, hit_us, self._found.byte_seconds, self._assumptions)


def _share(part: Floats, whole: Floats) -> Floats:
    return np.where(whole > 0.0, part / np.maximum(whole, 1e-9), 0.0)
