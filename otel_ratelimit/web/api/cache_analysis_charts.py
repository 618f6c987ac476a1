"""The figures of a cache report, arranged for charts: the part `charts` of `GET /cache-analysis`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport, Scale
from otel_ratelimit.cache_advice.result import TemplateResult
from otel_ratelimit.cache_advice.stored_reports import DayInBrief
from otel_ratelimit.web.api.cache_analysis_chart_models import (
    BarsAnswer,
    ChartsAnswer,
    ComparedAnswer,
    ComparisonAnswer,
    HitPotentialPoint,
    TopQueriesAnswer,
)

BENEFIT: Final = "monthly benefit"
MAX_LABEL_CHARACTERS: Final = 60
_NOTHING: Final = BarsAnswer(unit="", labels=[], values=[])
_PER: Final[dict[Scale, str]] = {"day": "a day", "so_far": "so far", "part": "in that time"}
_NO_QUERY: Final = TopQueriesAnswer(unit="", labels=[], values=[], worthwhile=[], reasons=[])


def charts(report: DailyCacheReport | None, trend: Iterable[DayInBrief]) -> ChartsAnswer:
    """The charts of one report, and of the trend over the days."""
    return ChartsAnswer(
        hit_potential=[
            HitPotentialPoint(
                date=day.analysis_date,
                hit_potential=day.hit_potential,
                duplicate_share=day.duplicate_percentage / 100.0,
            )
            for day in trend
        ],
        top_queries=_top_queries(report) if report is not None else _NO_QUERY,
        cost_comparison=_cost_comparison(report) if report is not None else _NOTHING,
        comparison_table=_comparison(report) if report is not None else None,
    )


def _top_queries(report: DailyCacheReport) -> TopQueriesAnswer:
    analysis = report.analysis
    worth = [(each, each.advice) for each in analysis.most_worth if each.advice is not None]
    if worth:
        return TopQueriesAnswer(
            unit=f"ms {_PER[report.scale]}",
            labels=_labels([template for template, _ in worth]),
            values=[advice.at.latency_saved_ms for _, advice in worth],
            worthwhile=[True for _ in worth],
            reasons=[advice.reason for _, advice in worth],
        )
    repeated = [each for each in analysis.most_repeated if each.advice is None]
    if not repeated:
        return _NO_QUERY
    return TopQueriesAnswer(
        unit=f"repeats {_PER[report.scale]}",
        labels=_labels(repeated),
        values=[template.duplicates for template in repeated],
        worthwhile=[False for _ in repeated],
        reasons=[template.not_worth for template in repeated],
    )


def _labels(templates: Sequence[TemplateResult]) -> list[str]:
    """The labels; a query that several databases have is labelled with its database."""
    texts = Counter(template.template for template in templates)
    return [
        _label(f"{each.database}: {each.template}" if texts[each.template] > 1 else each.template)
        for each in templates
    ]


def _label(query: str) -> str:
    """The query on one line that fits beside a bar."""
    line = " ".join(query.split())
    return line if len(line) <= MAX_LABEL_CHARACTERS else f"{line[: MAX_LABEL_CHARACTERS - 1]}…"


def _cost_comparison(report: DailyCacheReport) -> BarsAnswer:
    supposed = report.supposed
    bars = list(report.cost.by_price)
    if supposed.has_value:
        bars.append((BENEFIT, report.cost.monthly_benefit))
    return _bars(f"{supposed.currency} a month", bars)


def _bars(unit: str, bars: Sequence[tuple[str, float]]) -> BarsAnswer:
    return BarsAnswer(unit=unit, labels=[label for label, _ in bars], values=[value for _, value in bars])


def _comparison(report: DailyCacheReport) -> ComparisonAnswer | None:
    found = report.comparison
    if found is None:
        return None
    units = {
        "queries": f"queries {_PER[report.scale]}",
        "ms": f"ms {_PER[report.scale]}",
        "bytes": "bytes",
        "money": f"{report.supposed.currency} a month",
    }
    return ComparisonAnswer(
        basis=found.basis,
        ttl_seconds=found.ttl_seconds,
        rows=[
            ComparedAnswer(
                name=each.name,
                unit=units[each.unit],
                without_cache=each.without_cache,
                with_cache=each.with_cache,
                difference=each.difference,
            )
            for each in found.figures
        ],
    )
