"""`otel_ratelimit.reports`, as a job or a notebook calls it."""

from __future__ import annotations

import gc
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from psycopg2 import extensions

from otel_ratelimit.core.errors import ConfigurationError, DatabaseBusyError, PolicyError, SchemaMissingError
from otel_ratelimit.policy import parse_policy
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.cache_reports import LOCK, PostgresCacheReports
from otel_ratelimit.postgres.query_writer import PostgresQueryWriter
from otel_ratelimit.queries.records import QueryBatch, QueryTemplate, TemplateTotal
from otel_ratelimit.reports import (
    Needs,
    Price,
    calculate_redis_cost_benefit,
    generate_daily_cache_report,
    recorded_day,
)

JOB = QueryTemplate(11, "SELECT * FROM jobs", "select", ("jobs",), is_write=False, volatile=False)
DAY = date(2026, 3, 28)


@pytest.fixture
def named(monkeypatch, database, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OTEL_RATELIMIT_POLICY", raising=False)
    monkeypatch.setenv("OTEL_RATELIMIT_DATABASE_URL", database)
    return database


def count(url, at, n):
    minute = int(at.timestamp()) // 60 * 60
    with closing(Database(url)) as database:
        PostgresQueryWriter(database, at.timestamp).write(
            QueryBatch(uuid4(), "one", (), (TemplateTotal(minute, JOB, "shop", n, 0, 0),), (), ())
        )


def stored(url):
    with closing(Database(url)) as database:
        return PostgresCacheReports(database).latest(DAY, DAY)


@pytest.mark.parametrize("day", [DAY, "2026-03-28"])
def test_a_report_is_answered_and_kept(named, day):
    count(named, datetime(2026, 3, 28, 12, tzinfo=UTC), 7)
    told = []

    report = generate_daily_cache_report(day, report=told.append)

    assert (report.analysis_date, report.analysis.all_executions) == (DAY, 7)
    assert stored(named).report == report
    assert told[0] == "2026-03-28: reading queries"


def test_the_gauges_stay_when_the_function_has_returned(named, monkeypatch):
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader])
    monkeypatch.setattr("otel_ratelimit.runtime.functions.reports.get_meter", meters.get_meter)
    count(named, datetime(2026, 3, 28, 12, tzinfo=UTC), 7)

    generate_daily_cache_report()
    generate_daily_cache_report()
    gc.collect()

    for _ in range(2):
        [scope] = reader.get_metrics_data().resource_metrics[0].scope_metrics
        found = {each.name: len(each.data.data_points) for each in scope.metrics}
        assert found == {"otel_ratelimit.report.last_success": 1, "otel_ratelimit.cache.hit_potential": 1}


def test_without_a_day_it_is_the_last_full_one_of_the_policys_zone(named, tmp_path):
    (tmp_path / "ratelimit.toml").write_text('version = 1\n[report]\ntime_zone = "Pacific/Kiritimati"\n')
    count(named, datetime(2026, 3, 28, 12, tzinfo=UTC), 7)

    def last_full_day():
        return (datetime.now(UTC) + timedelta(hours=14)).date() - timedelta(days=1)

    before = last_full_day()
    found = generate_daily_cache_report().analysis_date
    assert before <= found <= last_full_day()
    given = parse_policy('version = 1\n[cache]\nengine = "redis"\n', "given")
    assert generate_daily_cache_report(policy=given).analysis.engine == "redis"


@pytest.mark.parametrize(
    ("day", "error", "said"),
    [
        ("2026-13-01", ValueError, "'2026-13-01' is not a day; give for instance 2026-01-31"),
        (20260101, TypeError, "day has the type int; give a date, or text"),
        (datetime(2026, 1, 1, tzinfo=UTC), TypeError, "day has the type datetime"),
        ("2999-01-01", ValueError, "2999-01-01 has not ended yet in UTC"),
        ("2026-01-01", ValueError, "no query is recorded for 2026-01-01"),
    ],
)
def test_a_day_that_is_none_is_refused(named, day, error, said):
    with pytest.raises(error, match=said):
        generate_daily_cache_report(day)


def test_what_stands_in_the_way_is_said(named, empty_database, tmp_path, monkeypatch):
    with closing(extensions.connection(named)) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        with pytest.raises(DatabaseBusyError, match="another process is making reports"):
            generate_daily_cache_report(DAY)
    with pytest.raises(SchemaMissingError, match="db upgrade"):
        generate_daily_cache_report(DAY, database_url=empty_database)
    (tmp_path / "wrong.toml").write_text("version = 2\n")
    with pytest.raises(PolicyError, match="version"):
        generate_daily_cache_report(DAY, policy=tmp_path / "wrong.toml")
    monkeypatch.delenv("OTEL_RATELIMIT_DATABASE_URL")
    with pytest.raises(ConfigurationError, match="no database is named"):
        generate_daily_cache_report(DAY)


def test_a_report_that_would_say_less_is_not_made(named):
    noon = datetime(2026, 3, 28, 12, tzinfo=UTC)
    count(named, noon, 7)
    count(named, noon + timedelta(hours=1), 7)
    report = generate_daily_cache_report(DAY)
    with closing(extensions.connection(named)) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM otel_ratelimit.query_totals WHERE minute < '2026-03-28T12:30Z'")
        connection.commit()
    with pytest.raises(ValueError, match="some queries of 2026-03-28 have been deleted"):
        generate_daily_cache_report(DAY)
    assert stored(named).report == report


def test_a_recorded_day_begins_where_recording_did(named):
    noon = datetime(2026, 3, 28, 12, tzinfo=UTC)
    midnight = datetime(2026, 3, 29, tzinfo=UTC)
    count(named, noon, 3)
    with recorded_day(DAY) as first:
        assert tuple(first.period) == (noon, midnight)
        assert [counted.n for counted in first.counts.values()] == [3]
    # A service that is known of from before had a quiet morning.
    count(named, noon - timedelta(days=1), 1)
    with recorded_day(DAY) as quiet:
        assert tuple(quiet.period) == (noon - timedelta(hours=12), midnight)


def test_of_a_day_of_which_nothing_is_known_both_functions_say_the_same(named):
    def read(day):
        with recorded_day(day) as found:
            return found

    for since in ("", "; the first one ran at 2026-03-28 12:00"):
        for ask in (generate_daily_cache_report, read):
            with pytest.raises(ValueError, match=f"^no query is recorded for 2026-03-27{since}$"):
                ask("2026-03-27")
        count(named, datetime(2026, 3, 28, 12, tzinfo=UTC), 3)


def test_costs_can_be_computed_for_any_needs():
    needs = Needs(
        memory_bytes=1e9,
        requests_a_day=1e6,
        executions_a_day=1e6,
        latency_saved_ms=2e6,
        latency_saved_low_ms=1e6,
        latency_saved_high_ms=3e6,
        database_saved_ms=3e6,
        database_saved_low_ms=3e6,
        database_saved_high_ms=3e6,
        database_ms=1e7,
    )
    ours = Price(name="ours", kind="self-hosted", month=30.0)
    found = calculate_redis_cost_benefit(needs, [ours], value_of_saved_ms=1e-6, currency="EUR")
    assert (found.worthwhile, found.certainty) == (True, "certain")
    assert found.reason == "it brings 60.88 EUR a month, more than the 30.00 that it costs"
