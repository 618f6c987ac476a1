"""A report as strings, in the order in which it is read; what shows them only arranges them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.cache_advice.result import Advice, AtTtl, CacheAnalysis, Sample, TemplateResult
from otel_ratelimit.cache_advice.stored_reports import DayInBrief
from otel_ratelimit.reports.rendering import figures, words
from otel_ratelimit.reports.rendering.comparison import ComparisonTable, comparison_table
from otel_ratelimit.reports.rendering.facts import Fact, currency_of, key_facts, rests_on, supposed_facts
from otel_ratelimit.reports.rendering.scale import Scale, scale_of
from otel_ratelimit.reports.rendering.words import Verdict

DAYS_OF_A_TREND: Final = 2
"""At least."""
_NONE: Final = "-"
_A_HIT: Final = 0.5
"""Less is a rounding error of sums that come to nothing."""


@dataclass(frozen=True, slots=True)
class ToCache:
    """A template that is worth caching."""

    rank: int
    query: str
    database: str
    where: str
    """The database in words; empty where the text is of no other one among these."""
    ttl: str
    fresh: str
    writes: str
    """The same in a column of that name."""
    invalidate: bool
    hit_ratio: str
    memory: str
    saves: str
    saves_ms: float
    gain: str
    """The same as part of a sentence, with the time that it is of."""
    why: str
    """Empty where nothing that it reads was written, which says it all."""
    note: str
    """What limits the trust in it; empty where nothing does."""

    @property
    def label(self) -> str:
        """The query, with its database where that tells it from another one."""
        return _label(self.query, self.where)

    @property
    def says(self) -> str:
        """All of it in one line, but for the query."""
        how = f"TTL {self.ttl}; {self.fresh}"
        return f"{how}; hit ratio {self.hit_ratio}; {self.memory}; {self.gain}"


@dataclass(frozen=True, slots=True)
class Repeated:
    """A template that is repeated most."""

    rank: int
    query: str
    database: str
    where: str
    """The database in words; empty where the text is of no other one among these."""
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
    def label(self) -> str:
        """The query, with its database where that tells it from another one."""
        return _label(self.query, self.where)

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

    scale: Scale
    day: str
    iso_day: str
    time_zone: str
    verdict: Verdict
    key: tuple[Fact, ...]
    to_cache: tuple[ToCache, ...]
    repeated: tuple[Repeated, ...]
    repeated_title: str
    by_ttl: tuple[TtlRow, ...]
    """As far as figures change."""
    by_ttl_in_brief: tuple[TtlRow, ...]
    """As far as hit ratio and memory do."""
    not_cacheable: tuple[NotCacheableRow, ...]
    costs: tuple[CostRow, ...]
    comparison: ComparisonTable | None
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
    rows = _ttl_rows(analysis.by_ttl) if has_hits(analysis) else []
    scale = scale_of(report)
    where = _where(analysis)
    return View(
        scale=scale,
        day=figures.day(report.analysis_date) + scale.of_day,
        iso_day=report.analysis_date.isoformat(),
        time_zone=figures.printable(report.time_zone),
        verdict=words.verdict(report),
        key=key_facts(report),
        to_cache=_all_to_cache(_advised(analysis), sample, scale, where),
        repeated=tuple(
            _repeated(rank, each, sample, where) for rank, each in enumerate(analysis.most_repeated, 1)
        ),
        repeated_title="Repeated most" if _advised(analysis) else "Repeated most, and why not to cache it",
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
        comparison=comparison_table(report, scale),
        surface=_surface(analysis),
        supposed=supposed_facts(report),
        rests_on=rests_on(analysis),
        trend=tuple(_trend_row(each) for each in trend) if len(trend) >= DAYS_OF_A_TREND else (),
    )


def has_hits(analysis: CacheAnalysis) -> bool:
    """Whether there is a TTL with which a cache would have answered anything."""
    return any(at.hits >= _A_HIT for at in analysis.by_ttl)


def _advised(analysis: CacheAnalysis) -> list[TemplateResult]:
    return [each for each in analysis.most_worth if each.advice is not None]


def _where(analysis: CacheAnalysis) -> Mapping[str, str]:
    """The database by hash of the template and database, in words, where one text is of several databases."""
    databases: dict[str, set[str]] = {}
    for each in (*_advised(analysis), *analysis.most_repeated):
        databases.setdefault(each.template_hash, set()).add(each.database)
    return {
        f"{hash_} {name}": f"database {figures.printable(name)}" if name else "a database without a name"
        for hash_, names in databases.items()
        for name in names
        if len(names) > 1
    }


def _label(query: str, where: str) -> str:
    return f"{where}: {query}" if where else query


def _where_of(template: TemplateResult, where: Mapping[str, str]) -> str:
    return where.get(f"{template.template_hash} {template.database}", "")


def _all_to_cache(
    templates: Sequence[TemplateResult], sample: Sample, scale: Scale, where: Mapping[str, str]
) -> tuple[ToCache, ...]:
    advised = [(each, each.advice) for each in templates if each.advice is not None]
    saves = figures.durations([advice.at.latency_saved_ms for _, advice in advised])
    return tuple(
        _to_cache(rank, each, advice, saved, sample, scale, where)
        for rank, ((each, advice), saved) in enumerate(zip(advised, saves, strict=True), 1)
    )


def _to_cache(
    rank: int,
    template: TemplateResult,
    advice: Advice,
    saves: str,
    sample: Sample,
    scale: Scale,
    where: Mapping[str, str],
) -> ToCache:
    at = advice.at
    return ToCache(
        rank=rank,
        query=figures.printable(template.template),
        database=figures.printable(template.database),
        where=_where_of(template, where),
        ttl=figures.ttl(at.ttl_seconds),
        fresh=words.how_kept_fresh(advice, template.writes),
        writes=words.writes_in_short(advice, template.writes),
        invalidate=advice.invalidate,
        hit_ratio=figures.share_between(at.hit_ratio, at.hit_ratio_low, at.hit_ratio_high),
        memory=figures.size(at.peak_bytes),
        saves=saves,
        saves_ms=at.latency_saved_ms,
        gain=_gain(at, scale),
        why=words.sentence(advice.reason) if template.writes else "",
        note=_trust(template, sample),
    )


def _gain(at: AtTtl, scale: Scale) -> str:
    if at.latency_saved_ms > 0.0:
        return f"saves {figures.duration(at.latency_saved_ms)} {scale.per}"
    return (
        f"takes {figures.duration(-at.latency_saved_ms)} {scale.per} longer, and saves the database"
        f" {figures.duration(at.database_saved_ms)}"
    )


def _trust(template: TemplateResult, sample: Sample) -> str:
    if template.has_own_share or sample.lowest_rate >= 1.0:
        return ""
    return "Few of its keys were sampled: the others are taken to behave like those of other queries."


def _repeated(rank: int, template: TemplateResult, sample: Sample, where: Mapping[str, str]) -> Repeated:
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
        where=_where_of(template, where),
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


def _ttl_rows(by_ttl: Sequence[AtTtl]) -> list[TtlRow]:
    saves = figures.durations([at.latency_saved_ms for at in by_ttl])
    return [_ttl_row(at, saved) for at, saved in zip(by_ttl, saves, strict=True)]


def _ttl_row(at: AtTtl, saves: str) -> TtlRow:
    least, most = figures.share(at.hit_ratio_dropped), figures.share(at.hit_ratio_dropped_by_row)
    return TtlRow(
        ttl=figures.ttl(at.ttl_seconds),
        hit_ratio=figures.share_between(at.hit_ratio, at.hit_ratio_low, at.hit_ratio_high),
        dropped=least if least == most else f"{least.removesuffix(' %')} to {most}",
        stale=figures.share(at.stale_by_table),
        memory=figures.size(at.peak_bytes),
        saves=saves,
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
        CostRow(figures.printable(name), figures.money(money, currency_of(report)), money, place == 0)
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
