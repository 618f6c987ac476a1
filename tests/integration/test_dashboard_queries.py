"""Every SQL statement of the dashboards: it answers from what our writers wrote, to a role that reads."""

from __future__ import annotations

import re
import secrets
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg2
import pytest

from otel_ratelimit.analytics import calculate_breathing_room
from otel_ratelimit.analytics.records import Batch, UsageRow, Violation
from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.postgres import Database, PostgresBatchWriter
from otel_ratelimit.postgres.cache_reports import PostgresCacheReports
from otel_ratelimit.postgres.query_writer import PostgresQueryWriter
from otel_ratelimit.queries.records import QueryBatch, QueryTemplate, RequestRepeats, TemplateTotal

PAGE = Path(__file__).parents[2] / "docs/how-to/analytics.md"
DAY = date(2026, 1, 9)
NOON = datetime(2026, 1, 9, 12, tzinfo=UTC)
HOSTILE = [
    "'; DROP SCHEMA otel_ratelimit CASCADE; --",
    "$match$; SELECT 1; --",
    "a|b(",
    "\\",
    "${job}",
    "$__from(",
]
WRITING = {"ModifyTable", "LockRows"}
GROWING = {
    *("rate_limit_analytics", "rate_limit_usage", "query_logs", "query_totals", "query_repeats"),
    "table_writes",
}

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
JOBS = QueryTemplate(
    11, "SELECT * FROM jobs WHERE id = ?", "select", ("jobs",), is_write=False, volatile=False
)


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
        PostgresBatchWriter(opened, lambda: service).write(Batch(uuid4(), found, usage))

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


def queries(dashboard_queries):
    return dashboard_queries.panel_queries(dashboard_queries.POSTGRES)


def plan_nodes(plan):
    yield plan["Node Type"]
    for child in plan.get("Plans", ()):
        yield from plan_nodes(child)


@pytest.mark.usefixtures("seeded")
def test_every_panel_has_rows(grafana, dashboard_queries, shown):
    for query in queries(dashboard_queries):
        cursor = grafana.cursor()
        cursor.execute(shown().of(query))
        rows = cursor.fetchall()
        assert rows, str(query)
        assert any(value not in {None, ""} for value in rows[0]), str(query)


def test_every_panel_takes_an_empty_database(grafana, dashboard_queries, shown):
    for query in queries(dashboard_queries):
        cursor = grafana.cursor()
        cursor.execute(shown().of(query))
        rows = cursor.fetchall()
        # Its tables are there, and nobody was refused: both are the truth.
        assert query.panel in {"Clients refused", "Tables"} or rows == [], str(query)


@pytest.mark.usefixtures("seeded")
def test_no_panel_writes_or_locks(grafana, dashboard_queries, shown):
    for query in queries(dashboard_queries):
        cursor = grafana.cursor()
        cursor.execute(f"EXPLAIN (FORMAT JSON) {shown().of(query)}")
        [[[explained]]] = cursor.fetchall()
        assert not WRITING & set(plan_nodes(explained["Plan"])), str(query)


@pytest.mark.usefixtures("seeded")
def test_no_panel_reads_a_table_that_grows_with_traffic_from_end_to_end(grafana, dashboard_queries, shown):
    for query in queries(dashboard_queries):
        cursor = grafana.cursor()
        # Then it does so only where no index would do.
        cursor.execute("SET enable_seqscan = off")
        cursor.execute(f"EXPLAIN {shown().of(query)}")
        read = re.findall(r"Seq Scan on (\w+)", "\n".join(line for (line,) in cursor.fetchall()))
        assert not GROWING & {re.sub(r"_\d+$", "", table) for table in read}, str(query)


def test_the_role_may_neither_write_nor_read_the_secret(grafana):
    cursor = grafana.cursor()
    for forbidden in (
        "DELETE FROM otel_ratelimit.rate_limit_analytics",
        "SELECT secret FROM otel_ratelimit.hash_keys",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(forbidden)


@pytest.mark.usefixtures("seeded")
def test_courses_have_a_time_in_order_and_numbers(grafana, dashboard_queries, shown):
    asked = [query for query in queries(dashboard_queries) if query.format == "time_series"]
    assert len(asked) == 5
    for query in asked:
        cursor = grafana.cursor()
        cursor.execute(shown().of(query))
        rows = cursor.fetchall()
        assert cursor.description[0].name == "time", str(query)
        assert [row[0] for row in rows] == sorted(row[0] for row in rows), str(query)
        for column, *values in zip(cursor.description, *rows, strict=True):
            is_series_name = column.name == "metric"
            assert column.name == "time" or is_series_name == isinstance(values[0], str), str(query)


@pytest.mark.usefixtures("seeded")
def test_columns_that_have_a_look_of_their_own_are_there(grafana, dashboard_queries, shown):
    by_panel = {(query.file, query.panel): query for query in queries(dashboard_queries)}
    for file, dashboard in dashboard_queries.dashboards().items():
        for panel in dashboard_queries.panels(dashboard):
            if "rawSql" in panel["targets"][0] and panel["type"] != "timeseries":
                cursor = grafana.cursor()
                cursor.execute(shown().of(by_panel[file, panel["title"]]))
                columns = {column.name for column in cursor.description}
                for override in panel["fieldConfig"]["overrides"]:
                    assert override["matcher"]["options"] in columns, panel["title"]


@pytest.mark.usefixtures("seeded")
def test_the_names_of_series_that_have_a_colour_are_there(grafana, dashboard_queries, shown):
    by_panel = {(query.file, query.panel): query for query in queries(dashboard_queries)}
    for file, dashboard in dashboard_queries.dashboards().items():
        for panel in dashboard_queries.panels(dashboard):
            if "rawSql" in panel["targets"][0] and panel["type"] == "timeseries":
                cursor = grafana.cursor()
                cursor.execute(shown().of(by_panel[file, panel["title"]]))
                columns = {column.name for column in cursor.description}
                for override in panel["fieldConfig"]["overrides"]:
                    assert override["matcher"]["options"] in columns, panel["title"]


# What they say


@pytest.mark.usefixtures("seeded")
def test_clients_are_counted_once_and_not_those_in_shadow(ask):
    assert ask("Clients refused", "overview.json") == [{"Clients": 2}]


@pytest.mark.usefixtures("seeded")
def test_routes_have_their_violations_and_clients(ask):
    first, second = ask("Most limited routes")
    assert (first["Route"], first["Refused"], first["In shadow"], first["Clients"]) == (
        *("/api/jobs/<int:id>", 7, 7, 3),
    )
    assert (second["Route"], second["Refused"], second["In shadow"]) == ("/api/ai", 1, 0)


@pytest.mark.usefixtures("seeded")
def test_clients_have_their_violations_and_routes(ask):
    found = {
        (row["Client"], row["User"]): (row["Refused"], row["In shadow"], row["Routes"])
        for row in ask("Most limited clients")
    }
    assert found == {
        ("192.0.2.9", ""): (0, 7, 1),
        ("192.0.2.1", ""): (5, 0, 2),
        ("192.0.2.2", "user:ann"): (3, 0, 1),
    }


@pytest.mark.usefixtures("seeded")
def test_the_newest_violation_is_the_first(ask):
    newest, *_ = ask("Last violations")
    assert (newest["Client"], newest["User"], newest["Times"]) == ("192.0.2.2", "user:ann", 3)
    assert (newest["Limit"], newest["Outcome"], newest["Trace"]) == (
        "5 per 1 minute",
        "refused",
        "a" * 32,
    )


@pytest.mark.parametrize(
    "panel", ["Room by limit", "Most limited routes", "Most limited clients", "Last violations"]
)
def test_two_services_with_one_route_have_rows_of_their_own(ask, write, panel):
    write(VIOLATION, USAGE)
    write(replace(VIOLATION, n=9), REFUSED, service="jobs")
    assert sorted(row["Service"] for row in ask(panel)) == ["jobs", "shop"]
    assert [row["Service"] for row in ask(panel, job=["jobs"])] == ["jobs"]


def test_two_services_with_one_limit_have_courses_of_their_own(ask, write):
    write(VIOLATION)
    write(replace(VIOLATION, n=9), service="jobs")
    assert {(row["metric"], row["value"]) for row in ask("Violations by limit")} == {
        ("jobs, default: 5 per 1 minute", 9),
        ("shop, default: 5 per 1 minute", 3),
    }


@pytest.mark.parametrize(
    ("jobs", "clients"),
    [
        (["shop"], 1),
        (["payments/shop"], 1),
        (["payments/shop", "payments/other"], 1),
        (["a/other", "a.b/c-d/shop"], 1),
        (["other", "payments/jobs"], 1),
        (["payments/shop", "jobs"], 2),
        (["payments/other"], 0),
        (["shop/payments"], 0),
        (["payments/shopping", "shop/", "/", "a(b/sho", "x|y/hop"], 0),
    ],
)
def test_a_job_may_begin_with_the_namespace_of_its_service(ask, write, jobs, clients):
    write(VIOLATION)
    write(replace(VIOLATION, client="192.0.2.2"), service="jobs")
    assert ask("Clients refused", "overview.json", job=jobs) == [{"Clients": clients}]


@pytest.mark.usefixtures("seeded")
def test_room_is_what_the_functions_of_the_package_say(ask, database, monkeypatch):
    monkeypatch.setenv("OTEL_RATELIMIT_DATABASE_URL", database)
    said = calculate_breathing_room("2026-01-09", "2026-01-09")
    found = ask("Room by limit")
    assert len(said) == 3
    assert [
        (
            *(row["Route"], row["Method"], row["Tier"], row["Limit"], row["Requests"], row["Refused"]),
            *(
                row["Half use"],
                row["95 % use"],
                row["99 % use"],
                row["Highest"],
                row["Room"],
                row["Units left"],
            ),
        )
        for row in found
    ] == [
        (
            *(room.endpoint, room.method, room.tier, room.limit_text, room.requests, room.refused),
            *(room.p50, room.p95, room.p99, room.highest, room.room, room.units_left),
        )
        for room in said
    ]


@pytest.mark.usefixtures("seeded")
def test_repeats_are_summed_and_lead_to_the_worst_request(ask):
    [row] = ask("Repeated in one request", "query-cache-advisor.json")
    assert (row["Route"], row["Query"], row["Requests"]) == ("/api/jobs", JOBS.text, 3)
    assert (row["In each"], row["In the worst"], row["Trace"]) == (pytest.approx(70 / 3), 40, "b" * 32)


@pytest.mark.parametrize(
    ("jobs", "services"),
    [
        ({}, ["jobs", "not known", "shop"]),
        ({"job": ["jobs"]}, ["jobs"]),
        ({"job": ["payments/jobs", "shop"]}, ["jobs", "shop"]),
        ({"job": ["other"]}, []),
    ],
)
def test_repeats_of_two_services_are_told_apart(ask, opened, jobs, services):
    for service in ("shop", "jobs", ""):
        found = (RequestRepeats(int(NOON.timestamp()), "/api/jobs", JOBS, 2, 60, 40, "b" * 32),)
        writer = PostgresQueryWriter(opened, NOON.timestamp, lambda service=service: service)
        writer.write(QueryBatch(uuid4(), "one", (), (), (), found))
    rows = ask("Repeated in one request", "query-cache-advisor.json", **jobs)
    assert sorted(row["Service"] for row in rows) == services
    assert all(row["Requests"] == 2 for row in rows)


@pytest.mark.usefixtures("seeded")
def test_the_advice_is_that_of_the_last_report(ask, cache_report):
    report = cache_report(DAY, value_of_saved_ms=0.001)

    def value(panel):
        [[found]] = [row.values() for row in ask(panel, "query-cache-advisor.json")]
        return found

    assert value("Would it pay?") == int(report.worthwhile)
    assert value("Hit potential") == report.hit_potential
    assert value("Recommended TTL") == report.recommended_ttl_seconds
    assert value("Memory") == round(report.memory_bytes)
    assert value("Load taken off") == report.cost.load_reduction
    assert value("Break-even") == report.cost.break_even_executions_a_day
    assert 0 <= value("Report made") < 300
    [reason] = ask("Reason", "query-cache-advisor.json")
    assert (reason["Day"], reason["Reason"]) == ("2026-01-09", report.reason)
    assert reason["Certainty"] == report.cost.certainty


@pytest.mark.usefixtures("seeded")
def test_the_most_worthwhile_queries_come_with_how_to_cache_them(ask, cache_report):
    [best, *_] = cache_report(DAY, value_of_saved_ms=0.001).analysis.most_worth
    [first, *_] = ask("Top 10 to cache", "query-cache-advisor.json")
    at = best.advice.at
    assert (first["Query"], first["TTL"], first["Hits"]) == (best.template, at.ttl_seconds, at.hit_ratio)
    assert (first["Executions"], first["Takes"]) == (best.executions, best.mean_duration_ms)
    assert (first["Saves a day"], first["Memory"]) == (at.latency_saved_ms, at.peak_bytes)
    assert (first["How"], first["Why"]) == ("TTL alone", best.advice.reason)
    assert (first["Worth it"], first["Repeats"]) == ("yes", best.duplicates)


@pytest.mark.usefixtures("seeded")
def test_where_nothing_is_worth_it_the_queries_that_repeat_most_come_with_why_not(ask, opened, cache_report):
    report = cache_report(DAY + timedelta(days=1), lookup_ms=10.0)
    PostgresCacheReports(opened).save(report)
    assert report.analysis.plan is None
    [repeated] = report.analysis.most_repeated

    [row] = ask("Top 10 to cache", "query-cache-advisor.json")

    assert (row["Query"], row["Repeats"]) == (repeated.template, repeated.duplicates)
    assert (row["Worth it"], row["How"], row["Why"]) == ("no", "do not cache it", repeated.not_worth)
    assert (row["TTL"], row["Hits"], row["Saves a day"], row["Memory"]) == (None, None, None, None)
    # It saves the database work, and takes the queries longer.
    _, database, waiting, *_ = ask("With and without a cache", "query-cache-advisor.json")
    assert database["Difference"] < 0 < waiting["Difference"]


@pytest.mark.usefixtures("seeded")
def test_what_the_cache_changes_stands_in_one_table(ask, opened, cache_report):
    report = cache_report(DAY, value_of_saved_ms=0.001)

    rows = ask("With and without a cache", "query-cache-advisor.json")

    assert [(row["Without"], row["With"]) for row in rows] == [
        (figure.without_cache, figure.with_cache) for figure in report.comparison.figures
    ]
    assert all(row["What"] for row in rows)
    assert [row["Unit"] for row in rows] == ["queries", "ms", "ms", "bytes", "USD", "USD", "USD"]
    # A report of an earlier version has no such table.
    older = report.model_copy(update={"comparison": None, "analysis_date": DAY + timedelta(days=1)})
    PostgresCacheReports(opened).save(older)
    assert ask("With and without a cache", "query-cache-advisor.json") == []


@pytest.mark.usefixtures("seeded")
def test_hits_by_ttl_are_in_order_of_the_ttl(ask, cache_report):
    by_ttl = cache_report(DAY, value_of_saved_ms=0.001).analysis.by_ttl
    found = ask("Hit ratio by TTL", "query-cache-advisor.json")
    assert [row["TTL"] for row in found] == ["1 min", "10 min", "1 h"]
    assert [row["Writes drop nothing"] for row in found] == [at.hit_ratio for at in by_ttl]


@pytest.mark.usefixtures("seeded")
def test_days_come_one_after_another(ask):
    days = ask("Hit potential by day", "query-cache-advisor.json")
    assert [row["time"].date() for row in days] == [DAY - timedelta(days=back) for back in (2, 1, 0)]


@pytest.mark.usefixtures("seeded")
def test_days_of_the_query_log_are_one_table(ask):
    names = [row["Table"] for row in ask("Tables", "plugin-health.json")]
    assert names.count("query_logs") == 1
    assert not [name for name in names if re.search(r"query_logs_", name)]


# Variables


@pytest.mark.usefixtures("seeded")
def test_choosing_narrows_to_what_was_chosen(ask, write):
    write(replace(VIOLATION, client="198.51.100.1"), service="it's another (new)")
    assert {row["Client"] for row in ask("Most limited clients", job=["it's another (new)"])} == {
        "198.51.100.1"
    }
    assert len(ask("Most limited clients", job=["shop", "it's another (new)"])) == 4
    assert {row["Route"] for row in ask("Most limited routes", route=["/api/ai"])} == {"/api/ai"}
    assert {row["Tier"] for row in ask("Most limited routes", tier=["expensive"])} == {"expensive"}
    assert ask("Most limited clients", job=["sho."]) == []


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("value", HOSTILE)
def test_no_value_of_a_variable_is_more_than_a_value(ask, write, value):
    assert ask("Last violations", job=[value]) == []
    write(replace(VIOLATION, n=1), service=value)
    [row] = ask("Most limited routes", job=[value])
    assert row["Refused"] == 1
