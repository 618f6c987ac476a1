"""Queries that the application records itself, and what joins the query log to an application."""

from __future__ import annotations

import logging
import re
import time
from contextlib import closing
from datetime import UTC, datetime

import flask
import psycopg2
import pytest
from opentelemetry.instrumentation.psycopg2 import Psycopg2Instrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from psycopg2 import sql

from otel_ratelimit import RateLimit
from otel_ratelimit.policy import parse_policy
from otel_ratelimit.postgres import Database
from otel_ratelimit.queries import log_query
from otel_ratelimit.queries.capture_psycopg2 import capture, remove
from otel_ratelimit.telemetry.queries import UNSEEN_SPANS

POLICY_TEXT = 'version = 1\n[tiers]\ndefault = "100/minute"\n'
POLICY = parse_policy(POLICY_TEXT, "test.toml")
LOGGED = """
SELECT template, endpoint, key_hash, n::int, duration_us::int, rows::int, result_bytes::int, status, in_txn,
    l.database
FROM otel_ratelimit.query_logs AS l JOIN otel_ratelimit.query_templates USING (template_hash) ORDER BY ts
"""


@pytest.fixture
def app():
    return flask.Flask(__name__)


@pytest.fixture
def limited(app, database):
    made = []

    def make(**options):
        given = {"policy": POLICY, "database_url": database, **options}
        made.append(RateLimit(app, environ={}, **given))
        return made[-1]

    yield make
    for rate_limit in made:
        rate_limit.close()
    remove()


@pytest.fixture
def rows(database):
    with closing(Database(database)) as opened:
        yield opened.rows


def test_a_query_of_another_driver_is_recorded_by_hand_with_its_route(app, limited, rows):
    def view(job):
        recorded = log_query(
            "SELECT * FROM jobs WHERE id = $1",
            parameters=(job,),
            duration_seconds=0.004,
            database="shop",
            rows=1,
            result_bytes=90,
            in_transaction=True,
        )
        return str(recorded)

    app.add_url_rule("/jobs/<int:job>", "job", view)
    rate_limit = limited()
    client = app.test_client()
    assert [client.get(f"/jobs/{job}").text for job in (7, 7, 8)] == ["True"] * 3
    rate_limit.close()
    found = rows(LOGGED)
    assert {row[:2] + row[3:] for row in found} == {
        ("select * from jobs where id = ?", "/jobs/<int:job>", 1, 4_000, 1, 90, "ok", True, "shop")
    }
    keys = [bytes(row[2]) for row in found]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("named", ["", "jobs-api"])
def test_queries_have_the_name_of_the_service_that_requests_have(app, limited, rows, monkeypatch, named):
    provider = TracerProvider()
    monkeypatch.setattr("otel_ratelimit.telemetry.resource.get_tracer_provider", lambda: provider)
    app.add_url_rule("/jobs", "jobs", lambda: str(log_query("SELECT 1 FROM jobs", duration_seconds=0.1)))
    rate_limit = limited()
    assert app.test_client().get("/jobs").text == "True"
    # OpenTelemetry may start after the application.
    provider = TracerProvider(resource=Resource({"service.name": named} if named else {}))
    rate_limit.close()
    for table in ("rate_limit_usage", "query_logs", "query_totals"):
        found = rows(f"SELECT DISTINCT service FROM otel_ratelimit.{table}")
        assert found == [(named or app.import_name,)], table


def test_what_makes_an_execution_another_one_is_hashed_and_nothing_else(app, limited, rows):
    rate_limit = limited()
    same = {"parameters": {"a": 1, "b": "x"}, "duration_seconds": 0.1}
    with app.app_context():
        for more in (
            {},
            {"parameters": {"b": "x", "a": 1}},
            {"parameters": {"a": "1", "b": "x"}},
            {"database": "other"},
            {"context": "another role"},
        ):
            assert log_query("SELECT 1", **{**same, **more})
    rate_limit.close()
    assert len({bytes(row[2]) for row in rows(LOGGED)}) == 4


def test_where_queries_are_not_recorded_it_says_so(app, limited):
    limited(database_url=None)
    with app.app_context():
        assert log_query("SELECT 1", duration_seconds=0.1) is False
    with pytest.raises(RuntimeError, match="no application here"):
        log_query("SELECT 1", duration_seconds=0.1)
    other = flask.Flask("other")
    with other.app_context(), pytest.raises(RuntimeError, match="application other has no rate limits, so"):
        log_query("SELECT 1", duration_seconds=0.1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"started_at": datetime(2026, 1, 1, tzinfo=UTC)},
            "started_at is datetime; give a number of seconds",
        ),
        ({"started_at": float("nan")}, "started_at is nan; give a time of 0 or more"),
        ({"started_at": time.time() * 1e3}, "too much for seconds; is it in milliseconds?"),
        ({"started_at": time.time_ns()}, "too much for seconds"),
        ({"duration_seconds": 1e300}, "too much for seconds"),
        ({"parameters": 7}, "parameters is int; give a sequence, such as (7,), or a mapping"),
        ({"parameters": "abc"}, "parameters is str; give a sequence"),
        ({"sql": None}, "sql is NoneType; give text, bytes or an object of psycopg2.sql"),
        ({"sql": " "}, "sql is empty"),
        ({"status": "nonsense"}, "status is 'nonsense'; give 'ok', or the five characters of the SQLSTATE"),
        ({"rows": 10**30}, "rows is 1000000"),
        ({"duration_seconds": -1}, "duration_seconds is -1"),
        ({"duration_seconds": "0.1"}, "duration_seconds is str"),
        ({"rows": "7"}, "rows is str; give an int, or None"),
        ({"rows": 1.5}, "rows is float"),
        ({"result_bytes": -1}, "result_bytes is -1; give 0 to 9223372036854775807"),
        ({"status": None}, "status is NoneType; give a str"),
        ({"database": 5}, "database is int"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once_and_the_rest_is_recorded(app, limited, rows, wrong, message):
    rate_limit = limited()
    with app.app_context():
        log_query("SELECT 1", duration_seconds=0.1)
        with pytest.raises((TypeError, ValueError), match=re.escape(message)):
            log_query(**{"sql": "SELECT 2", "duration_seconds": 0.1, **wrong})
        log_query(sql.SQL("SELECT {}").format(sql.Literal(3)), duration_seconds=0.1, rows=True)
        log_query(b"SELECT 4", duration_seconds=1, parameters=None)
    rate_limit.close()
    assert [row[0] for row in rows(LOGGED)] == ["select ?"] * 3


def test_a_query_that_is_recorded_later_is_counted_when_it_began(app, limited, rows):
    rate_limit = limited()
    began = time.time() - 6 * 3_600
    with app.app_context():
        for ago, status in ((0, "ok"), (0, "23505"), (86_400, "ok")):
            assert log_query(
                "UPDATE jobs SET title = 'a'", duration_seconds=0.02, started_at=began - ago, status=status
            )
        assert log_query("UPDATE jobs SET title = 'b'", duration_seconds=0.02)
    assert rate_limit.queries.log.flush()

    def minute(at):
        return datetime.fromtimestamp(at // 60 * 60, UTC)

    found = rows("SELECT minute, n, failed FROM otel_ratelimit.query_totals ORDER BY minute")
    assert found[:2] == [(minute(began - 86_400), 1, 0), (minute(began), 2, 1)]
    assert [(n, failed) for _, n, failed in found[2:]] == [(1, 0)]
    # One without a beginning is counted when it is processed, which may be in the minute after.
    assert rows(
        "SELECT count(*) FILTER (WHERE minute IS NULL), count(*) FROM otel_ratelimit.query_logs"
        " LEFT JOIN otel_ratelimit.query_totals ON minute = date_trunc('minute', ts)"
        " WHERE ts < now() - interval '1 hour'"
    ) == [(0, 3)]
    written = rows("SELECT minute, n::int FROM otel_ratelimit.table_writes ORDER BY minute")
    assert written[:2] == [(minute(began - 86_400), 1), (minute(began), 1)]


def run(url, statement):
    with closing(psycopg2.connect(url)) as connection:
        connection.cursor().execute(statement)


def test_a_process_that_serves_no_request_is_recorded_while_it_runs(limited, rows, postgres):
    limited(policy=parse_policy(POLICY_TEXT + '[analytics]\nflush_interval = "1s"\n', "test.toml"))
    with closing(psycopg2.connect(postgres.dsn())) as connection, connection.cursor() as cursor:
        # Fewer than may wait for the secret, however long a busy machine takes to read it.
        for number in range(1_500):
            cursor.execute("SELECT %s", (number,))
    deadline = time.monotonic() + 30
    asked = "SELECT coalesce(sum(n), 0)::int, coalesce(sum(dropped), 0)::int FROM otel_ratelimit.query_totals"
    while rows(asked) != [(1_500, 0)]:
        assert time.monotonic() < deadline, rows(asked)
        time.sleep(0.05)


def test_a_second_ratelimit_of_the_process_leaves_the_queries_to_the_first_and_says_so(
    limited, database, rows, postgres, caplog
):
    first = limited()
    other = flask.Flask("other")
    second = RateLimit(other, policy=POLICY, environ={}, database_url=database)
    other.test_client().get("/")
    assert "recorded for another RateLimit" in caplog.text
    run(postgres.dsn(), "SELECT 1 AS once")
    first.close()
    second.close()
    assert [row[0] for row in rows(LOGGED)] == ["select ? as once"]


def test_a_ratelimit_that_takes_an_application_over_takes_its_queries_over(
    app, limited, rows, postgres, caplog
):
    limited()
    second = limited()
    run(postgres.dsn(), "SELECT 1 AS again")
    app.test_client().get("/")
    second.close()
    assert [row[0] for row in rows(LOGGED)] == ["select ? as again"]
    assert "another RateLimit" not in caplog.text


def test_connections_opened_before_the_application_was_made_are_recorded_too(app, limited, rows, postgres):
    held = capture()  # as the instrumentor does
    with closing(psycopg2.connect(postgres.dsn())) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 AS before")
        rate_limit = limited()
        cursor.execute("SELECT 2 AS after")
        rate_limit.close()
        cursor.execute("SELECT 3 AS later")
    held.release()
    assert [row[0] for row in rows(LOGGED)] == ["select ? as after"]


def test_spans_of_queries_that_are_not_captured_are_warned_of_once(
    app, limited, postgres, caplog, monkeypatch
):
    caplog.set_level(logging.WARNING)
    provider = TracerProvider()
    monkeypatch.setattr("otel_ratelimit.runtime.queries.get_tracer_provider", lambda: provider)
    unseen = psycopg2.connect(postgres.dsn())
    limited()
    Psycopg2Instrumentor.instrument_connection(unseen, tracer_provider=provider)
    cursor = unseen.cursor()
    for _ in range(UNSEEN_SPANS * 2):
        cursor.execute("SELECT 1")
    unseen.close()
    said = [record.message for record in caplog.records if "no query recorded" in record.message]
    assert len(said) == 1
    assert "before otel-ratelimit started" in said[0]


def test_when_the_one_that_records_is_closed_another_takes_over(app, limited, database, postgres, rows):
    first = limited()
    with closing(psycopg2.connect(postgres.dsn())) as connection, connection.cursor() as cursor:
        closed, second = (
            RateLimit(flask.Flask(name), policy=POLICY, database_url=database, environ={})
            for name in ("closed", "second")
        )
        cursor.execute("SELECT 1 AS under_first")
        closed.close()
        first.close()
        cursor.execute("SELECT 2 AS under_second")
        second.close()
        cursor.execute("SELECT 3 AS under_none")
    assert {row[0] for row in rows(LOGGED)} == {"select ? as under_first", "select ? as under_second"}
