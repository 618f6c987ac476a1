"""The sentences of the advice: why caching pays, or why it does not."""

from __future__ import annotations

from typing import Final

import numpy as np

from otel_ratelimit.cache_advice.estimate import Estimates
from otel_ratelimit.cache_advice.number_format import apart, counted, milliseconds
from otel_ratelimit.cache_advice.query_day import Bools, Floats, Ints
from otel_ratelimit.cache_advice.result import AtTtl, ObstacleName
from otel_ratelimit.cache_advice.savings import saved_ms
from otel_ratelimit.cache_advice.ttl import TtlChoice
from otel_ratelimit.core.cache_assumptions import Assumptions

_US: Final = 1_000.0
_A_HIT: Final = 0.5
"""A smaller estimate of hits stands for no hit."""


class PlanReasons:
    """Why templates are worth caching.

    Args:
        found: the estimates of the day.
        writes: writes to the tables of each template.
        choice: the TTL of each template.
        assumptions: what is assumed of the cache.
    """

    def __init__(self, found: Estimates, writes: Ints, choice: TtlChoice, assumptions: Assumptions) -> None:
        self._found = found
        self._writes = writes
        self._choice = choice
        self._assumptions = assumptions

    def plan(self, place: int, chosen: Bools) -> str:
        """Why the chosen templates are chosen.

        Some of them may save no time, but only load of the database that is worth more.

        Args:
            place: place of the one TTL for all of them.
            chosen: by template.
        """
        choice = self._choice
        invalidated = chosen & choice.invalidates
        saved = np.where(
            choice.invalidates, choice.saved_ms_invalidating[:, place], choice.saved_ms[:, place]
        )
        why = self._plan_saves(saved[chosen])
        if not invalidated.any():
            return why
        count = int(invalidated.sum())
        return f"{why}; {count} of them need their cached answers dropped when their tables are written"

    def ttl_alone(self, template: int, at: AtTtl) -> str:
        """Why a TTL alone is enough for a template."""
        if not self._writes[template]:
            return "nothing that it reads was written in that time; the TTL says how old an answer may be"
        return f"{100 * at.stale_by_table:.2g} % of the answers would be older than a write, at most"

    def invalidation(self, template: int) -> str:
        """Why writes must drop the cached answers of a template."""
        written = f"its tables were written {counted(float(self._writes[template]), 'time', 'times')}"
        budget = f"{100 * self._assumptions.stale_budget:.3g} %"
        alone = int(self._choice.worth_alone[template].argmax())
        if self._choice.worth_alone[template, alone] <= 0.0:
            return (
                f"{written}: with any TTL that pays, more than {budget} of the answers would be older than a"
                " write, so that writes must drop them"
            )
        saved = float(self._choice.saved_ms[template, alone])
        saves = (
            f"it would save {milliseconds(saved)} only"
            if saved > 0.0
            else f"asking the cache would take {milliseconds(-saved)} longer than its answers save"
        )
        return (
            f"{written}: with a TTL alone that keeps all but {budget} of the answers fresh {saves}; so writes"
            " must drop them"
        )

    def _plan_saves(self, saved: Floats) -> str:
        executed = counted(float((self._found.executions > 0).sum()), "template", "templates")
        one, slower, whole = len(saved) == 1, int((saved <= 0.0).sum()), float(saved.sum())
        of = f"{len(saved)} of {executed}"
        if not slower:
            return f"{of} {'saves' if one else 'save'} time with it"
        if whole <= 0.0:
            longer = f"asking the cache takes {milliseconds(-whole)} longer than its answers save"
        elif slower == 1:
            longer = "1 of them takes longer to ask than its answers save"
        else:
            longer = f"{slower} of them take longer to ask than their answers save"
        return f"{of} {'is' if one else 'are'} worth it for the time of the database: {longer}"


class ObstacleReasons:
    """Why templates are not worth caching.

    Args:
        found: the estimates of the day.
        writes: writes to the tables of each template.
        assumptions: what is assumed of the cache.
    """

    def __init__(self, found: Estimates, writes: Ints, assumptions: Assumptions) -> None:
        self._found = found
        self._writes = writes
        self._assumptions = assumptions
        self._saved_ms = saved_ms(found.executions, found.hits, found.hit_us, assumptions)

    def why_not(self, template: int, obstacles: tuple[ObstacleName, ...]) -> str:
        """Why caching it does not pay.

        Args:
            template: place of the template.
            obstacles: the obstacles that decide; at least one.
        """
        said = [self._obstacle(template, name) for name in obstacles]
        if len(said) > 1:
            return "; and ".join(said)
        [only] = obstacles
        return said[0] + self._so_that(template, only)

    def _obstacle(self, template: int, name: ObstacleName) -> str:
        executions = float(self._found.executions[template])
        hits = float(self._found.hits[template, self._best(template)])
        if name == "not_executed":
            return "it was not executed"
        if name == "not_measured":
            return "the database took no measurable time for it"
        if name == "writes":
            return f"its tables were written {counted(float(self._writes[template]), 'time', 'times')}"
        if name == "memory_price":
            return "the memory for its answers costs more than they bring"
        if name == "few_repeats":
            of = counted(executions, "execution", "executions")
            asks = f"only {round(hits):,} of its {of} would be hits"
            return f"none of its {of} repeats an earlier one" if hits < _A_HIT else asks
        mean_ms = float(self._found.duration_us[template] / executions) / _US
        database, cache = apart(mean_ms, self._assumptions.lookup_ms, milliseconds, 3)
        return f"the database answers in {database} on average, the cache in {cache}"

    def _so_that(self, template: int, name: ObstacleName) -> str:
        """The figures behind the one obstacle that decides."""
        if name == "writes":
            return self._if_written(template)
        place = self._best(template)
        hits = float(self._found.hits[template, place])
        if (
            name not in {"few_repeats", "small_gain"}
            or hits < _A_HIT
            or self._saved_ms[template, place] > 0.0
        ):
            return ""
        hit_ms = float(self._found.hit_us[template, place]) / _US
        asking = hit_ms - float(self._saved_ms[template, place])
        saves, takes = apart(hit_ms, asking, milliseconds, 3)
        return (
            f": {counted(hits, 'hit saves', 'hits save')} the database {saves}, and asking and filling the"
            f" cache takes {takes}"
        )

    def _if_written(self, template: int) -> str:
        found, writes = self._found, float(self._writes[template])
        place, left = self._best(template), int(found.dropped_hits[template].argmax())
        dropping = saved_ms(found.executions, found.dropped_hits, found.dropped_hit_us, self._assumptions)[
            template
        ]
        if dropping.max() > 0.0:
            drops = milliseconds(writes * self._assumptions.lookup_ms)
            return (
                f": dropping its cached answers each time takes {drops}, and its"
                f" {counted(float(found.dropped_hits[template, left]), 'hit saves', 'hits save')}"
                f" {milliseconds(float(dropping.max()))}"
            )
        hits = counted(float(found.hits[template, place]), "hit", "hits")
        saved = float(self._saved_ms[template, place])
        unwritten = f"it would save {milliseconds(saved)}"
        if saved <= 0.0:
            unwritten = f"the database would save {milliseconds(float(found.hit_us[template, place]) / _US)}"
        return (
            f": {round(float(found.dropped_hits[template, left])):,} of {hits} would be left, too few to make"
            f" up for asking and filling the cache; unwritten {unwritten}"
        )

    def _best(self, template: int) -> int:
        """Place of the TTL that would save most if no table were written."""
        return int(self._saved_ms[template].argmax())
