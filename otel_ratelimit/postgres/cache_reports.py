"""Stores the daily cache reports in `cache_analysis_daily`, one row for each day."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Final

from pydantic import ValidationError

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.cache_advice.stored_reports import DayInBrief, StoredReport
from otel_ratelimit.postgres.advisory_lock import try_advisory_lock
from otel_ratelimit.postgres.connection import Database, Row
from otel_ratelimit.postgres.sql_files import statements

LOCK: Final = 0x6F74_656C_726C_0003
"""Key of the advisory lock for making reports; the letters are `otelrl`."""
_PATIENCE_SECONDS: Final = 10.0
_MAX_MONEY: Final = 999_999_999_999.99
"""The maximum of the column."""


class PostgresCacheReports:
    """A `CacheReportReader` that also stores reports; methods raise `DatabaseError` if the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = statements("cache_reports")

    @contextmanager
    def exclusive(self) -> Iterator[bool]:
        """Prevent other processes from making reports in the context; yields False if one already does."""
        with try_advisory_lock(self._database, LOCK, _PATIENCE_SECONDS) as is_exclusive:
            yield is_exclusive

    def save(self, report: DailyCacheReport) -> None:
        """Store `report`; it replaces an earlier one of that day."""
        analysis = report.analysis
        unique, total = round(analysis.unique), round(analysis.executions)
        self._rows(
            "save",
            analysis_date=report.analysis_date,
            total_queries=total,
            unique_queries=min(unique, total),
            duplicate_queries=max(total - unique, 0),
            duplicate_percentage=min(max(analysis.duplicate_percentage, 0.0), 100.0),
            hit_potential=min(max(report.hit_potential, 0.0), 1.0),
            recommended_ttl_seconds=report.recommended_ttl_seconds,
            estimated_memory_bytes=round(report.memory_bytes),
            latency_saved_ms=report.latency_saved_ms,
            monthly_cost=min(round(report.cost.monthly_cost, 2), _MAX_MONEY),
            worthwhile=report.worthwhile,
            details=report.model_dump_json(),
            period_start=analysis.period_start,
            period_end=analysis.period_end,
            time_zone=report.time_zone,
            currency=report.supposed.currency,
            reason=report.reason,
        )

    def latest(self, first: date, last: date) -> StoredReport | None:
        """The last report of these days, both included; None if there is none, or if it cannot be read."""
        found = self._rows("latest", first=first, last=last)
        return _stored(found[0]) if found else None

    def trend(self, first: date, last: date) -> list[DayInBrief]:
        """The days that have a report, the earliest first."""
        return [DayInBrief(*row) for row in self._rows("trend", first=first, last=last)]

    def reported(self) -> frozenset[date]:
        """All days that have a report."""
        return frozenset(day for (day,) in self._rows("reported"))

    def first_query(self) -> datetime | None:
        """When the first query ran that is still recorded."""
        [(first,)] = self._rows("first_query")
        return first if isinstance(first, datetime) else None

    def recording_began(self) -> datetime | None:
        """The beginning of the first minute with a query that is still recorded."""
        [(began,)] = self._rows("recording_began")
        return began if isinstance(began, datetime) else None

    def mailed(self, day: date) -> None:
        """Note that a mail server has accepted the report of `day`."""
        self._rows("mailed", day=day)

    def _rows(self, name: str, **asked: object) -> list[Row]:
        return self._database.rows(self._sql[name], asked)


def _stored(row: Row) -> StoredReport | None:
    details, made_at, mailed_at = row
    try:
        report = DailyCacheReport.model_validate(details)
    except ValidationError:
        # From a later version with other details; its columns can still be used for a trend.
        return None
    return StoredReport(report, made_at, mailed_at)
