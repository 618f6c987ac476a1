"""Queries and cache reports of two services that record to one database."""

from __future__ import annotations

import json
import random
import warnings
from contextlib import closing
from datetime import timedelta
from uuid import uuid4

import psycopg2
import pytest
from two_services import DAY, DEMAND, NOON, TEMPLATES, call, run, write

from otel_ratelimit import queries, reports
from otel_ratelimit.core.services import ALL_SERVICES
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.query_writer import PostgresQueryWriter
from otel_ratelimit.queries.records import (
    QueryBatch,
    QueryRow,
    RequestRepeats,
    TableWrite,
    TemplateTotal,
)


def query_row(draw):
    template, hot = draw.choice(TEMPLATES), draw.random() < 0.3
    buckets = tuple(draw.randrange(4) for _ in range(5)) if hot else None
    return QueryRow(
        ts=NOON.timestamp() + draw.randrange(7_000),
        template=template,
        key=bytes([draw.randrange(40)] * 16),
        n=1 + sum(buckets) if hot else 1,
        sample_rate=1.0 if hot else 0.5,
        tier="hot" if hot else "cold",
        duration_us=draw.randrange(50_000),
        rows=1,
        result_bytes=400,
        endpoint="/a",
        trace_id=None,
        database="shop",
        in_txn=False,
        status="ok",
        buckets=(1, *buckets) if hot else None,
    )


def write_queries(url, service, *parts):
    """Rows, totals, writes and repeats."""
    with closing(Database(url)) as opened:
        writer = PostgresQueryWriter(opened, NOON.timestamp, lambda: service)
        writer.write(QueryBatch(uuid4(), "one", *map(tuple, parts)))


def all_that_is_read_of_queries(service):
    with reports.recorded_day(DAY, service=service) as day:
        analysis = reports.analyze_cache_potential(day)
        written = {table: found.n.tolist() for table, found in day.writes.items()}
    found = queries.detect_duplicates(DAY, DAY, service=service)
    return analysis, found.in_requests, found.in_time, written


@pytest.mark.parametrize("service", ["jobs", "shop"])
def test_queries_of_a_service_are_read_as_if_it_had_a_database_of_its_own(database, monkeypatch, service):
    """The same templates and keys, hot in one and cold in the other."""
    monkeypatch.setenv("OTEL_RATELIMIT_DATABASE_URL", database)
    draw, minute = random.Random(5), int(NOON.timestamp())
    for n, name in enumerate(("jobs", "shop"), start=1):
        rows = [query_row(draw) for _ in range(300)]
        totals = [TemplateTotal(minute, row.template, "shop", 2 * row.n, 0, 0) for row in rows]
        repeats = [RequestRepeats(minute, "/list", TEMPLATES[0], n, 9 * n, 9, None)]
        write_queries(database, name, rows, totals, [TableWrite(minute, "shop", "t0", "update", n)], repeats)
    narrowed, together = all_that_is_read_of_queries(service), all_that_is_read_of_queries(ALL_SERVICES)
    with closing(psycopg2.connect(database)) as connection, connection, connection.cursor() as cursor:
        for table in ("query_logs", "query_totals", "query_repeats"):
            cursor.execute(f"DELETE FROM otel_ratelimit.{table} WHERE service <> %s", (service,))
    alone = all_that_is_read_of_queries(ALL_SERVICES)
    assert narrowed == alone
    assert all(part != all_of_it for part, all_of_it in zip(narrowed[:3], together[:3], strict=True))
    assert narrowed[0].executions > 0
    assert narrowed[3] == {("shop", "t0"): [3]}, "what one has cached is stale where another has written"


def test_a_day_of_several_services_says_so_unless_one_is_named_or_all(both):
    def read(**named):
        with reports.recorded_day(DAY, **named) as day:
            return sum(count.n for count in day.counts.values())

    assert call(read).answer == sum(DEMAND.values())
    assert "2 services together: jobs, shop" in call(read).said
    for service, demand in DEMAND.items():
        assert (call(read, service=service).answer, call(read, service=service).said) == (
            demand,
            f"{demand} []",
        )
    assert call(read, service="*").said == f"{sum(DEMAND.values())} []"
    assert "recorded are jobs, shop" in call(read, service="jbos").said


def test_queries_without_a_service_are_nobodys_and_said(both, record):
    record(both, *(NOON + timedelta(seconds=at) for at in range(5)), service="")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = queries.detect_duplicates(DAY, DAY, service="jobs")
    assert [(each.category, str(each.message)) for each in told] == [
        (
            queries.QueriesWithoutServiceWarning,
            "left out because an earlier version recorded them without a service: 5 executions of this time",
        )
    ]
    assert (found.in_time[0].executions, found.service, found.without_service) == (3, "jobs", 5)
    assert queries.detect_duplicates(DAY, DAY, service="*").in_time[0].executions == 16
    shown = run("report", "show", "--date", DAY, "--service", "jobs").stdout
    assert "Left out 5 executions no service is known for them" in " ".join(shown.split())
    assert reports.generate_daily_cache_report(DAY).analysis.all_executions == 16


def test_queries_without_a_service_are_counted_where_only_one_is_known(database, record, monkeypatch):
    monkeypatch.setenv("OTEL_RATELIMIT_DATABASE_URL", database)
    record(database, *(NOON + timedelta(seconds=at) for at in range(5)), service="")
    write(database, "jobs", 3)
    assert call(queries.detect_duplicates, DAY, DAY).answer.services == ("jobs",), "it answered requests"
    record(database, *(NOON + timedelta(seconds=at) for at in range(2)), service="jobs")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = queries.detect_duplicates(DAY, DAY)
    assert (found.services, found.service, found.in_time[0].executions) == (("jobs",), None, 7)


@pytest.fixture
def clock_of(both, clocked, monkeypatch):
    """`clock_of(moment)`: commands take the time from the database of both, whose clock says that."""

    def set_clock(moment):
        clocked.set_clock(moment)
        monkeypatch.setenv("OTEL_RATELIMIT_DATABASE_URL", clocked.url)

    return set_clock


def test_a_report_of_one_service_is_shown_and_not_kept(clock_of):
    clock_of(NOON + timedelta(days=1))
    for service, demand in DEMAND.items():
        report = reports.generate_daily_cache_report(DAY, service=service)
        assert (report.service, report.services, report.analysis.all_executions) == (
            service,
            ("jobs", "shop"),
            demand,
        )
        made = run("report", "show", "--date", DAY, "--service", service, "--json")
        shown = json.loads(made.stdout)
        assert (shown["report"]["service"], shown["trend"]) == (service, [])
        assert shown["report"]["analysis"]["all_executions"] == demand
        other = next(name for name in DEMAND if name != service)
        tables = " ".join(run("report", "show", "--service", service).stdout.split())
        assert (
            f"Service {service} only its queries count, and writes of all; others in this database: {other}"
            in (tables)
        )
    assert "of all; others in" in " ".join(
        run("report", "show", "--service", "jobs", "--html", "-").stdout.split()
    )
    for arguments in (("--service", "*"), ()):
        none = run("report", "show", *arguments)
        assert (none.exit_code, none.stdout) == (1, ""), "nothing was kept"
    refused = run("report", "run", "--service", "jobs")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "`otel-ratelimit report show --service jobs` makes" in " ".join(refused.stderr.split())
    for arguments in (("--date", DAY), ("--so-far",)):
        unknown = run("report", "show", "--service", "jbos", *arguments)
        assert (unknown.exit_code, unknown.stdout) == (2, "")
        assert "recorded are jobs, shop" in " ".join(unknown.stderr.split())
    assert run("report", "run", "--date", DAY, "--service", "*", "--no-mail").exit_code == 0
    assert reports.generate_daily_cache_report(DAY, service="*").service is None
    assert run("report", "show", "--service", "*").exit_code == 0


def test_the_report_so_far_can_be_of_one_service(both, record, clock_of):
    now = NOON + timedelta(days=2)
    record(both, now, service="shop")
    record(both, now, now, service="jobs")
    clock_of(now + timedelta(minutes=1))
    shown = json.loads(run("report", "show", "--so-far", "--service", "jobs", "--json").stdout)
    assert (shown["report"]["service"], shown["report"]["analysis"]["all_executions"]) == ("jobs", 2)
    all_of_them = json.loads(run("report", "show", "--so-far", "--json").stdout)
    assert (all_of_them["report"]["service"], all_of_them["report"]["services"]) == (None, ["jobs", "shop"])


def test_a_day_that_has_not_ended_or_is_not_known_is_no_service_s_either(clock_of):
    today = (NOON + timedelta(days=2)).date().isoformat()
    clock_of(NOON + timedelta(days=2))
    assert "has not ended yet" in run("report", "show", "--service", "jobs", "--date", today).stderr
    assert (
        "no query is recorded for 2020-01-01"
        in call(reports.generate_daily_cache_report, "2020-01-01", service="jobs").said
    )


@pytest.mark.usefixtures("both")
def test_a_report_names_the_services_whose_queries_it_is_of(ask, both):
    made = run("report", "run", "--date", DAY, "--no-mail")
    assert "(2 services together: jobs, shop)" in made.stdout, made.output
    assert json.loads(run("report", "run", "--date", DAY, "--no-mail", "--json").stdout)["made"][0][
        "services"
    ] == [
        "jobs",
        "shop",
    ]
    shown = " ".join(run("report", "show").stdout.split())
    assert "Services 2 together jobs, shop; one cache would serve all of them" in shown
    assert json.loads(run("report", "show", "--json").stdout)["report"]["services"] == ["jobs", "shop"]
    assert ask("/cache-analysis").json["latest"]["services"] == ["jobs", "shop"]
    with closing(psycopg2.connect(both)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("UPDATE otel_ratelimit.cache_analysis_daily SET details = details - 'services'")
    assert "Service" not in run("report", "show").stdout, "an earlier version did not note them"
    assert ask("/cache-analysis").json["latest"]["services"] == []


def test_a_role_that_may_not_read_requests_still_makes_reports(both, record, role_of_reports):
    report = reports.generate_daily_cache_report(DAY, database_url=role_of_reports)
    assert report.services == ("jobs", "shop")
    assert report.analysis.all_executions == sum(DEMAND.values())
    record(both, NOON, service="")
    told = []
    report = reports.generate_daily_cache_report(DAY, database_url=role_of_reports, report=told.append)
    assert (report.services, report.without_service) == ((), 1)
    assert any("its services cannot be read" in sentence for sentence in told)


@pytest.fixture
def role_of_reports(both):
    """A connection of a role with the rights that an earlier version asked for."""
    name = f"reporter_{uuid4().hex[:8]}"
    with closing(psycopg2.connect(both)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            f"CREATE ROLE {name} LOGIN; GRANT USAGE ON SCHEMA otel_ratelimit TO {name};"
            " GRANT SELECT ON otel_ratelimit.query_logs, otel_ratelimit.query_totals,"
            f" otel_ratelimit.query_templates, otel_ratelimit.table_writes TO {name};"
            f" GRANT SELECT, INSERT, UPDATE ON otel_ratelimit.cache_analysis_daily TO {name}"
        )
    yield both.replace("//postgres@", f"//{name}@")
    with closing(psycopg2.connect(both)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
