"""Reports that were kept in a real PostgreSQL, asked for over HTTP by an application with limits."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import flask
import jsonschema_rs
import pytest

from otel_ratelimit import RateLimit
from otel_ratelimit.cache_advice.prices import PRICES, Price
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.cache_reports import PostgresCacheReports
from otel_ratelimit.web.api import URL_PREFIX
from otel_ratelimit.web.api.blueprint import all_endpoints
from otel_ratelimit.web.api.openapi import document

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
TODAY = NOW.date()
TOKEN = "read-token-of-someone"
DAY = timedelta(days=1)


@pytest.fixture
def start():
    """`start(database_url)`: a client of an application with limits and analytics."""
    started = []

    def start(url):
        app = flask.Flask("shop")
        started.append(
            RateLimit(app, environ={}, database_url=url, api_token=TOKEN, clock=NOW.timestamp, shadow=False)
        )
        return app.test_client()

    yield start
    for limited in started:
        limited.close()


@pytest.fixture
def client(database, start):
    return start(database)


@pytest.fixture
def opened(database):
    with closing(Database(database)) as opened:
        yield opened


@pytest.fixture
def save(opened):
    """Keep reports."""

    def save(*reports):
        for report in reports:
            PostgresCacheReports(opened).save(report)

    return save


def ask(client, token=TOKEN, **query):
    response = client.get(
        f"{URL_PREFIX}/cache-analysis",
        query_string=query,
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )
    assert response.headers["Cache-Control"] == "no-store"
    json.loads(response.data, parse_constant=pytest.fail)
    if response.status_code == 200:
        described = document(all_endpoints(), URL_PREFIX, "")
        schema = {"$ref": "#/components/schemas/CacheAnalysisAnswer", "components": described["components"]}
        jsonschema_rs.Draft202012Validator(schema).validate(response.json)
    return response


def test_what_was_kept_is_what_is_told(client, save, cache_report):
    zone = ZoneInfo("Europe/Berlin")
    report = cache_report(TODAY - DAY, zone, value_of_saved_ms=0.001, currency="EUR")
    save(cache_report(TODAY - 2 * DAY, zone, busy=False, currency="EUR"), report)

    body = ask(client, date_range="7d").json

    latest, analysis, cost = body["latest"], report.analysis, report.cost
    assert body["period"] == {"first": "2026-01-03", "last": "2026-01-10"}
    assert (latest["date"], latest["time_zone"], latest["currency"]) == ("2026-01-09", "Europe/Berlin", "EUR")
    assert latest["period"] == {"start": "2026-01-08T23:00:00Z", "end": "2026-01-09T23:00:00Z"}
    assert (latest["worthwhile"], latest["certainty"], latest["reason"]) == (
        report.worthwhile,
        cost.certainty,
        report.reason,
    )
    assert latest["queries"]["total"] == analysis.all_executions == 650
    plan = latest["plan"]
    assert (plan["ttl_seconds"], plan["hit_ratio"]) == (report.recommended_ttl_seconds, report.hit_potential)
    assert plan["memory_bytes"] == round(report.memory_bytes)
    assert plan["latency_saved_ms"] == cost.latency_saved_ms_a_day
    assert latest["cost_benefit"]["monthly_cost"] == cost.monthly_cost
    assert latest["cost_benefit"]["break_even_executions_a_day"] == cost.break_even_executions_a_day
    assert [at["latency_saved_ms"] for at in latest["by_ttl"]] == [
        at.latency_saved_ms for at in analysis.by_ttl
    ]
    assert [query["template_hash"] for query in latest["most_worth"]] == ["-4611686018427387904"]
    assert [(day["date"], day["total_queries"], day["hit_potential"]) for day in body["trend"]] == [
        ("2026-01-08", 0, 0.0),
        ("2026-01-09", 640, report.hit_potential),
    ]
    # The columns, and the report.
    told = body["trend"][-1]
    assert told["total_queries"] == latest["queries"]["cacheable"]
    assert told["unique_queries"] == latest["queries"]["unique"]
    assert told["duplicate_queries"] == latest["queries"]["duplicates"]
    assert told["estimated_memory_bytes"] == plan["memory_bytes"]


def test_the_moment_is_in_utc_whatever_the_database_is_set_to(client, save, opened, cache_report):
    save(cache_report(TODAY - DAY, busy=False))
    [(name,)] = opened.rows("SELECT current_database()")
    opened.rows(f"ALTER DATABASE \"{name}\" SET timezone = 'Asia/Kolkata'")

    made_at = ask(client).json["latest"]["made_at"]

    assert made_at.endswith("Z")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(made_at)) < timedelta(minutes=5)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [-30, -29, -2, -1]),
        ({"date_range": "29d"}, [-29, -2, -1]),
        ({"date_range": "30m"}, []),
        ({"date_range": "24h"}, [-1]),
        ({"date_range": "366d"}, [-366, -31, -30, -29, -2, -1]),
        ({"date_range": "2026-01-08"}, [-2]),
        ({"date_range": "2025-12-10/2025-12-11"}, [-31, -30]),
        ({"date_range": "2025-12-11/2026-01-08"}, [-30, -29, -2]),
        ({"date_range": "2025-12-12T23:59:59/2026-01-08T00:00"}, [-29]),
        ({"date_range": "2024-02-28/2024-02-29"}, []),
    ],
)
def test_days_at_both_ends_are_told(client, save, cache_report, query, expected):
    save(*(cache_report(TODAY + back * DAY, busy=False) for back in (-366, -31, -30, -29, -2, -1)))

    body = ask(client, **query).json

    dates = [str(TODAY + back * DAY) for back in expected]
    assert [day["date"] for day in body["trend"]] == dates
    assert [point["date"] for point in body["charts"]["hit_potential"]] == dates
    assert (body["latest"] or {}).get("date") == (dates[-1] if dates else None)


def test_a_report_that_is_not_of_this_program_leaves_its_trend_and_the_last_that_is(
    client, save, opened, cache_report
):
    save(*(cache_report(TODAY - back * DAY, busy=False) for back in (2, 1)))
    opened.rows(
        "UPDATE otel_ratelimit.cache_analysis_daily SET details = '{}' WHERE analysis_date = %(day)s",
        {"day": TODAY - DAY},
    )

    body = ask(client).json
    assert body["latest"]["date"] == "2026-01-08"
    assert [day["date"] for day in body["trend"]] == ["2026-01-08", "2026-01-09"]

    body = ask(client, date_range="2026-01-09").json
    assert (body["latest"], len(body["trend"])) == (None, 1)
    assert body["charts"]["cost_comparison"]["labels"] == []


def test_a_report_of_another_shape_is_null_and_still_a_trend(client, save, opened, cache_report):
    save(cache_report(TODAY - DAY))
    opened.rows('UPDATE otel_ratelimit.cache_analysis_daily SET details = \'{"analysis": {"later": 1}}\'')

    body = ask(client).json

    assert body["latest"] is None
    assert body["trend"][0]["total_queries"] == 640


@pytest.mark.parametrize("busy", [True, False])
@pytest.mark.parametrize("value", [0.0, 1e-9, 0.01, 1e9])
def test_any_day_at_any_value_is_answered_as_described(client, save, cache_report, busy, value):
    prices = (*PRICES, Price(name="'own' 検索", kind="self-hosted", month=0.0))
    report = cache_report(TODAY - DAY, busy=busy, prices=prices, value_of_saved_ms=value)
    save(report)

    latest = ask(client).json["latest"]

    assert latest["worthwhile"] is report.worthwhile
    assert latest["cost_benefit"]["monthly_benefit"] == report.cost.monthly_benefit
    assert (latest["plan"] is not None) is busy


def test_a_query_is_told_to_the_character(client, save, cache_report):
    text = "SELECT '</script>', \"ключ\", '\\' -- %s \U0001f980\u202e\n\x01"
    save(cache_report(TODAY - DAY, query=text))

    body = ask(client).json

    assert body["latest"]["most_worth"][0]["query"] == text
    assert body["charts"]["top_queries"]["labels"] == [" ".join(text.split())]


@pytest.mark.parametrize("date_range", ["", "yesterday", "0d", "400d", "2026-02-31", "2026-01-02/2026-01-01"])
def test_a_range_that_is_none_says_what_would_be_right(client, date_range):
    response = ask(client, date_range=date_range)

    assert response.status_code == 400
    [error] = response.json["errors"]
    assert error["parameter"] == "date_range"
    assert error["what"]
    assert error["instead"]


@pytest.mark.parametrize("token", [None, "another-token-of-nobody"])
def test_without_the_token_nothing_is_told(client, save, cache_report, token):
    save(cache_report(TODAY - DAY))

    response = ask(client, token)

    assert response.status_code == 401
    assert b"SELECT" not in response.data


def test_without_a_database_it_says_how_to_have_one(start):
    response = ask(start(None))

    assert response.status_code == 503
    assert "OTEL_RATELIMIT_DATABASE_URL" in response.json["detail"]


def test_a_database_without_tables_says_how_to_make_them(empty_database, start):
    response = ask(start(empty_database))

    assert response.status_code == 503
    assert "otel-ratelimit db upgrade" in response.json["detail"]


def test_a_year_of_days_is_read_by_their_index(opened):
    opened.rows("""
        INSERT INTO otel_ratelimit.cache_analysis_daily (
            analysis_date, total_queries, unique_queries, duplicate_queries, duplicate_percentage,
            hit_potential, estimated_memory_bytes, latency_saved_ms, monthly_cost, worthwhile, period_start,
            period_end
        )
        SELECT day, 1, 1, 0, 0, 0, 0, 0, 0, false, day, day + interval '1 day'
        FROM generate_series(date '2000-01-01', date '2026-01-09', interval '1 day') AS day
    """)
    opened.rows("ANALYZE otel_ratelimit.cache_analysis_daily")
    reports = PostgresCacheReports(opened)
    for name in ("latest", "trend"):
        plan = opened.rows(f"EXPLAIN {reports._sql[name]}", {"first": TODAY - 30 * DAY, "last": TODAY})
        assert "cache_analysis_daily_pkey" in str(plan)
    assert len(reports.trend(TODAY - 366 * DAY, TODAY)) == 366
