"""What is read back of the reports of past days."""

from __future__ import annotations

from datetime import date, datetime
from typing import NamedTuple, Protocol

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport


class DayInBrief(NamedTuple):
    """One day of a trend; the columns of `cache_analysis_daily`."""

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
    """A report as it was kept."""

    report: DailyCacheReport
    made_at: datetime
    mailed_at: datetime | None


class CacheReportReader(Protocol):
    """Where past reports are; both raise `DatabaseError` where that cannot be read."""

    def latest(self, first: date, last: date) -> StoredReport | None:
        """The last report of these days, both included."""

    def trend(self, first: date, last: date) -> list[DayInBrief]:
        """The days that have a report, the earliest first."""
