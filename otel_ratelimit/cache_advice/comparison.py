"""A day with the cache compared to the same day without it, as the rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from otel_ratelimit.cache_advice.cost_benefit import CostBenefit
from otel_ratelimit.cache_advice.needs import Needs, needs_at
from otel_ratelimit.cache_advice.result import AtTtl, CacheAnalysis, Result

ComparedName: TypeAlias = Literal[
    "database_queries",
    "database_time",
    "query_time",
    "memory",
    "monthly_cost",
    "monthly_value",
    "monthly_balance",
]
Basis: TypeAlias = Literal["plan", "everything"]


class ComparedFigure(Result):
    """One figure without the cache and with it."""

    name: ComparedName
    unit: Literal["queries", "ms", "bytes", "money"]
    without_cache: float
    with_cache: float

    @property
    def difference(self) -> float:
        """The figure with the cache minus the figure without; negative where the cache reduces the figure."""
        return self.with_cache - self.without_cache


class Comparison(Result):
    """The figures without and with the cache. Sums are for the analysed time, money is for a month."""

    basis: Basis
    """plan: the planned cache; everything: there is no plan, so all queries that a cache could answer go
    through it, with the TTL that would save most, and writes drop nothing."""
    ttl_seconds: float
    figures: tuple[ComparedFigure, ...]


def compared(
    analysis: CacheAnalysis, store_ms: float, weighed: Callable[[Needs], CostBenefit], *, has_value: bool
) -> Comparison | None:
    """The comparison with the planned cache or, without a plan, with a cache for everything.

    None if a cache could not have answered any query.

    Args:
        analysis: the analysis of the day.
        store_ms: time to put a result into the cache.
        weighed: from the needs of a cache to what it costs and brings.
        has_value: whether saved time has a price.
    """
    plan = analysis.plan
    at = plan.at if plan is not None else _best(analysis.by_ttl)
    if at is None or analysis.executions <= 0.0:
        return None
    cost = weighed(needs_at(analysis, at, store_ms))
    queries, took_ms = float(analysis.all_executions), analysis.database_ms
    figures = [
        ComparedFigure(
            name="database_queries", unit="queries", without_cache=queries, with_cache=queries - at.hits
        ),
        ComparedFigure(
            name="database_time",
            unit="ms",
            without_cache=took_ms,
            with_cache=took_ms - at.database_saved_ms,
        ),
        ComparedFigure(
            name="query_time", unit="ms", without_cache=took_ms, with_cache=took_ms - at.latency_saved_ms
        ),
        ComparedFigure(name="memory", unit="bytes", without_cache=0.0, with_cache=at.peak_bytes),
        _money("monthly_cost", cost.monthly_cost),
    ]
    if has_value:
        figures.append(_money("monthly_value", cost.monthly_benefit))
        figures.append(_money("monthly_balance", cost.monthly_benefit - cost.monthly_cost))
    return Comparison(
        basis="plan" if plan is not None else "everything",
        ttl_seconds=at.ttl_seconds,
        figures=tuple(figures),
    )


def _best(by_ttl: Sequence[AtTtl]) -> AtTtl | None:
    return max(by_ttl, key=lambda at: at.latency_saved_ms, default=None)


def _money(name: ComparedName, amount: float) -> ComparedFigure:
    return ComparedFigure(name=name, unit="money", without_cache=0.0, with_cache=amount)
