"""A database with a day of a shop, and the role that dashboards read it with."""

from __future__ import annotations

import secrets
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import psycopg2
import pytest
from dashboard_day import DAY, JOBS, NOON, REFUSED, USAGE, VIOLATION

from otel_ratelimit.analytics.records import Batch, UsageRow, Violation
from otel_ratelimit.postgres import Database, PostgresAnalyticsWriter
from otel_ratelimit.postgres.cache_reports import PostgresCacheReports
from otel_ratelimit.postgres.query_writer import PostgresQueryWriter
from otel_ratelimit.queries.records import QueryBatch, RequestRepeats, TemplateTotal

PAGE = Path(__file__).parents[3] / "docs/how-to/analytics.md"
ROOMY = replace(
    USAGE,
    endpoint="/api/ai",
    tier="expensive",
    limit_text="1000 per 1 hour",
    limit_value=1000,
    limit_seconds=3600,
    requests=40,
    utilization={1: 30, 7: 9, 33: 1},
    clients={1: 3},
)
# Of 20 requests the 19th is the first that 95 of 100 do not exceed.
EVEN = replace(ROOMY, endpoint="/api/even", requests=20, utilization={10: 19, 90: 1}, clients={10: 1})


def violations():
    yield VIOLATION
    yield replace(VIOLATION, occurred_at=NOON.timestamp() - 90, last_at=NOON.timestamp() - 90, n=1)
    later = NOON.timestamp() + 50
    yield replace(VIOLATION, client="192.0.2.2", user_id="user:ann", occurred_at=later, last_at=later)
    yield replace(VIOLATION, client="192.0.2.9", shadow=True, n=7)
    yield replace(VIOLATION, endpoint="/api/ai", tier="expensive", limit_text="1000 per 1 hour", n=1)


@pytest.fixture
def opened(database):
    with closing(Database(database)) as opened:
        yield opened


@pytest.fixture
def write(opened):
    def write(*rows, service="shop"):
        found = tuple(row for row in rows if isinstance(row, Violation))
        usage = tuple(row for row in rows if isinstance(row, UsageRow))
        PostgresAnalyticsWriter(opened, lambda: service).write(Batch(uuid4(), found, usage))

    return write


@pytest.fixture
def seeded(opened, write, record, database, cache_report):
    """A day of a shop, and the reports of three days."""
    write(*violations(), USAGE, REFUSED, ROOMY, EVEN)
    record(database, *(NOON + timedelta(seconds=at) for at in range(20)), keys=3)
    minute = int(NOON.timestamp())
    PostgresQueryWriter(opened, NOON.timestamp).write(
        QueryBatch(
            uuid4(),
            "one",
            (),
            (TemplateTotal(minute, JOBS, "shop", 60, 0, 0),),
            (),
            (
                RequestRepeats(minute, "/api/jobs", JOBS, 2, 60, 40, "b" * 32),
                RequestRepeats(minute, "/api/jobs", JOBS, 1, 10, 10, "c" * 32),
            ),
        )
    )
    reports = PostgresCacheReports(opened)
    for days in range(3):
        reports.save(cache_report(DAY - timedelta(days=days), value_of_saved_ms=0.001))


@pytest.fixture
def grafana(database):
    """A connection of the role that the page about the database sets up for dashboards."""
    name, password = f"grafana_{secrets.token_hex(4)}", secrets.token_hex(8)
    statements = [line for line in PAGE.read_text().splitlines() if line.endswith(" grafana;")]
    assert len(statements) == 3
    with closing(psycopg2.connect(database)) as owner:
        owner.autocommit = True
        cursor = owner.cursor()
        cursor.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        for statement in statements:
            cursor.execute(statement.replace(" grafana;", f" {name};"))
        with closing(psycopg2.connect(database, user=name, password=password)) as connection:
            connection.autocommit = True
            yield connection
        cursor.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.fixture
def shown(dashboard_queries):
    """The day before the reports' last, to the day after it; variables on All unless chosen."""

    def shown(**chosen):
        return dashboard_queries.Shown(NOON - timedelta(days=4), NOON + timedelta(days=1), chosen, step=300)

    return shown


@pytest.fixture
def ask(grafana, dashboard_queries, shown):
    """`ask("Last violations", route=["/a"])`: rows of that panel, as dicts; `file` tells titles apart."""
    by_panel = {
        (query.file, query.panel): query
        for query in dashboard_queries.panel_queries(dashboard_queries.POSTGRES)
    }

    def ask(panel, file="endpoints-and-limits.json", **chosen):
        cursor = grafana.cursor()
        cursor.execute(shown(**chosen).of(by_panel[file, panel]))
        columns = [column.name for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]

    return ask
