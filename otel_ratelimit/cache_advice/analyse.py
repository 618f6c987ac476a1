"""The analysis of a day: replay it, estimate, choose what to cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from otel_ratelimit.cache_advice.advice import Adviser
from otel_ratelimit.cache_advice.cacheable import CacheableCounts, Reason
from otel_ratelimit.cache_advice.entry_memory import entry_bytes
from otel_ratelimit.cache_advice.estimate import estimate
from otel_ratelimit.cache_advice.hit_ratio_surface import hit_ratio_surface
from otel_ratelimit.cache_advice.live_entries import LiveEntries
from otel_ratelimit.cache_advice.query_day import (
    Executions,
    Floats,
    HotExecutions,
    QueryDay,
    Template,
)
from otel_ratelimit.cache_advice.replay_cold import ColdReplay
from otel_ratelimit.cache_advice.replay_context import ReplayContext
from otel_ratelimit.cache_advice.replay_counts import ReplayCounts
from otel_ratelimit.cache_advice.replay_hot import HotReplay
from otel_ratelimit.cache_advice.replay_trace import TraceSample
from otel_ratelimit.cache_advice.result import CacheAnalysis, NotCacheable, Sample, TemplateResult
from otel_ratelimit.cache_advice.sampled_keys import SampledKeys
from otel_ratelimit.cache_advice.table_writes import WrittenTables
from otel_ratelimit.cache_advice.template_peak_memory import Peaks
from otel_ratelimit.cache_advice.ttl_candidates import TTL_SECONDS
from otel_ratelimit.core.cache_assumptions import Assumptions

TOP: Final = 10
_A_REPEAT: Final = 0.5
"""A smaller estimate of repeats stands for no repeat."""


def analyze_cache_potential(
    day: QueryDay,
    assumptions: Assumptions | None = None,
    *,
    ttls: tuple[int, ...] = TTL_SECONDS,
    report: Callable[[str], None] = lambda _: None,
) -> CacheAnalysis:
    """Analyse the gain and cost of a cache in front of the database on `day`.

    The time grows with the number of rows, and the memory with the number of keys that were hot at some time;
    only one piece of the rows is in memory at a time.

    Args:
        day: rows, counts and writes of a day.
        assumptions: what is assumed of the cache; the defaults if not given.
        ttls: TTLs to try, seconds, rising.
        report: called with a sentence about each step.
    """
    return _Analysis(day, assumptions or Assumptions(), ttls, report).result()


@dataclass(slots=True)
class _Seen:
    rows: int = 0
    hot_keys: int = 0


class _Analysis:
    def __init__(
        self, day: QueryDay, assumptions: Assumptions, ttls: tuple[int, ...], report: Callable[[str], None]
    ) -> None:
        self._day = day
        self._assumptions = assumptions
        self._ttls = ttls
        self._report = report
        self._templates = day.templates
        self._start = int(day.period.start.timestamp())
        self._seconds = int(day.period.end.timestamp()) - self._start
        self._written = WrittenTables(self._templates, day.writes, self._start, self._seconds)
        self._reasons = CacheableCounts(self._templates)
        self._seen = _Seen()
        self._mean_bytes = np.array([template.mean_result_bytes for template in self._templates])
        self._trace = TraceSample(self._start, self._stored, self._mean_bytes)
        self._hot, self._cold = (ReplayCounts(len(self._templates), len(ttls)) for _ in range(2))
        self._hot_live, self._cold_live = (
            LiveEntries(ttls, self._seconds, day.lowest_rate) for _ in range(2)
        )

    def result(self) -> CacheAnalysis:
        self._replay()
        by_reason = self._reasons.calibrated(self._day.counts)
        found = estimate(self._hot, self._cold, by_reason[:, Reason.CACHEABLE])
        self._hot_live.add(self._cold_live, found.cold_factor)
        trace = self._trace.trace()
        peaks = Peaks(self._hot_live, trace, self._assumptions)
        adviser = Adviser(self._templates, found, peaks, self._written.total(), self._assumptions, self._ttls)
        by_ttl = adviser.all_together()
        planned = adviser.plan()
        self._report("simulating the cache with less memory")
        surface = hit_ratio_surface(trace, by_ttl, self._assumptions)
        executions, unique = float(found.executions.sum()), float(found.unique.sum())
        return CacheAnalysis(
            period_start=self._day.period.start,
            period_end=self._day.period.end,
            engine=self._assumptions.engine,
            all_executions=round(float(by_reason.sum())),
            database_ms=self._reasons.took_us(by_reason) / 1_000.0,
            executions=executions,
            unique=unique,
            duplicates=executions - unique,
            duplicate_percentage=100.0 * (executions - unique) / executions if executions else 0.0,
            not_cacheable=_not_cacheable(by_reason, self._templates),
            by_ttl=by_ttl,
            plan=planned.advice,
            planned_templates=planned.templates,
            most_repeated=_top(found.executions - found.unique, adviser, least=_A_REPEAT),
            most_worth=_top(adviser.worth(), adviser, least=0.0),
            surface=surface,
            sample=Sample(
                rows=self._seen.rows,
                hot_keys=self._seen.hot_keys,
                lowest_rate=self._day.lowest_rate,
                dropped=sum(count.dropped for count in self._day.counts.values()),
            ),
            held_back=adviser.held_back(),
        )

    def _replay(self) -> None:
        context = ReplayContext(
            sampled=SampledKeys(self._day.lowest_rate),
            ttls=self._ttls,
            written=self._written,
            start=self._start,
            seconds=self._seconds,
            entry_bytes=self._stored,
            mean_bytes=self._mean_bytes,
        )
        hot = HotReplay(self._hot, self._cold, self._hot_live, self._cold_live, context)

        def take_hot(piece: HotExecutions) -> None:
            chosen = self._cacheable_hot(piece)
            hot.add(chosen)
            self._trace.add_hot(chosen)

        self._day.hot(take_hot)
        hot.finish()
        self._seen.hot_keys = hot.keys
        cold = ColdReplay(self._cold, self._cold_live, context)

        def take_cold(rows: Executions) -> None:
            chosen = self._cacheable(rows)
            cold.add(chosen)
            self._trace.add_cold(chosen)
            self._report(f"{self._seen.rows:,} rows replayed")

        self._day.cold(take_cold)

    def _stored(self, result_bytes: Floats) -> Floats:
        """Bytes of the cache entries for results of these sizes."""
        assumed = self._assumptions
        values = np.rint(assumed.size_factor * result_bytes).astype(np.int64)
        return entry_bytes(assumed.engine, assumed.key_bytes, values, allocator=assumed.allocator)

    def _cacheable(self, rows: Executions) -> Executions:
        self._seen.rows += len(rows)
        reason = self._reasons.add(rows)
        return rows if not reason.any() else rows.where(reason == Reason.CACHEABLE)

    def _cacheable_hot(self, piece: HotExecutions) -> HotExecutions:
        self._seen.rows += len(piece.rows)
        chosen = self._reasons.add(piece.rows) == Reason.CACHEABLE
        return piece if chosen.all() else piece.where(chosen)


def _not_cacheable(by_reason: Floats, templates: Sequence[Template]) -> tuple[NotCacheable, ...]:
    everything = float(by_reason.sum())
    found = [
        NotCacheable(
            reason=reason.name.lower(),
            executions=float(by_reason[:, reason].sum()),
            share=float(by_reason[:, reason].sum()) / everything,
            example=templates[int(by_reason[:, reason].argmax())].text,
        )
        for reason in Reason
        if reason is not Reason.CACHEABLE and by_reason[:, reason].any()
    ]
    return tuple(sorted(found, key=lambda each: -each.executions))


def _top(of: Floats, adviser: Adviser, *, least: float) -> tuple[TemplateResult, ...]:
    order = np.argsort(-of, kind="stable")[:TOP]
    return tuple(adviser.template(int(place)) for place in order if of[place] > least)
