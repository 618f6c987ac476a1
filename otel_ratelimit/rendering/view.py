"""A report as strings, in the order in which it is read; what shows them only arranges them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from otel_ratelimit.analysis.cache.daily import DailyCacheReport
from otel_ratelimit.analysis.cache.history import DayInBrief
from otel_ratelimit.analysis.cache.result import AtTtl, CacheAnalysis, Sample, TemplateResult
from otel_ratelimit.rendering import figures, words
from otel_ratelimit.rendering.hit_ratio import of_those_that_ask
from otel_ratelimit.rendering.words import Verdict

DAYS_OF_A_TREND: Final = 2
"""At least."""
_NONE: Final = "-"
_A_HIT: Final = 0.5
"""Less is a rounding error of sums that come to nothing."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A figure with its name."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class ToCache:
    """A template that is worth caching."""

    rank: int
    query: str
    database: str
    ttl: str
    fresh: str
    invalidate: bool
    hit_ratio: str
    memory: str
    saves: str
    saves_ms: float
    why: str
    """Empty where nothing that it reads was written, which says it all."""
    note: str
    """What limits the trust in it; empty where nothing does."""

    @property
    def says(self) -> str:
        """All of it in one line, but for the query."""
        how = f"TTL {self.ttl}; {self.fresh}"
        return f"{how}; hit ratio {self.hit_ratio}; {self.memory}; saves {self.saves} a day"


@dataclass(frozen=True, slots=True)
class Repeated:
    """A template that is repeated most."""

    rank: int
    query: str
    database: str
    repeats: str
    repeats_count: float
    executions: str
    share: str
    takes: str
    result: str
    written: str
    """How many times something that it reads was."""
    caching: str
    """How to cache it, or why not."""
    note: str

    @property
    def says(self) -> str:
        """All of it in one line, but for the query and how to cache it."""
        return f"{self.repeats} repeats, {self.share} of {self.executions} executions; {self.takes} each"


@dataclass(frozen=True, slots=True)
class TtlRow:
    """All queries through a cache with one TTL."""

    ttl: str
    hit_ratio: str
    dropped: str
    """The least and the most that is left where writes drop what is cached."""
    stale: str
    memory: str
    saves: str
    percent: int
    """The hit ratio, for bars."""


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
class SurfaceCell:
    """Hit ratio with one TTL and one size."""

    text: str
    tenths: int
    """Of all, 0 to 10, for colours."""


@dataclass(frozen=True, slots=True)
class SurfaceTable:
    """Hit ratio by TTL (rows) and memory (columns), where more memory brings more."""

    memories: tuple[str, ...]
    rows: tuple[tuple[str, tuple[SurfaceCell, ...]], ...]


@dataclass(frozen=True, slots=True)
class TrendRow:
    """A day among others."""

    day: str
    cacheable: str
    """Executions that a cache could answer; all that follows is of them."""
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

    day: str
    iso_day: str
    time_zone: str
    verdict: Verdict
    key: tuple[Fact, ...]
    to_cache: tuple[ToCache, ...]
    repeated: tuple[Repeated, ...]
    by_ttl: tuple[TtlRow, ...]
    """As far as figures change."""
    by_ttl_in_brief: tuple[TtlRow, ...]
    """As far as hit ratio and memory do."""
    not_cacheable: tuple[NotCacheableRow, ...]
    costs: tuple[CostRow, ...]
    surface: SurfaceTable | None
    supposed: tuple[Fact, ...]
    rests_on: tuple[Fact, ...]
    trend: tuple[TrendRow, ...]
    """Empty where there are too few days."""


def view_of(report: DailyCacheReport, trend: Sequence[DayInBrief]) -> View:
    """Of a report.

    Args:
        report: of one day.
        trend: days, the earliest first.
    """
    analysis, sample = report.analysis, report.analysis.sample
    rows = [_ttl_row(at) for at in analysis.by_ttl] if has_hits(analysis) else []
    return View(
        day=figures.day(report.analysis_date),
        iso_day=report.analysis_date.isoformat(),
        time_zone=figures.printable(report.time_zone),
        verdict=words.verdict(report),
        key=_key(report),
        to_cache=tuple(_to_cache(rank, each, sample) for rank, each in enumerate(_advised(analysis), 1)),
        repeated=tuple(_repeated(rank, each, sample) for rank, each in enumerate(analysis.most_repeated, 1)),
        by_ttl=until_plateau(rows, _figures_of),
        by_ttl_in_brief=until_plateau(rows, lambda row: (row.hit_ratio, row.memory)),
        not_cacheable=tuple(
            NotCacheableRow(
                why=words.WHY_NOT[each.reason],
                executions=figures.count(each.executions),
                share=figures.share(each.share),
                example=figures.printable(each.example),
            )
            for each in analysis.not_cacheable
        ),
        costs=_costs(report),
        surface=_surface(analysis),
        supposed=_supposed(report),
        rests_on=_rests_on(analysis),
        trend=tuple(_trend_row(each) for each in trend) if len(trend) >= DAYS_OF_A_TREND else (),
    )


def has_hits(analysis: CacheAnalysis) -> bool:
    """Whether there is a TTL with which a cache would have answered anything."""
    return any(at.hits >= _A_HIT for at in analysis.by_ttl)


def _advised(analysis: CacheAnalysis) -> list[TemplateResult]:
    return [each for each in analysis.most_worth if each.advice is not None]


def _key(report: DailyCacheReport) -> tuple[Fact, ...]:
    return (*_repeats(report.analysis), *_planned(report), *_money(report))


def _repeats(analysis: CacheAnalysis) -> tuple[Fact, ...]:
    if not analysis.all_executions:
        return (Fact("Queries", "0", "none was seen on that day"),)
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
        " have answered had been asked before on that day",
    )
    return (repeats, asked)


def _planned(report: DailyCacheReport) -> tuple[Fact, ...]:
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
            f"for {_entries(at.peak_keys)} in {analysis.engine.capitalize()} at the fullest time of the day",
        ),
        _time_saved(at),
        Fact(
            "Database load",
            f"{figures.share(report.cost.load_reduction)} less",
            f"{figures.duration(at.database_saved_ms)} of {figures.duration(analysis.database_ms)} that the"
            " queries of that day took",
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


def _time_saved(at: AtTtl) -> Fact:
    if at.latency_saved_ms < 0.0:
        return Fact(
            "Time saved",
            "none",
            f"asking the cache takes {figures.duration(-at.latency_saved_ms)} a day longer than its answers"
            " save",
        )
    each = figures.duration(at.latency_saved_ms / at.asked) if at.asked else figures.UNKNOWN
    return Fact(
        "Time saved",
        f"{figures.duration(at.latency_saved_ms)} a day",
        f"{each} less for each of {figures.count(at.asked)} executions, on average",
    )


def _money(report: DailyCacheReport) -> tuple[Fact, ...]:
    if report.analysis.plan is None:
        return ()
    cost, currency, at = report.cost, _currency(report), report.analysis.plan.at
    as_of = f", as of {figures.day_of_year(cost.price.as_of)}" if cost.price.as_of is not None else ""
    costs = Fact(
        "Costs",
        f"{figures.money(cost.monthly_cost, currency)} a month",
        f"{figures.printable(cost.price.name)}, the cheapest{as_of}",
    )
    if not words.has_value(report):
        return (costs,)
    return (
        costs,
        Fact("Brings", f"{figures.money(cost.monthly_benefit, currency)} a month"),
        Fact(
            "Breaks even",
            words.break_even(report),
            words.why_never_even(report) or f"there were {figures.count(at.asked)} like these on that day",
        ),
    )


def _currency(report: DailyCacheReport) -> str:
    return figures.printable(report.supposed.currency)


def _to_cache(rank: int, template: TemplateResult, sample: Sample) -> ToCache:
    advice = template.advice
    if advice is None:
        raise ValueError(f"template {template.template_hash} has no advice; only those that have belong here")
    at = advice.at
    return ToCache(
        rank=rank,
        query=figures.printable(template.template),
        database=figures.printable(template.database),
        ttl=figures.ttl(at.ttl_seconds),
        fresh=words.how_kept_fresh(advice, template.writes),
        invalidate=advice.invalidate,
        hit_ratio=figures.share_between(at.hit_ratio, at.hit_ratio_low, at.hit_ratio_high),
        memory=figures.size(at.peak_bytes),
        saves=figures.duration(at.latency_saved_ms),
        saves_ms=at.latency_saved_ms,
        why=words.sentence(advice.reason) if template.writes else "",
        note=_trust(template, sample),
    )


def _trust(template: TemplateResult, sample: Sample) -> str:
    if template.has_own_share or sample.lowest_rate >= 1.0:
        return ""
    return "Few of its keys were sampled: the others are taken to behave like those of other queries."


def _repeated(rank: int, template: TemplateResult, sample: Sample) -> Repeated:
    advice = template.advice
    if advice is None:
        caching = f"Not worth caching: {figures.printable(template.not_worth)}."
    else:
        fresh = words.how_kept_fresh(advice, template.writes)
        caching = f"Cache it for {figures.ttl(advice.at.ttl_seconds)}; {fresh}."
    return Repeated(
        rank=rank,
        query=figures.printable(template.template),
        database=figures.printable(template.database),
        repeats=figures.count(template.duplicates),
        repeats_count=template.duplicates,
        executions=figures.count(template.executions),
        share=figures.share(template.duplicates / template.executions) if template.executions else _NONE,
        takes=figures.duration(template.mean_duration_ms),
        result=figures.size(template.mean_result_bytes),
        written=figures.count(template.writes),
        caching=caching,
        note=_trust(template, sample),
    )


def _ttl_row(at: AtTtl) -> TtlRow:
    least, most = figures.share(at.hit_ratio_dropped), figures.share(at.hit_ratio_dropped_by_row)
    return TtlRow(
        ttl=figures.ttl(at.ttl_seconds),
        hit_ratio=figures.share_between(at.hit_ratio, at.hit_ratio_low, at.hit_ratio_high),
        dropped=least if least == most else f"{least.removesuffix(' %')} to {most}",
        stale=figures.share(at.stale_by_table),
        memory=figures.size(at.peak_bytes),
        saves=figures.duration(at.latency_saved_ms),
        percent=round(100 * min(max(at.hit_ratio, 0.0), 1.0)),
    )


def until_plateau(rows: Sequence[TtlRow], shown: Callable[[TtlRow], tuple[str, ...]]) -> tuple[TtlRow, ...]:
    """Without the last ones where they say the same as the one before them, which then stands for all.

    Args:
        rows: by TTL.
        shown: what is said of one.
    """
    end = len(rows)
    while end > 1 and shown(rows[end - 1]) == shown(rows[end - 2]):
        end -= 1
    if end == len(rows):
        return tuple(rows)
    return (*rows[: end - 1], replace(rows[end - 1], ttl=f"{rows[end - 1].ttl} and longer"))


def _figures_of(row: TtlRow) -> tuple[str, ...]:
    return (row.hit_ratio, row.dropped, row.stale, row.memory, row.saves)


def _costs(report: DailyCacheReport) -> tuple[CostRow, ...]:
    if report.analysis.plan is None:
        return ()
    return tuple(
        CostRow(figures.printable(name), figures.money(money, _currency(report)), money, place == 0)
        for place, (name, money) in enumerate(report.cost.by_price)
    )


def _surface(analysis: CacheAnalysis) -> SurfaceTable | None:
    surface = analysis.surface
    if surface is None or not has_hits(analysis):
        return None
    rows = tuple(
        (figures.ttl(seconds), tuple(_cell(ratio) for ratio in ratios))
        for seconds, ratios in zip(surface.ttl_seconds, surface.hit_ratio, strict=True)
    )
    if all(len({cell.text for cell in cells}) <= 1 for _, cells in rows):
        return None
    return SurfaceTable(
        memories=tuple(figures.size(memory).replace(".0 ", " ") for memory in surface.memory_bytes), rows=rows
    )


def _cell(ratio: float) -> SurfaceCell:
    return SurfaceCell(figures.share(ratio), round(10 * min(max(ratio, 0.0), 1.0)))


def _supposed(report: DailyCacheReport) -> tuple[Fact, ...]:
    supposed = report.supposed
    return (
        Fact("Engine", report.analysis.engine.capitalize()),
        Fact("To ask the cache", figures.duration(supposed.lookup_ms)),
        Fact("To store a result", figures.duration(supposed.store_ms)),
        Fact("Answers older than a write", f"{figures.share(supposed.stale_budget)} at most"),
        Fact("Memory that stays free", figures.share(supposed.reserve)),
        *_worths(report),
        Fact("Every day", "is like this one"),
    )


def _worths(report: DailyCacheReport) -> tuple[Fact, ...]:
    if not words.has_value(report):
        return ()
    supposed, currency = report.supposed, _currency(report)
    return (
        Fact("Worth of a millisecond saved", _worth(supposed.value_of_saved_ms, currency)),
        Fact("Worth of a second of the database", _worth(supposed.value_of_database_second, currency)),
    )


def _worth(value: float, currency: str) -> str:
    return figures.unit_money(value, currency) if value else "not set"


def _rests_on(analysis: CacheAnalysis) -> tuple[Fact, ...]:
    sample = analysis.sample
    dropped = Fact("Executions that found no room in it", figures.count(sample.dropped))
    return (
        Fact("Begins", figures.moment(analysis.period_start)),
        Fact("Ends", figures.moment(analysis.period_end)),
        Fact("Executions counted", figures.count(analysis.all_executions)),
        Fact("Rows of the log", figures.count(sample.rows)),
        dropped,
        Fact("Keys that were hot, all kept", figures.count(sample.hot_keys)),
        Fact("Other keys kept, at the least", figures.one_in(sample.lowest_rate)),
    )


def _trend_row(day: DayInBrief) -> TrendRow:
    if not day.total_queries:
        return TrendRow(day.analysis_date.isoformat(), "0", *[_NONE] * 7)
    return TrendRow(
        day=day.analysis_date.isoformat(),
        cacheable=figures.brief_count(day.total_queries),
        repeats=figures.share(day.duplicate_percentage / 100.0),
        answered=figures.share(day.hit_potential),
        ttl=figures.ttl(day.recommended_ttl_seconds) if day.recommended_ttl_seconds is not None else _NONE,
        memory=figures.size(day.estimated_memory_bytes),
        saves=figures.duration(day.latency_saved_ms),
        cost=figures.money(float(day.monthly_cost), figures.printable(day.currency)),
        pays="yes" if day.worthwhile else "no",
    )
