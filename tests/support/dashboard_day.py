"""A day of a shop, as the dashboards of the database show it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

from otel_ratelimit.analytics.records import UsageRow, Violation
from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.queries.records import QueryTemplate

DAY = date(2026, 1, 9)
NOON = datetime(2026, 1, 9, 12, tzinfo=UTC)

VIOLATION = Violation(
    occurred_at=NOON.timestamp(),
    last_at=NOON.timestamp() + 20,
    endpoint="/api/jobs/<int:id>",
    method="GET",
    client="192.0.2.1",
    user_id=None,
    tier="default",
    limit_text="5 per 1 minute",
    limit_value=5,
    limit_seconds=60,
    current_count=5,
    user_agent="curl",
    trace_id="a" * 32,
    shadow=False,
    n=3,
)
USAGE = UsageRow(
    minute=int(NOON.timestamp()),
    endpoint="/api/jobs/<int:id>",
    method="GET",
    tier="default",
    decision=DecisionKind.ALLOWED,
    limit_text="5 per 1 minute",
    limit_value=5,
    limit_seconds=60,
    requests=5,
    utilization={20: 1, 40: 1, 60: 1, 80: 1, 100: 1},
    clients={20: 1, 40: 1, 60: 1, 80: 1, 100: 1},
)
REFUSED = replace(USAGE, decision=DecisionKind.BLOCKED, requests=3, utilization={101: 3}, clients={101: 1})
JOBS = QueryTemplate(
    11, "SELECT * FROM jobs WHERE id = ?", "select", ("jobs",), is_write=False, volatile=False
)
