"""Reports of the cache analysis as the API reads them."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

from otel_ratelimit.cache_advice.stored_reports import DayInBrief, StoredReport

YESTERDAY = date(2026, 1, 9)
BERLIN = timezone(timedelta(hours=1))


class Reports:
    """Those that it was given; notes the days that it is asked for."""

    def __init__(self, *reports):
        self.kept = [
            StoredReport(report, datetime(2026, 1, 10, 2, tzinfo=BERLIN), None) for report in reports
        ]
        self.brief = [in_brief(report) for report in reports]
        self.asked = []

    def latest(self, first, last):
        self.asked.append((first, last))
        return self.kept[-1] if self.kept else None

    def trend(self, first, last):
        self.asked.append((first, last))
        return self.brief


def in_brief(report, **more):
    executions, unique = round(report.analysis.executions), round(report.analysis.unique)
    brief = DayInBrief(
        analysis_date=report.analysis_date,
        total_queries=executions,
        unique_queries=unique,
        duplicate_queries=executions - unique,
        duplicate_percentage=report.analysis.duplicate_percentage,
        hit_potential=report.hit_potential,
        recommended_ttl_seconds=report.recommended_ttl_seconds,
        estimated_memory_bytes=round(report.memory_bytes),
        latency_saved_ms=report.cost.latency_saved_ms_a_day,
        monthly_cost=round(report.cost.monthly_cost, 2),
        worthwhile=report.worthwhile,
        currency=report.supposed.currency,
    )
    return brief._replace(**more)
