"""Single figures of a report as strings, each with its name and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.cache_advice.result import AtTtl, CacheAnalysis
from otel_ratelimit.core.services import named
from otel_ratelimit.reports.rendering import formatting, phrases
from otel_ratelimit.reports.rendering.covered_time import CoveredTime, covered_time
from otel_ratelimit.reports.rendering.hit_ratio import expected_hit_ratio

_DAY_SECONDS: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class LabelledFigure:
    """A figure with its name."""

    name: str
    value: str
    note: str = ""


def key_figures(report: DailyCacheReport) -> tuple[LabelledFigure, ...]:
    """The figures that a reader looks at first."""
    covered = covered_time(report)
    return (
        *_services(report),
        *_repeats(report.analysis, covered),
        *_planned(report, covered),
        *_money(report, covered),
    )


def _services(report: DailyCacheReport) -> tuple[LabelledFigure, ...]:
    if report.service is not None:
        return _one_service(report, report.service)
    names = formatting.printable(named(report.services))
    if len(report.services) <= 1:
        return (LabelledFigure("Service", names),) if names else ()
    together = f"{len(report.services)} together"
    return (LabelledFigure("Services", together, f"{names}; one cache would serve all of them"),)


def _one_service(report: DailyCacheReport, service: str) -> tuple[LabelledFigure, ...]:
    others = [name for name in report.services if name != service]
    beside = f"; others in this database: {formatting.printable(named(others))}" if others else ""
    this = LabelledFigure(
        "Service", formatting.printable(service), f"only its queries count, and writes of all{beside}"
    )
    if not report.without_service:
        return (this,)
    left_out = LabelledFigure(
        "Left out",
        _counted(report.without_service, "execution", "executions"),
        "no service is known for them, because an earlier version recorded them",
    )
    return (this, left_out)


def _repeats(analysis: CacheAnalysis, covered: CoveredTime) -> tuple[LabelledFigure, ...]:
    if not analysis.all_executions:
        return (LabelledFigure("Queries", "0", f"none was seen {covered.then}"),)
    could = f"{formatting.share(analysis.executions / analysis.all_executions)} of all"
    asked = LabelledFigure(
        "Queries",
        formatting.count(analysis.all_executions),
        f"a cache could have answered {formatting.count(analysis.executions)}, {could}",
    )
    if not analysis.executions:
        return (asked,)
    repeats = LabelledFigure(
        "Repeated",
        formatting.share(analysis.duplicate_percentage / 100.0),
        f"{formatting.count(analysis.duplicates)} of {formatting.count(analysis.executions)} that a cache"
        f" could have answered had been asked before{' on that day' if covered.is_day else ''}",
    )
    return (repeats, asked)


def _planned(report: DailyCacheReport, covered: CoveredTime) -> tuple[LabelledFigure, ...]:
    analysis = report.analysis
    if analysis.plan is None:
        return ()
    plan, at = analysis.plan, analysis.plan.at
    ratio = expected_hit_ratio(analysis, at)
    templates = _counted(analysis.planned_templates, "template", "templates")
    return (
        LabelledFigure(
            "Hit ratio to expect",
            formatting.share_between(ratio.value, ratio.low, ratio.high),
            f"of the {_counted(at.asked, 'execution', 'executions')} of {templates} that go through it;"
            f" {formatting.share(at.hit_ratio)} of all that a cache could answer",
        ),
        LabelledFigure("TTL", formatting.ttl(at.ttl_seconds), _freshness(plan.invalidate, at)),
        LabelledFigure(
            "Memory",
            formatting.size(at.peak_bytes),
            f"for {_entries(at.peak_keys)} in {analysis.engine.capitalize()} at the fullest time"
            f" {'of the day' if covered.is_day else covered.then}",
        ),
        _time_saved(at, covered),
        LabelledFigure(
            "Database load",
            f"{formatting.share(report.cost.load_reduction)} less",
            f"{formatting.duration(at.database_saved_ms)} of {formatting.duration(analysis.database_ms)} that"
            f" the queries {covered.of_then} took",
        ),
    )


def _counted(number: float, one: str, more: str) -> str:
    return f"{formatting.count(number)} {one if round(number) == 1 else more}"


def _entries(number: float) -> str:
    return "fewer than one entry" if round(number) < 1 else _counted(number, "entry", "entries")


def _freshness(invalidate: bool, at: AtTtl) -> str:
    stale = "no answer would be older than a write"
    if at.stale_by_table > 0.0:
        stale = f"at most {formatting.share(at.stale_by_table)} of the answers would be older than a write"
    if invalidate:
        return f"for some queries writes must drop cached answers, see below; {stale}"
    return f"writes need not drop anything: {stale}"


def _time_saved(at: AtTtl, covered: CoveredTime) -> LabelledFigure:
    if at.latency_saved_ms < 0.0:
        return LabelledFigure(
            "Time saved",
            "none",
            f"asking the cache takes {formatting.duration(-at.latency_saved_ms)} {covered.per} longer than"
            " its answers save",
        )
    each = formatting.duration(at.latency_saved_ms / at.asked) if at.asked else formatting.UNKNOWN
    return LabelledFigure(
        "Time saved",
        f"{formatting.duration(at.latency_saved_ms)} {covered.per}",
        f"{each} less for each of {formatting.count(at.asked)} executions, on average",
    )


def _money(report: DailyCacheReport, covered: CoveredTime) -> tuple[LabelledFigure, ...]:
    if report.analysis.plan is None:
        return ()
    cost, currency, at = report.cost, currency_of(report), report.analysis.plan.at
    as_of = f", as of {formatting.day_of_year(cost.price.as_of)}" if cost.price.as_of is not None else ""
    costs = LabelledFigure(
        "Costs",
        f"{formatting.money(cost.monthly_cost, currency)} a month",
        f"{formatting.printable(cost.price.name)}, the cheapest{as_of}",
    )
    if not report.supposed.has_value:
        return (costs,)
    return (
        costs,
        LabelledFigure("Brings", f"{formatting.money(cost.monthly_benefit, currency)} a month"),
        LabelledFigure(
            "Breaks even",
            phrases.break_even(report),
            phrases.why_never_even(report) or _like_these(at, covered, report.covered_seconds),
        ),
    )


def _like_these(at: AtTtl, covered: CoveredTime, covered_seconds: float | None) -> str:
    there = f"there were {formatting.count(at.asked)} like these {covered.then}"
    if covered.is_day or not covered_seconds:
        return there
    a_day = at.asked * _DAY_SECONDS / covered_seconds
    return f"{there}, which makes {formatting.count(a_day)} a day at that rate"


def currency_of(report: DailyCacheReport) -> str:
    """The currency of the report, safe to show."""
    return formatting.printable(report.supposed.currency)


def assumption_figures(report: DailyCacheReport) -> tuple[LabelledFigure, ...]:
    """The assumptions that the answer depends on, beside the queries."""
    supposed, covered = report.supposed, covered_time(report)
    return (
        LabelledFigure("Engine", report.analysis.engine.capitalize()),
        LabelledFigure("To ask the cache", formatting.duration(supposed.lookup_ms)),
        LabelledFigure("To store a result", formatting.duration(supposed.store_ms)),
        LabelledFigure("Answers older than a write", f"{formatting.share(supposed.stale_budget)} at most"),
        LabelledFigure("Memory that stays free", formatting.share(supposed.reserve)),
        *_worths(report),
        LabelledFigure("Every day", covered.every_day),
    )


def _worths(report: DailyCacheReport) -> tuple[LabelledFigure, ...]:
    if not report.supposed.has_value:
        return ()
    supposed, currency = report.supposed, currency_of(report)
    return (
        LabelledFigure("Worth of a millisecond saved", _worth(supposed.value_of_saved_ms, currency)),
        LabelledFigure(
            "Worth of a second of the database", _worth(supposed.value_of_database_second, currency)
        ),
    )


def _worth(value: float, currency: str) -> str:
    return formatting.unit_money(value, currency) if value else "not set"


def sample_figures(analysis: CacheAnalysis) -> tuple[LabelledFigure, ...]:
    """Which part of the queries was recorded."""
    sample = analysis.sample
    dropped = LabelledFigure("Executions dropped", formatting.count(sample.dropped), _why_dropped(analysis))
    return (
        LabelledFigure("Begins", formatting.moment(analysis.period_start)),
        LabelledFigure("Ends", formatting.moment(analysis.period_end)),
        LabelledFigure("Executions counted", formatting.count(analysis.all_executions)),
        LabelledFigure("Rows of the log", formatting.count(sample.rows)),
        dropped,
        LabelledFigure(
            "Hot keys",
            formatting.count(sample.hot_keys),
            "always chosen for the log" if sample.hot_keys else "",
        ),
        LabelledFigure(
            "Lowest sample rate", formatting.one_in(sample.lowest_rate), "of the keys that were not hot"
        ),
    )


def _why_dropped(analysis: CacheAnalysis) -> str:
    if not analysis.sample.dropped:
        return ""
    part = formatting.share(analysis.sample.dropped / max(analysis.all_executions, 1))
    return (
        f"{part} of those counted: chosen for the log, and lost because its queue was full or the database"
        " rejected them"
    )
