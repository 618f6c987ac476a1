"""What the analysis of a day says; kept as JSON in `cache_analysis_daily.details`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

ReasonName = Literal["writes", "no_read", "volatile", "catalogue", "no_table", "failed", "in_transaction"]
ObstacleName = Literal["writes", "memory_price", "few_repeats", "small_gain", "not_executed", "not_measured"]
"""What stands in the way of caching a template; `obstacles.py` says how it is found."""


class Result(BaseModel):
    """A part of it; unchangeable, and forgiving to what a later version adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class AtTtl(Result):
    """A cache with one time to live."""

    ttl_seconds: float
    asked: float
    """Executions that went through it."""
    hits: float
    """Those that it would have answered."""
    hit_ratio: float
    """Share of the executions that it was asked for, 0 to 1."""
    hit_ratio_low: float
    hit_ratio_high: float
    """Ends of an interval that holds the true one 95 times in 100."""
    hit_ratio_dropped: float
    """The same where every write to a table drops all that was cached of it: the least that is left."""
    hit_ratio_dropped_by_row: float
    """The same where a write drops one entry of each template at most: the most that it leaves."""
    stale_by_table: float
    """Share of the hits older than a write to one of their tables, if writes drop nothing: at most."""
    stale_by_row: float
    """The same if a write concerned one key of each template, any as likely as the others."""
    peak_keys: float
    """Entries at the time of day at which those that went through it take the most bytes."""
    peak_bytes: float
    """Memory of the engine for them then; hash tables, and what has expired and is still there, included."""
    latency_saved_ms: float
    """Over the day; negative where asking the cache takes longer than the hits save."""
    database_saved_ms: float
    """Time over the day for which the database would not have been busy."""


class Advice(Result):
    """How to cache one template, or all that are worth it."""

    invalidate: bool
    """Whether writes must drop what was cached of their tables; else the TTL alone keeps it fresh enough."""
    at: AtTtl
    """With that: its `hit_ratio` is that with or without invalidation, as advised."""
    reason: str


class TemplateResult(Result):
    """One template in one database."""

    template_hash: str
    """Decimal; a number of 64 bits does not survive JavaScript."""
    template: str
    database: str
    tables: tuple[str, ...]
    executions: float
    """That a cache could have answered."""
    unique: float
    """Different keys among them."""
    duplicates: float
    mean_duration_ms: float
    mean_result_bytes: float
    writes: int
    """Statements that wrote one of its tables."""
    has_own_share: bool
    """False: too few of its keys were sampled, and it was taken to behave like the others of that kind."""
    advice: Advice | None
    """None where caching it does not pay."""
    not_worth: str
    """Why, where there is no advice."""
    obstacles: tuple[ObstacleName, ...] = ()
    """The fewest that, gone together, would make it pay, the first to name first; empty where it does."""
    by_ttl: tuple[AtTtl, ...]


class NotCacheable(Result):
    """Executions that no cache can answer, for one reason."""

    reason: ReasonName
    executions: float
    share: float
    """Of all executions, 0 to 1."""
    example: str
    """The template with the most of them."""


class HeldBack(Result):
    """Templates that are not worth caching, for one reason."""

    obstacles: tuple[ObstacleName, ...]
    templates: int
    executions: float


class Surface(Result):
    """Hit ratio where memory is limited, too."""

    ttl_seconds: tuple[float, ...]
    memory_bytes: tuple[float, ...]
    hit_ratio: tuple[tuple[float, ...], ...]
    """By TTL and memory, with the engine's own eviction (allkeys-lru)."""


class Sample(Result):
    """What the figures rest on."""

    rows: int
    hot_keys: int
    lowest_rate: float
    dropped: int
    """Executions that were to be kept and found no room."""


class CacheAnalysis(Result):
    """Of one day."""

    period_start: datetime
    period_end: datetime
    engine: Literal["redis", "valkey"]
    all_executions: int
    """Of every kind, as counted."""
    database_ms: float
    """Time that all of them took in the database."""
    executions: float
    """That a cache could have answered."""
    unique: float
    duplicates: float
    """Executions whose key had been executed before on that day."""
    duplicate_percentage: float
    """0 to 100."""
    not_cacheable: tuple[NotCacheable, ...]
    by_ttl: tuple[AtTtl, ...]
    """If all of them went through the cache."""
    plan: Advice | None
    """If those templates went through it for which that pays, with one TTL; ratios are of all `executions`.
    None where it pays for none."""
    planned_templates: int
    """How many those are."""
    most_repeated: tuple[TemplateResult, ...]
    most_worth: tuple[TemplateResult, ...]
    """To cache first, each with a TTL of its own."""
    surface: Surface | None
    sample: Sample
    held_back: tuple[HeldBack, ...] = ()
    """Those that were executed and are not worth caching, those with the most executions first."""

    @property
    def is_all_known(self) -> bool:
        """Whether nothing had to be estimated from a part of the executions."""
        return not self.executions or (self.sample.lowest_rate >= 1.0 and not self.sample.dropped)
