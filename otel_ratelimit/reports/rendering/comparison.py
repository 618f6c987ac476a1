"""The figures without a cache, with it, and the difference, as a table of strings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from otel_ratelimit.cache_advice.comparison import ComparedFigure, ComparedName
from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.reports.rendering import formatting
from otel_ratelimit.reports.rendering.covered_time import CoveredTime
from otel_ratelimit.reports.rendering.labelled_figures import currency_of

_NAMES: Final[dict[ComparedName, str]] = {
    "database_queries": "Queries to the database {per}",
    "database_time": "Time of the database {per}",
    "query_time": "Time that queries take {per}",
    "memory": "Memory of the cache",
    "monthly_cost": "Cost of the cache a month",
    "monthly_value": "Worth of what it saves a month",
    "monthly_balance": "Balance a month",
}


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One figure without the cache and with it."""

    name: str
    without_cache: str
    with_cache: str
    difference: str


@dataclass(frozen=True, slots=True)
class ComparisonTable:
    """The figures without and with the cache."""

    says: str
    """Which cache."""
    rows: tuple[ComparisonRow, ...]


def comparison_table(report: DailyCacheReport, covered: CoveredTime) -> ComparisonTable | None:
    """The table for `report`; None where there is nothing to compare.

    Args:
        report: of a day, or of a part of one.
        covered: the time that its sums cover.
    """
    found = report.comparison
    if found is None:
        return None
    ttl = formatting.ttl(found.ttl_seconds)
    which = f"with the cache that is advised (TTL {ttl})"
    if found.basis == "everything":
        which = f"if everything that a cache could answer went through one anyway (TTL {ttl})"
    currency = currency_of(report)
    return ComparisonTable(
        says=f"Without a cache, and {which}.",
        rows=tuple(_compared(figure, currency, covered) for figure in found.figures),
    )


def _compared(figure: ComparedFigure, currency: str, covered: CoveredTime) -> ComparisonRow:
    values = (figure.without_cache, figure.with_cache, figure.difference)
    without_cache, with_cache, difference = _shown(figure.unit, values, currency)
    sign = "+" if figure.difference > 0.0 and not difference.startswith(("<", "less")) else ""
    return ComparisonRow(
        name=_NAMES[figure.name].format(per=covered.per),
        without_cache=without_cache,
        with_cache=with_cache,
        difference=sign + difference,
    )


def _shown(unit: str, values: Sequence[float], currency: str) -> list[str]:
    if unit == "ms":
        return formatting.durations(values)
    if unit == "money":
        return [formatting.money(value, currency) for value in values]
    return [(formatting.count if unit == "queries" else formatting.size)(value) for value in values]
