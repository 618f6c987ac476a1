"""A database whose clock a test sets, and rows of any age."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
from psycopg2.extensions import make_dsn

from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.maintenance import MaintenanceReport, maintain
from otel_ratelimit.postgres.retention import RetentionRequest

NOW = datetime(2026, 6, 15, 10, 30, tzinfo=UTC)
IN_CLOCK = "-c search_path=clock,pg_catalog"

QUERY = """
INSERT INTO otel_ratelimit.query_logs
SELECT ts, 1, '\\x00112233445566778899aabbccddeeff', 1, 1.0, 'cold', 900, 1, 40, '/', NULL, 'shop', 'select',
    '{jobs}', false, false, false, 'ok', NULL, 'one', %(service)s
FROM unnest(%(times)s::timestamptz[]) AS ts
"""
VIOLATION = """
INSERT INTO otel_ratelimit.rate_limit_analytics (
    occurred_at, last_at, service, endpoint, method, client, tier, limit_text, limit_value, limit_seconds,
    current_count, shadow, n
)
SELECT ts, ts, %(service)s, '/', 'GET', '198.51.100.7', 'default', '10 per 1 minute', 10, 60, 10, false, 1
FROM unnest(%(times)s::timestamptz[]) AS ts
"""
USAGE = """
INSERT INTO otel_ratelimit.rate_limit_usage
SELECT ts, %(service)s, '/', 'GET', 'default', 'allowed', '10 per 1 minute', 10, 60, 1, '{10}', '{1}', '{1}'
FROM unnest(%(times)s::timestamptz[]) AS ts
"""
WRITE = """
INSERT INTO otel_ratelimit.table_writes
SELECT ts, 'shop', 'jobs', 'insert', 1, %(service)s FROM unnest(%(times)s::timestamptz[]) AS ts
"""
TEMPLATE = """
INSERT INTO otel_ratelimit.query_templates
SELECT hashtextextended(ts::text, (random() * 1e9)::bigint), 'SELECT 1', 'select', '{}', ts, ts
FROM unnest(%(times)s::timestamptz[]) AS ts
"""
TOTAL = """
INSERT INTO otel_ratelimit.query_totals
SELECT ts, 1, 'shop', 5, 0, 0, %(service)s FROM unnest(%(times)s::timestamptz[]) AS ts
"""
REPEATS = """
INSERT INTO otel_ratelimit.query_repeats
SELECT ts, '/', 1, 1, 5, 5, NULL, %(service)s FROM unnest(%(times)s::timestamptz[]) AS ts
"""
BATCH = """
INSERT INTO otel_ratelimit.ingested_batches
SELECT gen_random_uuid(), ts FROM unnest(%(times)s::timestamptz[]) AS ts
"""
AGED = {
    "rate_limit_analytics": VIOLATION,
    "rate_limit_usage": USAGE,
    "table_writes": WRITE,
    "query_totals": TOTAL,
    "query_repeats": REPEATS,
    "query_templates": TEMPLATE,
    "query_logs": QUERY,
}
"""Statements that insert rows of these times, by table."""
HAVE_SERVICE = (
    *("rate_limit_analytics", "rate_limit_usage"),
    *("query_logs", "query_totals", "query_repeats", "table_writes"),
)


class Clocked:
    """A database at `NOW` until its clock is set: its own functions precede `clock_timestamp` and `now`."""

    def __init__(self, url: str) -> None:
        self.url = make_dsn(url, options=IN_CLOCK)
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True
        self.opened = Database(self.url)
        self.run("CREATE SCHEMA clock")
        self.set_clock(NOW)
        self.run(
            "CREATE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT clock.clock_timestamp()'"
        )

    def run(self, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
        """Run a statement; its rows, if any. The service is `shop` unless given."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement, {"service": "shop", **parameters})
            return cursor.fetchall() if cursor.description else []

    def execute(self, script: str) -> None:
        """Run a script, percent signs and all."""
        with self._connection.cursor() as cursor:
            cursor.execute(script)

    def set_clock(self, moment: datetime) -> None:
        self.run(
            "CREATE OR REPLACE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql"
            f" AS $$ SELECT '{moment.isoformat()}'::timestamptz $$"
        )

    def maintain(
        self,
        at: datetime = NOW,
        *,
        host: datetime | None = None,
        retention: timedelta = timedelta(days=30),
        service: str | None = None,
        overrides: bool = False,
        **options: Any,
    ) -> MaintenanceReport:
        """Maintain at a moment by both clocks, or with the host's apart from it."""
        self.set_clock(at)
        request = RetentionRequest(retention, service, overrides)
        return maintain(self.opened, request, now=host or at, **options)

    def fill(self, times: Iterable[datetime], service: str = "shop") -> None:
        """A row of each of these times in every table that ages."""
        for insert in AGED.values():
            self.run(insert, times=list(times), service=service)

    def left(self, table: str, service: str | None = None) -> int:
        """How many rows are left in a table, of all services or of one."""
        where = "" if service is None else " WHERE service = %(service)s"
        return int(self.run(f"SELECT count(*) FROM otel_ratelimit.{table}{where}", service=service)[0][0])

    def all_left(self) -> dict[str, int]:
        """How many rows are left in every table that ages."""
        return {table: self.left(table) for table in AGED}

    def close(self) -> None:
        with closing(self._connection):
            self.opened.close()
