"""The night on which the report job runs, and what it leaves in the database and in telemetry."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime, timedelta

from psycopg2 import extensions

NOW = datetime(2026, 3, 30, 0, 20, tzinfo=UTC)
LAST = date(2026, 3, 29)
REPORT = "version = 1\n[report]\n"


def query(url, statement):
    with closing(extensions.connection(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def kept(url):
    """Executions by day."""
    return dict(query(url, "SELECT analysis_date, total_queries FROM otel_ratelimit.cache_analysis_daily"))


def hourly(start, hours, step=timedelta(minutes=20)):
    return [start + place * step for place in range(int(timedelta(hours=hours) / step))]
