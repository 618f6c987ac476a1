"""Rows of the query log for the cache analysis: one day, one database, and what each test wants different."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from otel_ratelimit.core.periods import Period
from otel_ratelimit.queries.records import QueryRow, QueryTemplate

START = datetime(2026, 3, 28, tzinfo=UTC)
MIDNIGHT = int(START.timestamp())
DAY = Period(START, START + timedelta(days=1))


def read_template(number: int, text: str, *tables: str, **given: bool) -> QueryTemplate:
    """A SELECT from these tables."""
    return QueryTemplate(number, text, "select", tables, **{"is_write": False, "volatile": False, **given})


def write_template(number: int, text: str, table: str) -> QueryTemplate:
    """An UPDATE of that table."""
    return QueryTemplate(number, text, "update", (table,), is_write=True, volatile=False)


def query_row(at: float, template: QueryTemplate, key: str | bytes, **given: object) -> QueryRow:
    """One execution of 10 ms, of a cold key.

    Args:
        at: seconds since midnight.
        template: what was executed.
        key: of the execution; filled up to 16 bytes.
        given: other values of the row.
    """
    row = {
        "ts": MIDNIGHT + at,
        "template": template,
        "key": (key.encode() if isinstance(key, str) else key).ljust(16, b"\0"),
        "n": 1,
        "sample_rate": 1.0,
        "tier": "cold",
        "duration_us": 10_000,
        "rows": 1,
        "result_bytes": 1_000,
        "endpoint": None,
        "trace_id": None,
        "database": "shop",
        "in_txn": False,
        "status": "ok",
        "buckets": None,
    }
    return QueryRow(**{**row, **given})
