"""A report as strings in reading order; the mail, the page and the terminal only arrange them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.cache_advice.result import CacheAnalysis
from otel_ratelimit.cache_advice.stored_reports import DayInBrief
from otel_ratelimit.reports.rendering import formatting, phrases
from otel_ratelimit.reports.rendering.comparison import ComparisonTable, comparison_table
from otel_ratelimit.reports.rendering.covered_time import CoveredTime, covered_time
from otel_ratelimit.reports.rendering.hit_ratio_tables import (
    SurfaceTable,
    TtlRow,
    all_figures,
    surface_table,
    ttl_rows,
    until_plateau,
)
from otel_ratelimit.reports.rendering.labelled_figures import (
    LabelledFigure,
    assumption_figures,
    currency_of,
    key_figures,
    sample_figures,
)
from otel_ratelimit.reports.rendering.query_entries import QueryEntries, Repeated, ToCache
from otel_ratelimit.reports.rendering.verdict import Verdict, verdict_of

MIN_TREND_DAYS: Final = 2
"""A trend of fewer days is not shown."""
_NONE: Final = "-"


@dataclass(frozen=True, slots=True)
class NotCacheableRow:
    """Executions that no cache can answer, for one reason."""

    why: str
    executions: str
    share: str
    example: str


@dataclass(frozen=True, slots=True)
class CostRow:
    """One way to have a cache."""

    name: str
    month: str
    money: float
    is_cheapest: bool


@dataclass(frozen=True, slots=True)
class TrendRow:
    """One day of the trend."""

    day: str
    cacheable: str
    """Executions that a cache could answer; the other figures are about these."""
    repeats: str
    answered: str
    """Share that the planned cache would have answered."""
    ttl: str
    memory: str
    saves: str
    cost: str
    pays: str


@dataclass(frozen=True, slots=True)
class View:
    """A whole report."""

    covered: CoveredTime
    day: str
    iso_day: str
    time_zone: str
    verdict: Verdict
    key_figures: tuple[LabelledFigure, ...]
    to_cache: tuple[ToCache, ...]
    repeated: tuple[Repeated, ...]
    repeated_title: str
    by_ttl: tuple[TtlRow, ...]
    """Up to the TTL from which no figure changes."""
    by_ttl_in_brief: tuple[TtlRow, ...]
    """Up to the TTL from which neither hit ratio nor memory changes."""
    not_cacheable: tuple[NotCacheableRow, ...]
    costs: tuple[CostRow, ...]
    comparison: ComparisonTable | None
    surface: SurfaceTable | None
    assumptions: tuple[LabelledFigure, ...]
    sample_figures: tuple[LabelledFigure, ...]
    trend: tuple[TrendRow, ...]
    """The last days; empty if there are too few."""


def view_of(report: DailyCacheReport, trend: Sequence[DayInBrief]) -> View:
    """The view of `report`.

    Args:
        report: of one day.
        trend: days, the earliest first.
    """
    analysis, covered = report.analysis, covered_time(report)
    entries, rows = QueryEntries(analysis, covered), ttl_rows(analysis)
    to_cache = entries.to_cache()
    return View(
        covered=covered,
        day=formatting.day(report.analysis_date) + covered.of_day,
        iso_day=report.analysis_date.isoformat(),
        time_zone=formatting.printable(report.time_zone),
        verdict=verdict_of(report),
        key_figures=key_figures(report),
        to_cache=to_cache,
        repeated=entries.repeated(),
        repeated_title="Repeated most" if to_cache else "Repeated most, and why not to cache it",
        by_ttl=until_plateau(rows, all_figures),
        by_ttl_in_brief=until_plateau(rows, lambda row: (row.hit_ratio, row.memory)),
        not_cacheable=_not_cacheable(analysis),
        costs=_costs(report),
        comparison=comparison_table(report, covered),
        surface=surface_table(analysis),
        assumptions=assumption_figures(report),
        sample_figures=sample_figures(analysis),
        trend=tuple(_trend_row(each) for each in trend) if len(trend) >= MIN_TREND_DAYS else (),
    )


def _not_cacheable(analysis: CacheAnalysis) -> tuple[NotCacheableRow, ...]:
    return tuple(
        NotCacheableRow(
            why=phrases.WHY_NOT_CACHEABLE[each.reason],
            executions=formatting.count(each.executions),
            share=formatting.share(each.share),
            example=formatting.printable(each.example),
        )
        for each in analysis.not_cacheable
    )


def _costs(report: DailyCacheReport) -> tuple[CostRow, ...]:
    if report.analysis.plan is None:
        return ()
    return tuple(
        CostRow(formatting.printable(name), formatting.money(money, currency_of(report)), money, place == 0)
        for place, (name, money) in enumerate(report.cost.by_price)
    )


def _trend_row(day: DayInBrief) -> TrendRow:
    if not day.total_queries:
        return TrendRow(day.analysis_date.isoformat(), "0", *[_NONE] * 7)
    return TrendRow(
        day=day.analysis_date.isoformat(),
        cacheable=formatting.brief_count(day.total_queries),
        repeats=formatting.share(day.duplicate_percentage / 100.0),
        answered=formatting.share(day.hit_potential),
        ttl=formatting.ttl(day.recommended_ttl_seconds) if day.recommended_ttl_seconds is not None else _NONE,
        memory=formatting.size(day.estimated_memory_bytes),
        saves=formatting.duration(day.latency_saved_ms),
        cost=formatting.money(float(day.monthly_cost), formatting.printable(day.currency)),
        pays="yes" if day.worthwhile else "no",
    )
