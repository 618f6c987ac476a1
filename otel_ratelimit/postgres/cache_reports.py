"""Where the reports are kept: `cache_analysis_daily`, a row a day."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Final

from pydantic import ValidationError

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.cache_advice.stored_reports import DayInBrief, StoredReport
from otel_ratelimit.postgres.connection import Database, Row
from otel_ratelimit.postgres.locks import alone
from otel_ratelimit.postgres.statements import statements

LOCK: Final = 0x6F74_656C_726C_0003
"""Key of the advisory lock of whoever makes reports; the letters are `otelrl`."""
_PATIENCE_SECONDS: Final = 10.0
_MAX_MONEY: Final = 999_999_999_999.99
"""What the column holds."""


class PostgresCacheReports:
    """A `CacheReportReader` that keeps reports, too; each method raises `DatabaseError` where it cannot."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = statements("cache_reports")

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether no other process makes reports now; none begins to while this lasts."""
        with alone(self._database, LOCK, _PATIENCE_SECONDS) as is_alone:
            yield is_alone

    def save(self, report: DailyCacheReport) -> None:
        """Keep it, in place of an earlier one of that day."""
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
        """The last report of these days, both included; None where there is none that can be read."""
        found = self._rows("latest", first=first, last=last)
        return _stored(found[0]) if found else None

    def trend(self, first: date, last: date) -> list[DayInBrief]:
        """The days that have a report, the earliest first."""
        return [DayInBrief(*row) for row in self._rows("trend", first=first, last=last)]

    def reported(self) -> frozenset[date]:
        """All days that have a report."""
        return frozenset(day for (day,) in self._rows("reported"))

    def first_query(self) -> datetime | None:
        """When the first query was that is still known of."""
        [(first,)] = self._rows("first_query")
        return first if isinstance(first, datetime) else None

    def recording_began(self) -> datetime | None:
        """The beginning of the first minute of which a query is still known."""
        [(began,)] = self._rows("recording_began")
        return began if isinstance(began, datetime) else None

    def mailed(self, day: date) -> None:
        """Note that a mail server has taken the report of `day`."""
        self._rows("mailed", day=day)

    def _rows(self, name: str, **asked: object) -> list[Row]:
        return self._database.rows(self._sql[name], asked)


def _stored(row: Row) -> StoredReport | None:
    details, made_at, mailed_at = row
    try:
        report = DailyCacheReport.model_validate(details)
    except ValidationError:
        # Of a later version, which keeps what this one does not know; its columns are still a trend.
        return None
    return StoredReport(report, made_at, mailed_at)
