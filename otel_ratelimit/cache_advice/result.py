"""The result of the analysis of a day; kept as JSON in `cache_analysis_daily.details`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

ReasonName = Literal["writes", "no_read", "volatile", "catalogue", "no_table", "failed", "in_transaction"]
ObstacleName = Literal["writes", "memory_price", "few_repeats", "small_gain", "not_executed", "not_measured"]
"""Why caching a template does not pay; `obstacles.py` says how that is found."""


class Result(BaseModel):
    """A part of the result: immutable, and it ignores fields that a later version adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class AtTtl(Result):
    """A cache with one TTL."""

    ttl_seconds: float
    asked: float
    """Executions that ask the cache."""
    hits: float
    """Executions that the cache would have answered."""
    hit_ratio: float
    """Hits as a share of `asked`, 0 to 1."""
    hit_ratio_low: float
    hit_ratio_high: float
    """Ends of an interval that holds the true one 95 times in 100."""
    hit_ratio_dropped: float
    """The hit ratio where every write to a table drops all cached answers of it: the lower bound."""
    hit_ratio_dropped_by_row: float
    """The hit ratio where a write drops at most one entry of each template: the upper bound."""
    stale_by_table: float
    """Share of the hits that are older than a write to one of their tables, if writes drop nothing: the
    upper bound."""
    stale_by_row: float
    """The same, if each write affects one key of each template, all keys with the same probability."""
    peak_keys: float
    """Entries at the time of day at which the cache takes the most bytes."""
    peak_bytes: float
    """Memory of the engine for them at that time, with hash tables, and with expired entries that are not
    removed yet."""
    latency_saved_ms: float
    """Over the day; negative where asking the cache takes longer than the hits save."""
    database_saved_ms: float
    """Time of the day for which the database would not have been busy."""


class Advice(Result):
    """How to cache one template, or all templates that are worth it."""

    invalidate: bool
    """Whether writes must drop the cached answers of their tables; if not, the TTL alone is enough."""
    at: AtTtl
    """The advised cache; its `hit_ratio` is with or without invalidation, as advised."""
    reason: str


class TemplateResult(Result):
    """One template in one database."""

    template_hash: str
    """In decimal, as text: JavaScript cannot hold an integer of 64 bits."""
    template: str
    database: str
    tables: tuple[str, ...]
    executions: float
    """Executions that a cache could have answered."""
    unique: float
    """Different keys among them."""
    duplicates: float
    mean_duration_ms: float
    mean_result_bytes: float
    writes: int
    """Statements that wrote to one of its tables."""
    has_own_share: bool
    """False if too few of its keys were sampled; its share of misses is that of all such templates then."""
    advice: Advice | None
    """None if caching it does not pay."""
    not_worth: str
    """The reason if there is no advice."""
    obstacles: tuple[ObstacleName, ...] = ()
    """The smallest set without which caching would pay, the most important first; empty if it pays."""
    by_ttl: tuple[AtTtl, ...]


class NotCacheable(Result):
    """Executions that no cache can answer, for one reason."""

    reason: ReasonName
    executions: float
    share: float
    """Share of all executions, 0 to 1."""
    example: str
    """The template with the most of them."""


class HeldBack(Result):
    """Templates that are not worth caching, for one reason."""

    obstacles: tuple[ObstacleName, ...]
    templates: int
    executions: float


class Surface(Result):
    """The hit ratio by TTL and by memory, where memory is limited."""

    ttl_seconds: tuple[float, ...]
    memory_bytes: tuple[float, ...]
    hit_ratio: tuple[tuple[float, ...], ...]
    """By TTL and memory, with the eviction of the engine (allkeys-lru)."""


class Sample(Result):
    """The sample that the figures are estimated from."""

    rows: int
    hot_keys: int
    lowest_rate: float
    dropped: int
    """Executions that should have been kept and were dropped for lack of room."""


class CacheAnalysis(Result):
    """The analysis of one day."""

    period_start: datetime
    period_end: datetime
    engine: Literal["redis", "valkey"]
    all_executions: int
    """Counted executions of every kind."""
    database_ms: float
    """Time that all executions took in the database."""
    executions: float
    """Executions that a cache could have answered."""
    unique: float
    duplicates: float
    """Executions whose key had been executed before on that day."""
    duplicate_percentage: float
    """0 to 100."""
    not_cacheable: tuple[NotCacheable, ...]
    by_ttl: tuple[AtTtl, ...]
    """The cache if all these executions went through it."""
    plan: Advice | None
    """The cache for the templates that are worth it, with one TTL; ratios are shares of all `executions`.
    None if no template is worth it."""
    planned_templates: int
    """Number of templates in the plan."""
    most_repeated: tuple[TemplateResult, ...]
    most_worth: tuple[TemplateResult, ...]
    """The templates to cache first, each with its own TTL."""
    surface: Surface | None
    sample: Sample
    held_back: tuple[HeldBack, ...] = ()
    """Templates that were executed and are not worth caching, by reason; most executions first."""

    @property
    def is_all_known(self) -> bool:
        """Whether no figure is estimated from a sample."""
        return not self.executions or (self.sample.lowest_rate >= 1.0 and not self.sample.dropped)
