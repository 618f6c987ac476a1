"""The report of one day: the analysis, what a cache would cost, and whether it would pay."""

from __future__ import annotations

from datetime import date, datetime, tzinfo
from functools import partial
from typing import Final, Literal, TypeAlias

from otel_ratelimit.cache_advice.comparison import Comparison, compared
from otel_ratelimit.cache_advice.cost_benefit import CostBenefit, calculate_redis_cost_benefit
from otel_ratelimit.cache_advice.needs import Needs, needs_of
from otel_ratelimit.cache_advice.prices import Pricing
from otel_ratelimit.cache_advice.result import CacheAnalysis, ObstacleName, Result
from otel_ratelimit.core.cache_assumptions import Assumptions
from otel_ratelimit.core.days import local_day
from otel_ratelimit.core.periods import Period
from otel_ratelimit.core.services import OF_ALL_QUERIES, QueriesRead

Scale: TypeAlias = Literal["day", "so_far", "part"]
"""The time that sums cover: a whole day, today so far, or a day from the start of recording to its end."""
_THEN: Final[dict[Scale, tuple[str, str]]] = {
    "day": ("of that day", "on that day"),
    "so_far": ("so far", "so far"),
    "part": ("of that time", "in that time"),
}
_HELD_BACK: Final[dict[ObstacleName, str]] = {
    "writes": "the tables are written too often",
    "memory_price": "the memory costs more than it brings",
    "few_repeats": "too few executions repeat an earlier one",
    "small_gain": "the cache would hardly answer sooner than the database",
    "not_executed": "none was executed",
    "not_measured": "the database took no measurable time",
}


class ReportedAssumptions(Result):
    """The assumptions that are kept with the report; its field is called `supposed`."""

    currency: str
    """ISO 4217."""
    value_of_saved_ms: float
    """Money; 0 where none is set."""
    value_of_database_second: float
    lookup_ms: float
    store_ms: float
    stale_budget: float
    """Share of the cache's answers that may be older than a write."""
    reserve: float
    """Share of memory that stays free."""

    @classmethod
    def of(cls, assumptions: Assumptions, pricing: Pricing) -> ReportedAssumptions:
        """The part of both that a reader of the report needs."""
        return cls(
            currency=pricing.currency,
            value_of_saved_ms=assumptions.value_of_saved_ms,
            value_of_database_second=assumptions.value_of_database_second,
            lookup_ms=assumptions.lookup_ms,
            store_ms=assumptions.store_ms,
            stale_budget=assumptions.stale_budget,
            reserve=pricing.reserve,
        )

    @property
    def has_value(self) -> bool:
        """Whether saved time has a price."""
        return self.value_of_saved_ms > 0.0 or self.value_of_database_second > 0.0


class DailyCacheReport(Result):
    """Kept as JSON in `cache_analysis_daily.details`; the properties are columns of that table as well."""

    analysis_date: date
    time_zone: str
    supposed: ReportedAssumptions
    analysis: CacheAnalysis
    """All its sums cover the time that `scale` names."""
    cost: CostBenefit
    """For 24 hours and for a month, at the rate of the analysed time, as the names say."""
    services: tuple[str, ...] = ()
    """All services whose queries were recorded on that day, sorted by name; empty if they are not known."""
    service: str | None = None
    """The only service that the report covers; None if it covers all services."""
    without_service: int = 0
    """Executions that an earlier version recorded without a service; no report of one service has them."""
    scale: Scale = "day"
    covered_seconds: float | None = None
    """Length of the analysed time; a day has 23 or 25 hours when clocks change. None in older reports."""
    recording_began: datetime | None = None
    """In the report's time zone; None if recording began before that day, and in older reports."""
    comparison: Comparison | None = None
    """None if a cache could not have answered any query, and in older reports."""

    @property
    def worthwhile(self) -> bool:
        """Whether a cache would pay."""
        return self.cost.worthwhile

    @property
    def reason(self) -> str:
        """The reason, in a sentence."""
        return self.cost.reason

    @property
    def hit_potential(self) -> float:
        """Share of the executions that the planned cache would have answered, 0 to 1; 0 without a plan."""
        plan = self.analysis.plan
        return plan.at.hit_ratio if plan is not None else 0.0

    @property
    def recommended_ttl_seconds(self) -> float | None:
        """TTL of the planned cache."""
        plan = self.analysis.plan
        return plan.at.ttl_seconds if plan is not None else None

    @property
    def latency_saved_ms(self) -> float:
        """Time that the planned cache saves, over the analysed time."""
        plan = self.analysis.plan
        return plan.at.latency_saved_ms if plan is not None else 0.0

    @property
    def memory_bytes(self) -> float:
        """Memory of the planned cache at its peak."""
        plan = self.analysis.plan
        return plan.at.peak_bytes if plan is not None else 0.0


def conclude(
    analysis: CacheAnalysis,
    assumptions: Assumptions,
    pricing: Pricing,
    *,
    day: date,
    zone: tzinfo,
    whose: QueriesRead = OF_ALL_QUERIES,
) -> DailyCacheReport:
    """The report of an analysed day.

    Args:
        analysis: the analysis of the day.
        assumptions: the assumptions that the analysis was made with.
        pricing: the prices to choose the cheapest of.
        day: the date of the day.
        zone: the time zone of that date.
        whose: the services whose queries were analysed.
    """
    whole = local_day(day, zone)
    began = analysis.period_start.astimezone(zone) if analysis.period_start > whole.start else None
    scale = _scale(analysis, whole)
    weigh = partial(_weighed, assumptions=assumptions, pricing=pricing)
    cost = weigh(needs_of(analysis, assumptions.store_ms))
    return DailyCacheReport(
        analysis_date=day,
        time_zone=str(zone),
        supposed=ReportedAssumptions.of(assumptions, pricing),
        analysis=analysis,
        cost=cost if analysis.plan is not None else _without_plan(cost, analysis, scale),
        scale=scale,
        covered_seconds=(analysis.period_end - analysis.period_start).total_seconds(),
        recording_began=began,
        comparison=compared(analysis, assumptions.store_ms, weigh, has_value=assumptions.has_value),
        services=whose.services,
        service=whose.service,
        without_service=whose.without_service,
    )


def _scale(analysis: CacheAnalysis, whole: Period) -> Scale:
    if analysis.period_end < whole.end:
        return "so_far"
    return "part" if analysis.period_start > whole.start else "day"


def _weighed(needs: Needs, assumptions: Assumptions, pricing: Pricing) -> CostBenefit:
    return calculate_redis_cost_benefit(
        needs,
        pricing.prices,
        value_of_saved_ms=assumptions.value_of_saved_ms,
        value_of_database_second=assumptions.value_of_database_second,
        reserve=pricing.reserve,
        currency=pricing.currency,
    )


def _without_plan(cost: CostBenefit, analysis: CacheAnalysis, scale: Scale) -> CostBenefit:
    """The answer where no query is worth caching: the cache would cost nothing and bring nothing."""
    return cost.model_copy(
        update={
            "worthwhile": False,
            "certainty": "certain" if analysis.is_all_known else "likely",
            "monthly_cost": 0.0,
            "by_price": (),
            "break_even_executions_a_day": None,
            "reason": _nothing_to_cache(analysis, scale),
        }
    )


def _nothing_to_cache(analysis: CacheAnalysis, scale: Scale) -> str:
    of_then, then = _THEN[scale]
    if not analysis.all_executions:
        return f"there was no query {then}"
    if not analysis.executions:
        return f"no query {of_then} was one that a cache could answer"
    if not analysis.held_back:
        return "for none of the queries would a cache save time"
    most = analysis.held_back[0]
    why = ", and ".join(_HELD_BACK[name] for name in most.obstacles)
    if len(analysis.held_back) == 1:
        return f"no query is worth caching: {why}"
    part = 100 * most.executions / analysis.executions
    return f"no query is worth caching; mostly ({part:.0f} % of executions) {why}"
