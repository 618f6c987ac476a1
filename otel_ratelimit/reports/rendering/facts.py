"""Single figures of a report, each with its name and what it means; as strings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.cache_advice.result import AtTtl, CacheAnalysis
from otel_ratelimit.core.services import named
from otel_ratelimit.reports.rendering import figures, words
from otel_ratelimit.reports.rendering.hit_ratio import of_those_that_ask
from otel_ratelimit.reports.rendering.scale import Scale, scale_of

_DAY_SECONDS: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Fact:
    """A figure with its name."""

    name: str
    value: str
    note: str = ""


def key_facts(report: DailyCacheReport) -> tuple[Fact, ...]:
    """What one looks at first."""
    scale = scale_of(report)
    return (
        *_services(report),
        *_repeats(report.analysis, scale),
        *_planned(report, scale),
        *_money(report, scale),
    )


def _services(report: DailyCacheReport) -> tuple[Fact, ...]:
    if report.service is not None:
        return _one_service(report, report.service)
    names = figures.printable(named(report.services))
    if len(report.services) <= 1:
        return (Fact("Service", names),) if names else ()
    together = f"{len(report.services)} together"
    return (Fact("Services", together, f"{names}; one cache would serve all of them"),)


def _one_service(report: DailyCacheReport, service: str) -> tuple[Fact, ...]:
    others = [name for name in report.services if name != service]
    beside = f"; others in this database: {figures.printable(named(others))}" if others else ""
    this = Fact("Service", figures.printable(service), f"only its queries count, and writes of all{beside}")
    if not report.without_service:
        return (this,)
    left_out = Fact(
        "Left out",
        _counted(report.without_service, "execution", "executions"),
        "of which no service is known, because an earlier version recorded them",
    )
    return (this, left_out)


def _repeats(analysis: CacheAnalysis, scale: Scale) -> tuple[Fact, ...]:
    if not analysis.all_executions:
        return (Fact("Queries", "0", f"none was seen {scale.then}"),)
    could = f"{figures.share(analysis.executions / analysis.all_executions)} of all"
    asked = Fact(
        "Queries",
        figures.count(analysis.all_executions),
        f"a cache could have answered {figures.count(analysis.executions)}, {could}",
    )
    if not analysis.executions:
        return (asked,)
    repeats = Fact(
        "Repeated",
        figures.share(analysis.duplicate_percentage / 100.0),
        f"{figures.count(analysis.duplicates)} of {figures.count(analysis.executions)} that a cache could"
        f" have answered had been asked before{' on that day' if scale.is_day else ''}",
    )
    return (repeats, asked)


def _planned(report: DailyCacheReport, scale: Scale) -> tuple[Fact, ...]:
    analysis = report.analysis
    if analysis.plan is None:
        return ()
    plan, at = analysis.plan, analysis.plan.at
    ratio = of_those_that_ask(analysis, at)
    templates = _counted(analysis.planned_templates, "template", "templates")
    return (
        Fact(
            "Hit ratio to expect",
            figures.share_between(ratio.value, ratio.low, ratio.high),
            f"of the {_counted(at.asked, 'execution', 'executions')} of {templates} that go through it;"
            f" {figures.share(at.hit_ratio)} of all that a cache could answer",
        ),
        Fact("TTL", figures.ttl(at.ttl_seconds), _freshness(plan.invalidate, at)),
        Fact(
            "Memory",
            figures.size(at.peak_bytes),
            f"for {_entries(at.peak_keys)} in {analysis.engine.capitalize()} at the fullest time"
            f" {'of the day' if scale.is_day else scale.then}",
        ),
        _time_saved(at, scale),
        Fact(
            "Database load",
            f"{figures.share(report.cost.load_reduction)} less",
            f"{figures.duration(at.database_saved_ms)} of {figures.duration(analysis.database_ms)} that the"
            f" queries {scale.of_then} took",
        ),
    )


def _counted(number: float, one: str, more: str) -> str:
    return f"{figures.count(number)} {one if round(number) == 1 else more}"


def _entries(number: float) -> str:
    return "fewer than one entry" if round(number) < 1 else _counted(number, "entry", "entries")


def _freshness(invalidate: bool, at: AtTtl) -> str:
    stale = "no answer would be older than a write"
    if at.stale_by_table > 0.0:
        stale = f"of the answers {figures.share(at.stale_by_table)} at most would be older than a write"
    if invalidate:
        return f"for some queries writes must drop what is cached, see below; {stale}"
    return f"writes need not drop anything: {stale}"


def _time_saved(at: AtTtl, scale: Scale) -> Fact:
    if at.latency_saved_ms < 0.0:
        return Fact(
            "Time saved",
            "none",
            f"asking the cache takes {figures.duration(-at.latency_saved_ms)} {scale.per} longer than its"
            " answers save",
        )
    each = figures.duration(at.latency_saved_ms / at.asked) if at.asked else figures.UNKNOWN
    return Fact(
        "Time saved",
        f"{figures.duration(at.latency_saved_ms)} {scale.per}",
        f"{each} less for each of {figures.count(at.asked)} executions, on average",
    )


def _money(report: DailyCacheReport, scale: Scale) -> tuple[Fact, ...]:
    if report.analysis.plan is None:
        return ()
    cost, currency, at = report.cost, currency_of(report), report.analysis.plan.at
    as_of = f", as of {figures.day_of_year(cost.price.as_of)}" if cost.price.as_of is not None else ""
    costs = Fact(
        "Costs",
        f"{figures.money(cost.monthly_cost, currency)} a month",
        f"{figures.printable(cost.price.name)}, the cheapest{as_of}",
    )
    if not report.supposed.has_value:
        return (costs,)
    return (
        costs,
        Fact("Brings", f"{figures.money(cost.monthly_benefit, currency)} a month"),
        Fact(
            "Breaks even",
            words.break_even(report),
            words.why_never_even(report) or _like_these(at, scale, report.covered_seconds),
        ),
    )


def _like_these(at: AtTtl, scale: Scale, covered_seconds: float | None) -> str:
    there = f"there were {figures.count(at.asked)} like these {scale.then}"
    if scale.is_day or not covered_seconds:
        return there
    a_day = at.asked * _DAY_SECONDS / covered_seconds
    return f"{there}, which makes {figures.count(a_day)} a day at that rate"


def currency_of(report: DailyCacheReport) -> str:
    """Safe to show."""
    return figures.printable(report.supposed.currency)


def supposed_facts(report: DailyCacheReport) -> tuple[Fact, ...]:
    """What the answer rests on beside the queries."""
    supposed, scale = report.supposed, scale_of(report)
    return (
        Fact("Engine", report.analysis.engine.capitalize()),
        Fact("To ask the cache", figures.duration(supposed.lookup_ms)),
        Fact("To store a result", figures.duration(supposed.store_ms)),
        Fact("Answers older than a write", f"{figures.share(supposed.stale_budget)} at most"),
        Fact("Memory that stays free", figures.share(supposed.reserve)),
        *_worths(report),
        Fact("Every day", scale.like_these),
    )


def _worths(report: DailyCacheReport) -> tuple[Fact, ...]:
    if not report.supposed.has_value:
        return ()
    supposed, currency = report.supposed, currency_of(report)
    return (
        Fact("Worth of a millisecond saved", _worth(supposed.value_of_saved_ms, currency)),
        Fact("Worth of a second of the database", _worth(supposed.value_of_database_second, currency)),
    )


def _worth(value: float, currency: str) -> str:
    return figures.unit_money(value, currency) if value else "not set"


def rests_on(analysis: CacheAnalysis) -> tuple[Fact, ...]:
    """What of the queries was seen."""
    sample = analysis.sample
    dropped = Fact("Executions dropped", figures.count(sample.dropped), _why_dropped(analysis))
    return (
        Fact("Begins", figures.moment(analysis.period_start)),
        Fact("Ends", figures.moment(analysis.period_end)),
        Fact("Executions counted", figures.count(analysis.all_executions)),
        Fact("Rows of the log", figures.count(sample.rows)),
        dropped,
        Fact(
            "Hot keys", figures.count(sample.hot_keys), "always chosen for the log" if sample.hot_keys else ""
        ),
        Fact("Lowest sample rate", figures.one_in(sample.lowest_rate), "of the keys that were not hot"),
    )


def _why_dropped(analysis: CacheAnalysis) -> str:
    if not analysis.sample.dropped:
        return ""
    part = figures.share(analysis.sample.dropped / max(analysis.all_executions, 1))
    return (
        f"{part} of those counted: chosen for the log, and lost because its queue was full or the database"
        " refused them"
    )
