"""Batches as the recorder and the query log make them: a row for each table."""

from __future__ import annotations

from uuid import uuid4

from otel_ratelimit.analytics.records import Batch, UsageRow, Violation
from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.queries.fingerprint import hash_query
from otel_ratelimit.queries.records import QueryBatch, QueryRow, RequestRepeats, TableWrite, TemplateTotal

CLIENT = "192.0.2.77"
UPDATE = hash_query("UPDATE jobs SET name = 'x'")


def decisions(at: float) -> Batch:
    """Seven violations of one client, within a second from `at` on, and nine requests."""
    limit = {"tier": "default", "limit_text": "10 per 1 minute", "limit_value": 10, "limit_seconds": 60}
    violation = Violation(
        occurred_at=at,
        last_at=at + 1.0,
        endpoint="/jobs",
        method="GET",
        client=CLIENT,
        user_id=None,
        current_count=10,
        user_agent=None,
        trace_id=None,
        shadow=False,
        n=7,
        **limit,
    )
    usage = UsageRow(
        minute=_minute(at),
        endpoint="/jobs",
        method="GET",
        decision=DecisionKind.BLOCKED,
        requests=9,
        utilization={101: 9},
        clients={101: 1},
        **limit,
    )
    return Batch(uuid4(), (violation,), (usage,))


def queries(at: float) -> QueryBatch:
    """Three executions of one statement at `at`."""
    minute = _minute(at)
    row = QueryRow(
        ts=at,
        template=UPDATE,
        key=bytes(range(16)),
        n=3,
        sample_rate=1.0,
        tier="hot",
        duration_us=1_234,
        rows=5,
        result_bytes=None,
        endpoint="/jobs",
        trace_id=None,
        database="shop",
        in_txn=False,
        status="ok",
        buckets=(3,),
    )
    return QueryBatch(
        uuid4(),
        "host:7",
        (row,),
        (TemplateTotal(minute, UPDATE, "shop", 3, 0, 0),),
        (TableWrite(minute, "shop", "jobs", "update", 3),),
        (RequestRepeats(minute, "/jobs", UPDATE, 1, 5, 5, "f" * 32),),
    )


def _minute(at: float) -> int:
    return int(at // 60) * 60
