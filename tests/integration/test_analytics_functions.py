"""The functions that the specification names, and `policy suggest`, on what a recorder really wrote."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone

import flask
import pytest
from click.testing import CliRunner

from otel_ratelimit import RateLimit
from otel_ratelimit.analytics import (
    calculate_breathing_room,
    calculate_hit_rate_by_endpoint,
    get_violations_by_endpoint,
    get_violations_by_ip,
    log_rate_limit_violation,
    recommend_limits,
)
from otel_ratelimit.analytics.recorder import Recorder
from otel_ratelimit.cli.policy_suggest import suggest
from otel_ratelimit.core.counter_store import WindowState
from otel_ratelimit.core.decision import Decision, DecisionKind
from otel_ratelimit.core.errors import ConfigurationError, DatabaseError, SchemaMissingError
from otel_ratelimit.core.identity import Identity
from otel_ratelimit.core.periods import period
from otel_ratelimit.core.route_plan import KeySpec, RoutePlan, Strategy, Window
from otel_ratelimit.policy import PolicyResolver, parse_policy
from otel_ratelimit.postgres import Database, PostgresAnalyticsWriter
from otel_ratelimit.postgres.analytics_reader import PostgresAnalytics
from otel_ratelimit.queries import detect_duplicates

DAY = "2026-01-31"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
VARIABLE = "OTEL_RATELIMIT_DATABASE_URL"


class Silent:
    def recorded(self, violations):
        pass

    def dropped(self, violations):
        pass


@pytest.fixture
def record(database):
    """Counts requests against 10 a minute as a fixed window does, and writes what came of them."""
    opened = Database(database)
    writer = PostgresAnalyticsWriter(opened, lambda: "jobs")
    recorder = Recorder(writer, Silent(), lambda: None, batch_size=10, flush_interval=60.0)

    def record(route, demand, *, at=NOON, method="GET"):
        window = Window("p", 10, 60, Strategy.FIXED_WINDOW, False, "10 per 1 minute", "10-per-minute")
        plan = RoutePlan(
            "e", method, route, "default", False, KeySpec("ip"), (window,), 1, "closed", "default_tier"
        )
        for address, times in demand.items():
            who = Identity("i" + "0" * 32, "ip", address, None)
            for number in range(1, times + 1):
                refused = number > 10
                used = min(number, 10)
                state = WindowState(used, 10 - used, 60.0, 60.0 if refused else 0.0)
                outcome = DecisionKind.BLOCKED if refused else DecisionKind.ALLOWED
                decision = Decision(outcome, plan, (window,), (state,), who, 0, at.timestamp(), 0.0)
                recorder.decided(decision, "ua", None)
        assert recorder.flush()

    yield record
    recorder.close()


@pytest.fixture
def known(database, monkeypatch):
    monkeypatch.setenv(VARIABLE, database)


@pytest.mark.usefixtures("known")
def test_violations_are_told_by_endpoint_and_by_address(record):
    record("/a", {"192.0.2.1": 15, "192.0.2.2": 11})
    record("/b", {"192.0.2.1": 12, "192.0.2.3": 9})
    by_endpoint = get_violations_by_endpoint("2026-01-01", "2026-01-31")
    assert [(g.key, g.violations, g.clients) for g in by_endpoint] == [("/a", 6, 2), ("/b", 2, 1)]
    by_ip = get_violations_by_ip("2026-01-01", "2026-01-31")
    assert [(g.key, g.violations, g.endpoints) for g in by_ip] == [("192.0.2.1", 7, 2), ("192.0.2.2", 1, 1)]


@pytest.mark.usefixtures("known")
def test_hit_rate_room_and_recommendation_are_those_of_the_requests(record):
    record("/a", {"192.0.2.1": 15, "192.0.2.2": 5})
    record("/b", {"192.0.2.1": 3})
    a, b = calculate_hit_rate_by_endpoint("2026-01-31", "2026-01-31")
    assert (a.endpoint, a.requests, a.blocked, a.hit_rate) == ("/a", 20, 5, 0.25)
    assert (b.endpoint, b.requests, b.hit_rate) == ("/b", 3, 0.0)
    tight, wide = calculate_breathing_room("2026-01-31", "2026-01-31", quantile=0.5)
    assert (tight.endpoint, tight.requests, tight.refused, tight.room) == ("/a", 20, 5, 0.5)
    assert (wide.endpoint, wide.highest, wide.room) == ("/b", 0.3, 0.8)
    [alone] = calculate_breathing_room("2026-01-31", "2026-01-31", endpoint="/b")
    assert alone.endpoint == "/b"
    [found] = recommend_limits("2026-01-31", "2026-01-31", endpoint="/a", max_rejected_share=0.0)
    assert (found.requests, found.client_windows) == (20, 2)
    assert found.recommended.limit_value == 15, "what the busiest client asked for"
    assert not found.enough_evidence


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("start", "end", "violations"),
    [
        (date(2026, 1, 31), date(2026, 1, 31), 5),
        ("2026-01-31", "2026-01-31", 5),
        (date(2026, 1, 1), date(2026, 1, 30), None),
        (datetime.fromisoformat("2026-01-31T11:00"), datetime.fromisoformat("2026-01-31T13:00"), 5),
        (NOON, NOON + timedelta(minutes=1), 5),
        ("2026-01-31T11:00Z", "2026-01-31T12:00Z", None),
        (NOON.astimezone(timezone(timedelta(hours=14))), date(2026, 2, 1), 5),
        ("2026-01-31T14:00+02:00", "2026-01-31T14:01+02:00", 5),
    ],
)
def test_a_date_is_a_day_of_utc_and_a_time_is_a_moment(record, start, end, violations):
    record("/a", {"192.0.2.1": 15})
    found = get_violations_by_endpoint(start, end)
    assert [group.violations for group in found] == ([violations] if violations else [])


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    "ask",
    [
        get_violations_by_endpoint,
        get_violations_by_ip,
        calculate_hit_rate_by_endpoint,
        calculate_breathing_room,
        recommend_limits,
    ],
)
def test_each_function_answers_nothing_for_nothing_and_refuses_a_period_that_is_none(ask):
    assert ask("2026-01-01", "2026-01-31") == []
    with pytest.raises(ValueError, match="2026-02-01"):
        ask("2026-02-01", "2026-01-01")
    with pytest.raises(ValueError, match="yesterday"):
        ask("yesterday", "2026-01-01")


ALL = [
    get_violations_by_endpoint,
    get_violations_by_ip,
    calculate_hit_rate_by_endpoint,
    calculate_breathing_room,
    recommend_limits,
]


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("ask", ALL)
def test_without_dates_the_last_24_hours_are_meant(ask, record):
    now = datetime.now(UTC)
    record("/yesterday", {"192.0.2.1": 15}, at=now - timedelta(hours=25))
    assert ask() == []
    record("/today", {"192.0.2.2": 15}, at=now - timedelta(hours=23))
    [found] = ask()
    assert getattr(found, "endpoint", None) or found.key in {"/today", "192.0.2.2"}
    assert len(ask(now - timedelta(days=2))) == 2, "without an end it is now"
    assert len(ask(None, now - timedelta(hours=24))) == 1, "without a start, a day before the end"


@pytest.fixture
def app(database, monkeypatch):
    """It has its database from its own arguments, and the environment names none."""
    monkeypatch.delenv(VARIABLE, raising=False)
    app = flask.Flask("shop")
    app.add_url_rule("/jobs", "jobs", lambda: "ok")
    app.add_url_rule("/all-jobs", "jobs")
    app.add_url_rule("/jobs/<int:job_id>", "detail", lambda job_id: "ok")
    limit = RateLimit(app, policy=parse_policy("version = 1", "p.toml"), database_url=database, environ={})
    yield app
    limit.close()


@pytest.mark.parametrize("ask", ALL)
def test_within_an_application_its_own_database_is_read(ask, app, record):
    record("/jobs", {"192.0.2.1": 15}, at=datetime.now(UTC) - timedelta(minutes=5))
    with app.app_context():
        assert len(ask()) == 1
    with pytest.raises(ConfigurationError, match=VARIABLE):
        ask()


def test_an_endpoint_is_a_route_or_the_name_of_a_flask_endpoint(app, record):
    for route in ("/jobs", "/all-jobs", "/jobs/<int:job_id>", "nightly export"):
        record(route, {"192.0.2.1": 15})

    def of(endpoint):
        return {found.endpoint for found in calculate_hit_rate_by_endpoint(DAY, DAY, endpoint=endpoint)}

    with app.app_context():
        assert of("jobs") == {"/jobs", "/all-jobs"}
        assert of("detail") == of("/jobs/<int:job_id>") == {"/jobs/<int:job_id>"}
        assert of("/jobs") == {"/jobs"}
        assert of("nightly export") == {"nightly export"}
        assert of("nothing") == set()
        assert {found.endpoint for found in calculate_breathing_room(DAY, DAY, endpoint="jobs")} == of("jobs")
        assert {found.endpoint for found in recommend_limits(DAY, DAY, endpoint="jobs")} == of("jobs")
        assert detect_duplicates(DAY, DAY, endpoint="jobs").in_requests == ()


def test_a_violation_under_the_name_of_an_endpoint_is_recorded_under_its_route(app):
    limit = {"limit_text": "3 per 1 day", "limit_value": 3, "limit_seconds": 86_400, "current_count": 4}
    with app.test_request_context("/all-jobs"):
        assert log_rate_limit_violation(endpoint="jobs", client="192.0.2.1", **limit)
    with app.app_context():
        for name in ("jobs", "detail", "/gone", "nightly export"):
            assert log_rate_limit_violation(endpoint=name, client="192.0.2.1", **limit)
        app.extensions["otel_ratelimit"].analytics.recorder.flush()
        found = {group.key: group.violations for group in get_violations_by_endpoint()}
    assert found == {"/all-jobs": 1, "/jobs": 1, "/jobs/<int:job_id>": 1, "/gone": 1, "nightly export": 1}


def test_to_group_by_ip_is_to_group_by_client(database, record):
    record("/a", {"192.0.2.1": 15})
    day = period(DAY, DAY)
    with closing(Database(database)) as opened:
        reader = PostgresAnalytics(opened)
        assert reader.violations(day, "ip") == reader.violations(day, "client")
        with pytest.raises(ValueError, match="client"):
            reader.violations(day, "address")


def test_a_database_can_be_given(database, record):
    record("/a", {"192.0.2.1": 15})
    assert len(get_violations_by_endpoint("2026-01-31", "2026-01-31", database_url=database)) == 1


def test_without_a_database_it_is_said_how_to_name_one(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(ConfigurationError, match=VARIABLE):
        get_violations_by_endpoint("2026-01-01", "2026-01-31")


def test_a_database_without_tables_or_none_at_all_is_said_to_be_so(empty_database):
    with pytest.raises(SchemaMissingError, match="db upgrade"):
        calculate_hit_rate_by_endpoint("2026-01-01", "2026-01-31", database_url=empty_database)
    with pytest.raises(DatabaseError):
        recommend_limits("2026-01-01", "2026-01-31", database_url="postgresql://127.0.0.1:1/none")


# --- policy suggest ---


@pytest.fixture
def run(database, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, database)

    def run(*arguments):
        return CliRunner().invoke(suggest, ["--date-range", "2026-01-31", *arguments])

    return run


def traffic(record):
    for minute in range(30):
        at = NOON + timedelta(minutes=minute)
        record("/jobs/<int:job_id>", {f"192.0.2.{n}": 6 for n in range(10)}, at=at)
        record("/apply", {f"192.0.2.{n}": 2 for n in range(10)}, at=at, method="POST")
    record("/rare", {"192.0.2.1": 3})


def test_a_suggestion_is_a_policy_that_gives_each_endpoint_what_it_needs(record, run):
    traffic(record)
    done = run()
    assert done.exit_code == 0, done.output
    resolver = PolicyResolver(parse_policy(done.stdout, "x"), "app", shadow=False)
    amounts = {
        route: resolver.plan("e", method, route).windows[0].amount
        for method, route in [("GET", "/jobs/<int:job_id>"), ("POST", "/apply"), ("GET", "/rare")]
    }
    assert amounts == {"/jobs/<int:job_id>": 10, "/apply": 5, "/rare": 100}
    assert done.stderr.splitlines() == [
        "2,403 requests to 3 routes, 2026-01-31 00:00 to 2026-02-01 00:00 UTC (service jobs)",
        "2 rules, 3 tiers; 1 route keeps the default tier, see the end for why",
    ]
    assert "none of 1,800 requests in 300 client windows" in done.stdout


def test_the_output_can_be_redirected_to_the_policy_file(record, run, tmp_path):
    traffic(record)
    target = tmp_path / "ratelimit.toml"
    target.touch()  # as a shell does before the command begins
    target.write_text(run().stdout, encoding="utf-8")
    first = parse_policy(target.read_text(encoding="utf-8"), "ratelimit.toml")
    assert len(first.routes) == 2
    second = parse_policy(run().stdout, "again")
    assert second.model_dump() == first.model_dump()


def test_a_present_policy_with_mistakes_is_not_built_on(record, run, tmp_path):
    traffic(record)
    (tmp_path / "ratelimit.toml").write_text("version = 2", encoding="utf-8")
    done = run()
    assert (done.exit_code, done.stdout) == (1, "")
    assert "ratelimit.toml:1" in done.stderr


def test_a_file_is_replaced_only_by_force(record, run, tmp_path):
    traffic(record)
    target = tmp_path / "first.toml"
    assert run("--output", str(target)).exit_code == 0
    written = target.read_text(encoding="utf-8")
    assert parse_policy(written, "first.toml").routes
    target.write_text("mine", encoding="utf-8")
    refused = run("--output", str(target))
    assert (refused.exit_code, target.read_text(encoding="utf-8")) == (2, "mine")
    assert "--force" in refused.stderr
    assert run("--output", str(target), "--force").exit_code == 0
    assert target.read_text(encoding="utf-8") == written


def test_json_has_the_policy_and_its_evidence(record, run):
    traffic(record)
    said = json.loads(run("--json").stdout)
    assert said["period"] == {"start": "2026-01-31T00:00:00+00:00", "end": "2026-02-01T00:00:00+00:00"}
    jobs = next(route for route in said["routes"] if route["match"] == "GET /jobs/<job_id>")
    [evidence] = jobs["evidence"]
    assert (evidence["requests"], evidence["client_windows"], evidence["p99_units"]) == (1800, 300, 6)
    assert evidence["recommended"]["limit_value"] == 6
    assert [left["endpoint"] for left in said["undecided"]] == ["/rare"]
    assert parse_policy(said["policy"], "x").routes


def test_nothing_recorded_is_nothing_suggested(run, tmp_path):
    done = run("--output", str(tmp_path / "first.toml"))
    assert done.exit_code == 1
    assert "nothing was recorded" in done.stderr
    assert not (tmp_path / "first.toml").exists()


def test_wrong_use_is_explained(run, monkeypatch):
    for arguments, said in [
        (("--date-range", "lately"), "24h"),
        (("--max-rejected-share", "1.5"), "1.5"),
        (("--database-url", "postgresql://127.0.0.1:1/none", "--date-range", "1h"), "Error: "),
    ]:
        done = run(*arguments)
        assert done.exit_code in {1, 2}
        assert said in done.stderr
        assert not done.stdout
    monkeypatch.delenv(VARIABLE)
    assert VARIABLE in run().stderr
