"""Reports of past days, as they are read from the database."""

from __future__ import annotations

from datetime import date, datetime
from typing import NamedTuple, Protocol

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport


class DayInBrief(NamedTuple):
    """One day of a trend: columns of `cache_analysis_daily`."""

    analysis_date: date
    total_queries: int
    unique_queries: int
    duplicate_queries: int
    duplicate_percentage: float
    hit_potential: float
    recommended_ttl_seconds: float | None
    estimated_memory_bytes: int
    latency_saved_ms: float
    monthly_cost: float
    worthwhile: bool
    currency: str


class StoredReport(NamedTuple):
    """A report, and when it was made and mailed."""

    report: DailyCacheReport
    made_at: datetime
    mailed_at: datetime | None


class CacheReportReader(Protocol):
    """Reads past reports; both methods raise `DatabaseError` if the database cannot be read."""

    def latest(self, first: date, last: date) -> StoredReport | None:
        """The latest report of the days from `first` to `last`, both included."""

    def trend(self, first: date, last: date) -> list[DayInBrief]:
        """The days from `first` to `last` that have a report, the earliest first."""
