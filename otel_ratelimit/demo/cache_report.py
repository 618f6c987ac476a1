"""Would a cache pay for the demo's own traffic? The nightly report, for a few seconds instead of a day."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.core.periods import Period
from otel_ratelimit.policy import Cache
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.cache_reports import PostgresCacheReports
from otel_ratelimit.reports.build_report import build_report


def report_on(database_url: str, since: datetime, cache: Cache) -> DailyCacheReport:
    """The report on the queries since `since`; kept as the report of today.

    Args:
        database_url: where the queries are.
        since: a whole minute.
        cache: the policy's `[cache]`.

    Raises:
        DatabaseError: the queries cannot be read, or the report cannot be written.
    """
    now = datetime.now(UTC)
    report = build_report(database_url, Period(since, now), day=now.date(), zone=UTC, cache=cache)
    with closing(Database(database_url)) as database:
        PostgresCacheReports(database).save(report)
    return report
