"""Two services that record to one database, and how their rows are read."""

from __future__ import annotations

import warnings
from contextlib import closing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

from click.testing import CliRunner

from otel_ratelimit.analytics.records import Batch, UsageRow, Violation
from otel_ratelimit.cli import main
from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.core.services import SeveralServicesWarning
from otel_ratelimit.postgres import Database, PostgresAnalyticsWriter
from otel_ratelimit.queries.records import (
    QueryTemplate,
)

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=4)
"""Far enough back to be in no last 24 hours, at whatever time of the day tests run."""
DAY = NOON.date().isoformat()
TOKEN = "read-token-of-someone"
LIMIT = {"limit_text": "10 per 1 minute", "limit_value": 10, "limit_seconds": 60}
DEMAND = {"jobs": 3, "shop": 8}
"""Requests of each of 100 clients, in one window; and so many violations and queries of each service."""
TEMPLATES = [
    QueryTemplate(n, f"SELECT {n}", "select", (f"t{n}",), is_write=False, volatile=False) for n in range(4)
]


def write(database, service, demand, at=NOON):
    minute = int(at.timestamp()) // 60 * 60
    bins = {10 * used: 100 for used in range(1, demand + 1)}
    usage = UsageRow(
        minute, "/a", "GET", "default", DecisionKind.ALLOWED, *LIMIT.values(), 100 * demand, bins, bins
    )
    violation = Violation(
        **LIMIT,
        occurred_at=at.timestamp(),
        last_at=at.timestamp(),
        endpoint="/a",
        method="GET",
        client="192.0.2.1",
        user_id=None,
        tier="default",
        current_count=10,
        user_agent="ua",
        trace_id=None,
        shadow=False,
        n=demand,
    )
    with closing(Database(database)) as opened:
        PostgresAnalyticsWriter(opened, lambda: service).write(Batch(uuid4(), (violation,), (usage,)))


def call(function, *arguments, **named):
    """The output of a function: its answer, warnings, or error."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            answer = function(*arguments, **named)
        except ValueError as error:
            return SimpleNamespace(answer=None, said=str(error))
    said = [str(each.message) for each in told if each.category is SeveralServicesWarning]
    return SimpleNamespace(answer=answer, said=f"{answer} {said}")


def run(*arguments, token=None):
    done = CliRunner().invoke(main, arguments, env={"OTEL_RATELIMIT_API_TOKEN": token})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done
