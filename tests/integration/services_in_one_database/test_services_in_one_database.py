"""Two services that record to one database: every reader is of one of them, or says that it is of both."""

from __future__ import annotations

import inspect
import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import click
import pytest
from two_services import DAY, DEMAND, NOON, TEMPLATES, TOKEN, call, run, write

from otel_ratelimit import analytics, queries, reports
from otel_ratelimit.cli import main
from otel_ratelimit.core.periods import Period
from otel_ratelimit.core.services import ALL_SERVICES, services_read
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.analytics_reader import PostgresAnalytics
from otel_ratelimit.postgres.query_writer import PostgresQueryWriter
from otel_ratelimit.queries.records import (
    QueryBatch,
    TemplateTotal,
)
from otel_ratelimit.web.api.endpoints import ENDPOINTS

FUNCTIONS = {
    "analytics.get_violations_by_endpoint": lambda found: found[0].violations,
    "analytics.get_violations_by_ip": lambda found: found[0].violations,
    "analytics.calculate_hit_rate_by_endpoint": lambda found: found[0].requests // 100,
    "analytics.calculate_breathing_room": lambda found: found[0].requests // 100,
    "analytics.recommend_limits": lambda found: found[0].recommended.limit_value,
    "queries.detect_duplicates": lambda found: found.in_time[0].executions,
}
"""The parts of their answers that are a service's demand."""
OF_A_DAY = {"reports.generate_daily_cache_report", "reports.recorded_day"}
"""Functions that read all services unless one is named, because one cache may serve them all."""
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
