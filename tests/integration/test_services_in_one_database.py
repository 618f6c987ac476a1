"""Two services that record to one database: every reader is of one of them, or says that it is of both."""

from __future__ import annotations

import inspect
import json
import random
import threading
import warnings
from contextlib import closing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import click
import flask
import psycopg2
import pytest
from click.testing import CliRunner
from werkzeug.serving import make_server

from otel_ratelimit import RateLimit, analytics, queries, reports
from otel_ratelimit.analytics.records import Batch, UsageRow, Violation
from otel_ratelimit.cli import main
from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.core.periods import Period
from otel_ratelimit.core.services import ALL_SERVICES, SeveralServicesWarning, services_read
from otel_ratelimit.policy import parse_policy
from otel_ratelimit.postgres import Database, PostgresAnalyticsWriter
from otel_ratelimit.postgres.analytics_reader import PostgresAnalytics
from otel_ratelimit.postgres.query_writer import PostgresQueryWriter
from otel_ratelimit.queries.records import (
    QueryBatch,
    QueryRow,
    QueryTemplate,
    RequestRepeats,
    TableWrite,
    TemplateTotal,
)
from otel_ratelimit.web.api.endpoints import ENDPOINTS

YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)
NOON = datetime(YESTERDAY.year, YESTERDAY.month, YESTERDAY.day, 12, tzinfo=UTC)
DAY = YESTERDAY.isoformat()
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


@pytest.fixture
def both(database, record, monkeypatch):
    """A database with requests of both services, and queries, which are the same for both."""
    for service, demand in DEMAND.items():
        write(database, service, demand)
        record(database, *(NOON + timedelta(seconds=at) for at in range(demand)), service=service)
    monkeypatch.setenv("OTEL_RATELIMIT_DATABASE_URL", database)
    for variable in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(variable, raising=False)
    return database


@pytest.fixture
def ask(both):
    """`ask(path, **query)`: what the API of a third application answers."""
    app = flask.Flask("admin")
    limited = RateLimit(
        app, policy=parse_policy("version = 1", "p"), environ={}, database_url=both, api_token=TOKEN
    )
    headers = {"Authorization": f"Bearer {TOKEN}"}

    def ask(path, **query):
        return app.test_client().get(f"/api/rate-limit{path}", query_string=query, headers=headers)

    ask.app = app
    yield ask
    limited.close()


@pytest.fixture
def url(ask):
    """Where that application is served."""
    server = make_server("127.0.0.1", 0, ask.app)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def call(function, *arguments, **named):
    """What a function answers, and all that it says: its answer, warnings, or error."""
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


FUNCTIONS = {
    "analytics.get_violations_by_endpoint": lambda found: found[0].violations,
    "analytics.get_violations_by_ip": lambda found: found[0].violations,
    "analytics.calculate_hit_rate_by_endpoint": lambda found: found[0].requests // 100,
    "analytics.calculate_breathing_room": lambda found: found[0].requests // 100,
    "analytics.recommend_limits": lambda found: found[0].recommended.limit_value,
    "queries.detect_duplicates": lambda found: found.in_time[0].executions,
}
"""What of their answers is a service's demand."""
OF_A_DAY = {"reports.generate_daily_cache_report", "reports.recorded_day"}
"""Of all services unless one is named, because one cache may serve them all."""
COMMANDS = {"policy suggest", "report run", "report show", "status"}
READ_NO_SERVICE = {"db current", "db downgrade", "db maintain", "db upgrade", "scheduler"}
"""Steps, upkeep, and what `report run` does as well."""


def function(name):
    module, _, member = name.partition(".")
    return getattr({"analytics": analytics, "queries": queries, "reports": reports}[module], member)


def test_this_file_knows_every_reader():
    public = {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in (analytics, queries, reports)
        for name in module.__all__
        if inspect.isfunction(found := getattr(module, name))
        and "database_url" in inspect.signature(found).parameters
    }
    assert public == set(FUNCTIONS) | OF_A_DAY
    assert commands(main) - {"status"} == (COMMANDS | READ_NO_SERVICE) - {"status"}
    over_periods = {e.name for e in ENDPOINTS if "date_range" in e.parameters.model_fields}
    assert over_periods == {"analytics", "cache_analysis"}


def commands(group, before=""):
    """All that may be given a database."""
    found = set()
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= commands(command, f"{before}{name} ")
        elif any(parameter.name == "database_url" for parameter in command.params):
            found.add(f"{before}{name}")
    return found


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_of_the_service_named_or_says_that_it_is_of_both(name, monkeypatch):
    ask, demand_in = function(name), FUNCTIONS[name]
    for service, demand in DEMAND.items():
        assert demand_in(call(ask, DAY, DAY, service=service).answer) == demand
        with monkeypatch.context() as environment:
            environment.setenv("OTEL_SERVICE_NAME", service)
            assert demand_in(call(ask, DAY, DAY).answer) == demand
            environment.delenv("OTEL_SERVICE_NAME")
            environment.setenv("OTEL_RESOURCE_ATTRIBUTES", f"a=b,service.name={service}")
            assert demand_in(call(ask, DAY, DAY).answer) == demand
    unnamed = call(ask, DAY, DAY)
    assert "2 services" in unnamed.said
    assert "jobs, shop" in unnamed.said
    unknown = call(ask, DAY, DAY, service="jbos").said
    assert unknown == "nothing is recorded of a service 'jbos'; recorded are jobs, shop"
    together = call(ask, DAY, DAY, service=ALL_SERVICES)
    if name == "analytics.recommend_limits":
        assert "a limit is for one of them" in together.said, "and one for both would fit neither"
    else:
        assert demand_in(together.answer) == sum(DEMAND.values())
        assert "2 services" not in together.said, "it was asked for"


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


@pytest.mark.usefixtures("both")
def test_a_report_of_one_service_is_shown_and_not_kept(monkeypatch):
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


def test_the_report_so_far_can_be_of_one_service(both, record):
    now = datetime.now(UTC)
    record(both, now, service="shop")
    record(both, now, now, service="jobs")
    shown = json.loads(run("report", "show", "--so-far", "--service", "jobs", "--json").stdout)
    assert (shown["report"]["service"], shown["report"]["analysis"]["all_executions"]) == ("jobs", 2)
    all_of_them = json.loads(run("report", "show", "--so-far", "--json").stdout)
    assert (all_of_them["report"]["service"], all_of_them["report"]["services"]) == (None, ["jobs", "shop"])


def test_a_day_that_has_not_ended_or_is_not_known_is_no_service_s_either(both):
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    assert "has not ended yet" in run("report", "show", "--service", "jobs", "--date", tomorrow).stderr
    assert (
        "no query is recorded for 2020-01-01"
        in call(reports.generate_daily_cache_report, "2020-01-01", service="jobs").said
    )


def test_the_name_of_the_service_is_the_one_that_is_known_when_queries_are_written(database):
    names = ["late"]
    with closing(Database(database)) as opened:
        writer = PostgresQueryWriter(opened, NOON.timestamp, lambda: names[-1])
        names.append("known by now")
        totals = (TemplateTotal(int(NOON.timestamp()), TEMPLATES[0], "shop", 1, 0, 0),)
        writer.write(QueryBatch(uuid4(), "one", (), totals, (), ()))
        assert opened.rows("SELECT service FROM otel_ratelimit.query_totals") == [("known by now",)]


def test_the_service_may_be_named_where_it_is_the_only_one(database, record, monkeypatch):
    monkeypatch.setenv("OTEL_RATELIMIT_DATABASE_URL", database)
    write(database, "shop", 8)
    write(database, "jobs", 3, at=NOON - timedelta(days=3))
    record(database, *(NOON + timedelta(seconds=at) for at in range(20)), keys=3)
    assert call(queries.detect_duplicates, DAY, DAY, service="shop").answer.services == ("shop",)
    alone = call(analytics.get_violations_by_endpoint, DAY, DAY)
    assert (alone.answer[0].violations, "services" in alone.said) == (8, False)
    assert call(analytics.get_violations_by_endpoint, DAY, DAY, service="jobs").answer == [], (
        "not on that day"
    )


@pytest.mark.usefixtures("both")
def test_a_policy_is_suggested_for_one_service_only(monkeypatch):
    refused = run("policy", "suggest", "--date-range", DAY)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert (
        "2 services are recorded here: jobs, shop; a policy is for one of them: name it with --service NAME"
        in " ".join(refused.stderr.split())
    )
    assert run("policy", "suggest", "--date-range", DAY, "--service", "*").exit_code == 2
    unknown = run("policy", "suggest", "--date-range", DAY, "--service", "jbos")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "recorded are jobs, shop" in " ".join(unknown.stderr.split())
    for service, demand in DEMAND.items():
        named = run("policy", "suggest", "--date-range", DAY, "--service", service)
        assert f"# Suggested by `otel-ratelimit policy suggest` for the service {service}.\n" in named.stdout
        assert f"# GET: {demand} requests a minute" in named.stdout
        assert f"(service {service}; others in this database: " in named.stderr
        found = json.loads(
            run("policy", "suggest", "--date-range", DAY, "--service", service, "--json").stdout
        )
        assert (found["service"], found["services"]) == (service, ["jobs", "shop"])
        monkeypatch.setenv("OTEL_SERVICE_NAME", service)
        assert run("policy", "suggest", "--date-range", DAY).stdout == named.stdout
        monkeypatch.delenv("OTEL_SERVICE_NAME")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "elsewhere")
    assert run("policy", "suggest", "--date-range", DAY).exit_code == 2


@pytest.mark.usefixtures("both")
def test_a_service_that_recorded_nothing_then_is_not_taken_for_another():
    earlier = (NOON - timedelta(days=3)).date().isoformat()
    done = run("policy", "suggest", "--date-range", earlier, "--service", "jobs")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "nothing was recorded of the service jobs" in done.stderr


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


def test_the_api_answers_for_one_service_or_says_that_it_is_both(ask, url):
    unnamed = ask("/analytics", date_range=DAY).json
    assert (unnamed["service"], unnamed["services"], unnamed["recommendations"]) == (
        None,
        ["jobs", "shop"],
        [],
    )
    assert unnamed["violations"]["total_violations"] == sum(DEMAND.values())
    for service, demand in DEMAND.items():
        body = ask("/analytics", date_range=DAY, service=service).json
        assert (body["service"], body["services"]) == (service, ["jobs", "shop"])
        assert body["violations"]["total_violations"] == demand
        assert body["recommendations"][0]["recommended"]["limit_value"] == demand
    unknown = ask("/analytics", service="jbos")
    assert unknown.status_code == 404
    assert "jobs, shop" in unknown.json["detail"]


def test_status_says_whose_violations_it_shows(both, ask, url):
    now = datetime.now(UTC) - timedelta(minutes=2)
    for service, demand in DEMAND.items():
        write(both, service, demand, at=now)
    shown = run("status", "--url", url, token=TOKEN)
    assert "In 24h (2 services together: jobs, shop; narrow with --service NAME)" in shown.stdout
    one = run("status", "--url", url, "--service", "jobs", token=TOKEN)
    assert "In 24h (service jobs; others in this database: shop): 300 requests" in one.stdout
    found = json.loads(run("status", "--url", url, "--service", "jobs", "--json", token=TOKEN).stdout)
    assert found["analytics"]["service"] == "jobs"
    unknown = run("status", "--url", url, "--service", "jbos", token=TOKEN)
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "recorded are jobs, shop" in unknown.stderr
    assert "--service" in unknown.stderr


def test_the_application_that_answers_is_the_one_shown(both, ask):
    write(both, "admin", 5)
    body = ask("/analytics", date_range=DAY).json
    assert (body["service"], body["violations"]["total_violations"]) == ("admin", 5)
    assert body["services"] == ["admin", "jobs", "shop"]


def test_a_function_within_an_application_is_of_that_application(both, ask):
    write(both, "admin", 5)
    with ask.app.app_context():
        found = call(analytics.get_violations_by_endpoint, DAY, DAY)
    assert (found.answer[0].violations, "services" in found.said) == (5, False)


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


def test_services_are_those_of_violations_and_of_requests(database):
    with closing(Database(database)) as opened:
        reader = PostgresAnalytics(opened)
        assert reader.services() == []
        write(database, "counted", 3)
        opened.rows("UPDATE otel_ratelimit.rate_limit_analytics SET service = 'by hand'")
        day = Period(NOON, NOON + timedelta(minutes=1))
        assert reader.services(day) == ["by hand", "counted"]
        assert reader.services(Period(NOON + timedelta(minutes=1), NOON + timedelta(days=1))) == []
        assert services_read(reader, day, own="counted").service == "counted"
        assert services_read(reader, day, own="other").is_mixed
