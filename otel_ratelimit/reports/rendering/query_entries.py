"""The queries that a report lists: those worth caching, and those repeated most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from otel_ratelimit.cache_advice.result import Advice, AtTtl, CacheAnalysis, Sample, TemplateResult
from otel_ratelimit.reports.rendering import formatting, phrases
from otel_ratelimit.reports.rendering.covered_time import CoveredTime

_NO_SHARE: Final = "-"


@dataclass(frozen=True, slots=True)
class ToCache:
    """A template that is worth caching."""

    rank: int
    query: str
    database: str
    where: str
    """The database in words; empty unless the same text ran in several databases."""
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
    """The same as part of a sentence, with the time that it covers."""
    why: str
    """Empty where nothing that it reads was written, because that is the reason."""
    note: str
    """A limit on the trust in these figures; empty where there is no such limit."""

    @property
    def label(self) -> str:
        """The query, with its database where the text alone is ambiguous."""
        return _label(self.query, self.where)

    @property
    def says(self) -> str:
        """Everything except the query, in one line."""
        how = f"TTL {self.ttl}; {self.fresh}"
        return f"{how}; hit ratio {self.hit_ratio}; {self.memory}; {self.gain}"


@dataclass(frozen=True, slots=True)
class Repeated:
    """A template that is repeated most."""

    rank: int
    query: str
    database: str
    where: str
    """The database in words; empty unless the same text ran in several databases."""
    repeats: str
    repeats_count: float
    executions: str
    share: str
    takes: str
    result: str
    written: str
    """How many times a table that it reads was written."""
    caching: str
    """How to cache it, or why not."""
    note: str

    @property
    def label(self) -> str:
        """The query, with its database where the text alone is ambiguous."""
        return _label(self.query, self.where)

    @property
    def says(self) -> str:
        """Everything except the query and how to cache it, in one line."""
        return f"{self.repeats} repeats, {self.share} of {self.executions} executions; {self.takes} each"


class QueryEntries:
    """Makes the entries of one report.

    Args:
        analysis: of the report.
        covered: the time that its sums cover.
    """

    def __init__(self, analysis: CacheAnalysis, covered: CoveredTime) -> None:
        self._covered = covered
        self._sample = analysis.sample
        self._advised = [(each, each.advice) for each in analysis.most_worth if each.advice is not None]
        self._most_repeated = analysis.most_repeated
        self._databases = _ambiguous_databases([*(each for each, _ in self._advised), *self._most_repeated])

    def to_cache(self) -> tuple[ToCache, ...]:
        """The queries that are worth caching, the most worthwhile first."""
        saves = formatting.durations([advice.at.latency_saved_ms for _, advice in self._advised])
        return tuple(
            self._to_cache(rank, each, advice, saved)
            for rank, ((each, advice), saved) in enumerate(zip(self._advised, saves, strict=True), 1)
        )

    def repeated(self) -> tuple[Repeated, ...]:
        """The queries that are repeated most, in that order."""
        return tuple(self._repeated(rank, each) for rank, each in enumerate(self._most_repeated, 1))

    def _to_cache(self, rank: int, template: TemplateResult, advice: Advice, saves: str) -> ToCache:
        at = advice.at
        return ToCache(
            rank=rank,
            query=formatting.printable(template.template),
            database=formatting.printable(template.database),
            where=self._where(template),
            ttl=formatting.ttl(at.ttl_seconds),
            fresh=phrases.how_kept_fresh(advice, template.writes),
            writes=phrases.writes_in_short(advice, template.writes),
            invalidate=advice.invalidate,
            hit_ratio=formatting.share_between(at.hit_ratio, at.hit_ratio_low, at.hit_ratio_high),
            memory=formatting.size(at.peak_bytes),
            saves=saves,
            saves_ms=at.latency_saved_ms,
            gain=_gain(at, self._covered),
            why=phrases.sentence(advice.reason) if template.writes else "",
            note=_trust(template, self._sample),
        )

    def _repeated(self, rank: int, template: TemplateResult) -> Repeated:
        share = _NO_SHARE
        if template.executions:
            share = formatting.share(template.duplicates / template.executions)
        return Repeated(
            rank=rank,
            query=formatting.printable(template.template),
            database=formatting.printable(template.database),
            where=self._where(template),
            repeats=formatting.count(template.duplicates),
            repeats_count=template.duplicates,
            executions=formatting.count(template.executions),
            share=share,
            takes=formatting.duration(template.mean_duration_ms),
            result=formatting.size(template.mean_result_bytes),
            written=formatting.count(template.writes),
            caching=_caching(template),
            note=_trust(template, self._sample),
        )

    def _where(self, template: TemplateResult) -> str:
        return self._databases.get((template.template_hash, template.database), "")


def _ambiguous_databases(templates: Sequence[TemplateResult]) -> Mapping[tuple[str, str], str]:
    """Template hash and database to the database in words, where one text ran in several databases."""
    databases: dict[str, set[str]] = {}
    for each in templates:
        databases.setdefault(each.template_hash, set()).add(each.database)
    return {
        (template_hash, name): f"database {formatting.printable(name)}"
        if name
        else "a database without a name"
        for template_hash, names in databases.items()
        for name in names
        if len(names) > 1
    }


def _label(query: str, where: str) -> str:
    return f"{where}: {query}" if where else query


def _gain(at: AtTtl, covered: CoveredTime) -> str:
    if at.latency_saved_ms > 0.0:
        return f"saves {formatting.duration(at.latency_saved_ms)} {covered.per}"
    return (
        f"takes {formatting.duration(-at.latency_saved_ms)} {covered.per} longer, and saves the database"
        f" {formatting.duration(at.database_saved_ms)}"
    )


def _trust(template: TemplateResult, sample: Sample) -> str:
    if template.has_own_share or sample.lowest_rate >= 1.0:
        return ""
    return "Few of its keys were sampled: the others are taken to behave like those of other queries."


def _caching(template: TemplateResult) -> str:
    advice = template.advice
    if advice is None:
        return f"Not worth caching: {formatting.printable(template.not_worth)}."
    fresh = phrases.how_kept_fresh(advice, template.writes)
    return f"Cache it for {formatting.ttl(advice.at.ttl_seconds)}; {fresh}."
