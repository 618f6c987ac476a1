"""`GET /cache-analysis`: whether a cache before the database would pay, day by day, and for which queries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from otel_ratelimit.cache_advice.cost_benefit import CostBenefit
from otel_ratelimit.cache_advice.daily_report import ReportedAssumptions
from otel_ratelimit.cache_advice.result import Advice, CacheAnalysis, TemplateResult
from otel_ratelimit.cache_advice.stored_reports import StoredReport
from otel_ratelimit.core.periods import Period
from otel_ratelimit.web.api.cache_analysis_charts import charts
from otel_ratelimit.web.api.cache_analysis_models import (
    AtTtlAnswer,
    CacheAnalysisAnswer,
    CacheAnalysisParameters,
    CostBenefitAnswer,
    DayInBriefAnswer,
    DaysAnswer,
    NotCacheableAnswer,
    PlanAnswer,
    PriceAnswer,
    PricedAnswer,
    QueriesAnswer,
    ReportAnswer,
    SampleAnswer,
    SupposedAnswer,
    SurfaceAnswer,
    TemplateAnswer,
    WholeDayAnswer,
)
from otel_ratelimit.web.api.parameter_types import period_asked
from otel_ratelimit.web.api.problems import analytics_are_off
from otel_ratelimit.web.api.services import ApiServices


def cache_analysis(services: ApiServices, asked: CacheAnalysisParameters) -> CacheAnalysisAnswer:
    """The last report of the period's days, and the trend over them.

    Raises:
        ProblemError: the period is not valid, or analytics are off.
        DatabaseError: the reports cannot be read now.
    """
    days = _days(period_asked(asked.date_range, services.clock()))
    reports = services.cache_reports
    if reports is None:
        raise analytics_are_off()
    stored = reports.latest(days.first, days.last)
    trend = reports.trend(days.first, days.last)
    return CacheAnalysisAnswer(
        period=days,
        latest=_latest(stored) if stored is not None else None,
        trend=[DayInBriefAnswer.model_validate(day) for day in trend],
        charts=charts(stored.report if stored is not None else None, trend),
    )


def _days(period: Period) -> DaysAnswer:
    return DaysAnswer(first=period.start.date(), last=(period.end - timedelta.resolution).date())


def _latest(stored: StoredReport) -> ReportAnswer:
    report = stored.report
    analysis, cost = report.analysis, report.cost
    return ReportAnswer(
        date=report.analysis_date,
        time_zone=report.time_zone,
        period=WholeDayAnswer(start=analysis.period_start, end=analysis.period_end),
        scale=report.scale,
        covered_seconds=(analysis.period_end - analysis.period_start).total_seconds(),
        made_at=stored.made_at,
        services=list(report.services),
        currency=report.supposed.currency,
        engine=analysis.engine,
        worthwhile=report.worthwhile,
        certainty=cost.certainty,
        reason=report.reason,
        queries=_queries(analysis),
        plan=_plan(analysis),
        cost_benefit=_cost_benefit(cost, report.supposed),
        by_ttl=[AtTtlAnswer.model_validate(at) for at in analysis.by_ttl],
        most_repeated=_templates(analysis.most_repeated),
        most_worth=_templates(analysis.most_worth),
        not_cacheable=[NotCacheableAnswer.model_validate(each) for each in analysis.not_cacheable],
        surface=SurfaceAnswer.model_validate(analysis.surface) if analysis.surface is not None else None,
        sample=SampleAnswer.model_validate(analysis.sample),
        supposed=SupposedAnswer.model_validate(report.supposed),
    )


def _queries(analysis: CacheAnalysis) -> QueriesAnswer:
    executions, duplicates = _whole(analysis)
    return QueriesAnswer(
        total=analysis.all_executions,
        database_ms=analysis.database_ms,
        cacheable=executions,
        unique=executions - duplicates,
        duplicates=duplicates,
        duplicate_percentage=analysis.duplicate_percentage,
    )


def _whole(found: CacheAnalysis | TemplateResult) -> tuple[int, int]:
    """Executions and duplicates, rounded so that their difference is the number of unique executions."""
    executions = round(found.executions)
    return executions, max(executions - round(found.unique), 0)


def _plan(analysis: CacheAnalysis) -> PlanAnswer | None:
    if analysis.plan is None:
        return None
    return PlanAnswer.model_validate({**_advised(analysis.plan), "templates": analysis.planned_templates})


def _advised(advice: Advice) -> dict[str, Any]:
    """The fields of an `AdviceAnswer`."""
    at = AtTtlAnswer.model_validate(advice.at).model_dump()
    return {**at, "invalidate": advice.invalidate, "reason": advice.reason}


def _templates(found: Sequence[TemplateResult]) -> list[TemplateAnswer]:
    return [TemplateAnswer.model_validate(_described(template)) for template in found]


def _described(template: TemplateResult) -> dict[str, Any]:
    """The fields of a `TemplateAnswer`; only the sum of all templates has hit ratios by TTL."""
    executions, duplicates = _whole(template)
    return {
        **template.model_dump(exclude={"by_ttl"}),
        "executions": executions,
        "unique": executions - duplicates,
        "duplicates": duplicates,
        "advice": _advised(template.advice) if template.advice is not None else None,
        "worthwhile": template.advice is not None,
    }


def _cost_benefit(cost: CostBenefit, supposed: ReportedAssumptions) -> CostBenefitAnswer:
    return CostBenefitAnswer(
        monthly_cost=cost.monthly_cost,
        monthly_benefit=cost.monthly_benefit,
        by_price=[PricedAnswer(name=name, monthly_cost=money) for name, money in cost.by_price],
        cheapest=PriceAnswer.model_validate(cost.price) if cost.by_price else None,
        load_reduction=cost.load_reduction,
        break_even_executions_a_day=cost.break_even_executions_a_day,
        latency_saved_ms_a_day=cost.latency_saved_ms_a_day,
        value_of_saved_ms=supposed.value_of_saved_ms,
        value_of_database_second=supposed.value_of_database_second,
    )
