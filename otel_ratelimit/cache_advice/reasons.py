"""Why caching a template does not pay, in a sentence whose figures are those of its row."""

from __future__ import annotations

from typing import Final

from otel_ratelimit.cache_advice.estimate import Estimates
from otel_ratelimit.cache_advice.number_format import apart, counted, milliseconds
from otel_ratelimit.cache_advice.query_day import Ints
from otel_ratelimit.cache_advice.result import ObstacleName
from otel_ratelimit.cache_advice.savings import saved_ms
from otel_ratelimit.core.cache_assumptions import Assumptions

_US: Final = 1_000.0
_A_HIT: Final = 0.5


class Sentences:
    """Of the templates of a day.

    Args:
        found: what was estimated of them.
        writes: to their tables, by template.
        assumed: of the cache.
    """

    def __init__(self, found: Estimates, writes: Ints, assumed: Assumptions) -> None:
        self._found = found
        self._writes = writes
        self._assumed = assumed
        self._saved_ms = saved_ms(found.executions, found.hits, found.hit_us, assumed)

    def why_not(self, template: int, obstacles: tuple[ObstacleName, ...]) -> str:
        """Why caching it does not pay.

        Args:
            template: its place.
            obstacles: those that decide.
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
            return f"none of its {of} asks what was asked before" if hits < _A_HIT else asks
        mean_ms = float(self._found.duration_us[template] / executions) / _US
        database, cache = apart(mean_ms, self._assumed.lookup_ms, milliseconds, 3)
        return f"the database answers in {database} on average, the cache in {cache}"

    def _so_that(self, template: int, name: ObstacleName) -> str:
        """What follows from the one that decides, in figures."""
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
        dropping = saved_ms(found.executions, found.dropped_hits, found.dropped_hit_us, self._assumed)[
            template
        ]
        if dropping.max() > 0.0:
            drops = milliseconds(writes * self._assumed.lookup_ms)
            return (
                f": to drop what is cached each time takes {drops}, and its"
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
        """Place of the TTL that would save most if nothing were written."""
        return int(self._saved_ms[template].argmax())
