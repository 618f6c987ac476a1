"""Partitions are there in time, and nothing is lost, doubled or kept too long."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from clocked import BATCH, IN_CLOCK, NOW, QUERY, REPEATS, TEMPLATE, TOTAL, USAGE, VIOLATION, WRITE
from psycopg2.extensions import make_dsn

from otel_ratelimit.core.errors import DatabaseError, SchemaMissingError
from otel_ratelimit.postgres import Database, old_rows
from otel_ratelimit.postgres.maintenance import LOCK, maintain
from otel_ratelimit.postgres.migrate import upgrade
from otel_ratelimit.postgres.retention import RetentionRequest

MONTH = timedelta(days=30)

BY_PARTITION = """
SELECT tableoid::regclass::text, count(*)::int FROM otel_ratelimit.query_logs GROUP BY 1 ORDER BY 1
"""


@pytest.fixture
def run(clocked):
    return clocked.run


@pytest.fixture
def set_clock(clocked):
    return clocked.set_clock


@pytest.fixture
def analytics(clocked):
    return clocked.opened


@pytest.fixture
def maintained(clocked):
    return clocked.maintain


def partitions(run):
    return {
        name.removeprefix("query_logs_")
        for (name,) in run(
            "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid"
            " WHERE inhparent = 'otel_ratelimit.query_logs'::regclass"
        )
    }


def test_partitions_of_today_and_the_days_ahead_are_made(analytics, run):
    report = maintain(analytics, RetentionRequest(MONTH), now=NOW, days_ahead=2)
    assert report.partitions_created == ("query_logs_20260615", "query_logs_20260616", "query_logs_20260617")
    assert partitions(run) == {"default", "20260615", "20260616", "20260617"}


def test_a_second_run_finds_nothing_to_do(analytics):
    maintain(analytics, RetentionRequest(MONTH), now=NOW)
    report = maintain(analytics, RetentionRequest(MONTH), now=NOW)
    assert report.partitions_created == report.partitions_dropped == report.postponed == ()
    assert report.rows_moved == 0
    assert set(report.rows_deleted.values()) == {0}
    assert not report.skipped


def test_a_row_for_a_day_without_partition_is_kept_and_moved(analytics, run):
    yesterday, today = NOW - timedelta(days=1), NOW
    run(QUERY, times=[yesterday, today, today])
    assert run(BY_PARTITION) == [("otel_ratelimit.query_logs_default", 3)]
    report = maintain(analytics, RetentionRequest(MONTH), now=NOW)
    assert report.rows_moved == 3
    assert run(BY_PARTITION) == [
        ("otel_ratelimit.query_logs_20260614", 1),
        ("otel_ratelimit.query_logs_20260615", 2),
    ]


def test_a_row_from_the_far_future_stays_where_it_is_until_its_day_comes(maintained, analytics, run):
    run(QUERY, times=[NOW + timedelta(days=40)])
    assert maintain(analytics, RetentionRequest(MONTH), now=NOW).rows_moved == 0
    assert run(BY_PARTITION) == [("otel_ratelimit.query_logs_default", 1)]
    assert maintained(NOW + timedelta(days=40)).rows_moved == 1
    assert run(BY_PARTITION) == [("otel_ratelimit.query_logs_20260725", 1)]


def test_what_is_older_than_retention_goes_and_the_rest_stays(analytics, run):
    maintain(analytics, RetentionRequest(MONTH), now=NOW, days_ahead=0)
    cutoff = NOW - MONTH
    times = [cutoff - timedelta(days=1), cutoff - timedelta(seconds=1), cutoff, NOW]
    for insert in (VIOLATION, USAGE, WRITE, TOTAL, REPEATS, TEMPLATE, QUERY):
        run(insert, times=times)
    run(BATCH, times=[NOW - timedelta(days=1, seconds=1), NOW - timedelta(hours=23)])
    report = maintain(analytics, RetentionRequest(MONTH), now=NOW)
    assert report.rows_deleted == {
        "rate_limit_analytics": 2,
        "rate_limit_usage": 2,
        "table_writes": 2,
        "query_totals": 2,
        "query_repeats": 2,
        "query_templates": 2,
        "query_logs": 2,
        "ingested_batches": 1,
    }
    for table, column in (
        ("rate_limit_analytics", "occurred_at"),
        ("rate_limit_usage", "minute"),
        ("table_writes", "minute"),
        ("query_totals", "minute"),
        ("query_repeats", "minute"),
        ("query_templates", "last_seen"),
        ("query_logs", "ts"),
    ):
        left = run(f"SELECT {column} FROM otel_ratelimit.{table} ORDER BY 1")
        assert left == [(cutoff,), (NOW,)], table
    assert run("SELECT count(*) FROM otel_ratelimit.ingested_batches") == [(1,)]


def test_partitions_wholly_older_than_retention_are_dropped(maintained, run):
    for days in (5, 4, 3, 2):
        run(QUERY, times=[NOW - timedelta(days=days)])
    maintained(NOW - timedelta(days=2), days_ahead=0)
    report = maintained(NOW, retention=timedelta(days=3), days_ahead=0)
    # The 12th is older than the retention in part only: from 10:30 on it is not.
    assert report.partitions_dropped == ("query_logs_20260610", "query_logs_20260611")
    assert partitions(run) == {"default", "20260612", "20260613", "20260615"}


def test_partitions_that_are_not_ours_are_left_alone(analytics, run):
    run(
        "CREATE TABLE otel_ratelimit.archive PARTITION OF otel_ratelimit.query_logs"
        " FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2021-01-01 00:00+00')"
    )
    assert maintain(analytics, RetentionRequest(MONTH), now=NOW).partitions_dropped == ()
    assert "archive" in partitions(run)


def test_old_rows_are_deleted_in_small_transactions(analytics, run, monkeypatch):
    monkeypatch.setattr(old_rows, "CHUNK_ROWS", 10)
    maintain(analytics, RetentionRequest(MONTH), now=NOW)
    run(VIOLATION, times=[NOW - timedelta(days=31)] * 35 + [NOW])
    said = []
    report = maintain(analytics, RetentionRequest(MONTH), now=NOW, report=said.append)
    assert report.rows_deleted["rate_limit_analytics"] == 35
    assert [s for s in said if "rate_limit_analytics" in s] == [
        f"deleted {n} rows of rate_limit_analytics" for n in (10, 20, 30, 35)
    ]
    assert run("SELECT count(*) FROM otel_ratelimit.rate_limit_analytics") == [(1,)]


def test_days_are_utc_over_a_change_to_summer_time(database, run, set_clock):
    # In Vienna the 29th of March 2026 has 23 hours and begins at 23:00 UTC the day before.
    run("SET TIME ZONE 'Europe/Vienna'")
    day = datetime(2026, 3, 29, tzinfo=UTC)
    inside = [day, day + timedelta(hours=23, minutes=59)]
    outside = [day - timedelta(seconds=1), day + timedelta(days=1)]
    run(QUERY, times=inside + outside)
    set_clock(day + timedelta(hours=1))
    with closing(Database(make_dsn(database, options=f"{IN_CLOCK} -c TimeZone=Europe/Vienna"))) as there:
        maintain(there, RetentionRequest(MONTH), now=day + timedelta(hours=1), days_ahead=1)
    assert run(BY_PARTITION) == [
        ("otel_ratelimit.query_logs_20260328", 1),
        ("otel_ratelimit.query_logs_20260329", 2),
        ("otel_ratelimit.query_logs_20260330", 1),
    ]
    bounds = run(
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname IN"
        " ('query_logs_20260329', 'query_logs_20260330') ORDER BY relname"
    )
    assert bounds == [
        ("FOR VALUES FROM ('2026-03-29 01:00:00+01') TO ('2026-03-30 02:00:00+02')",),
        ("FOR VALUES FROM ('2026-03-30 02:00:00+02') TO ('2026-03-31 02:00:00+02')",),
    ]


def test_a_moment_given_in_another_time_zone_is_the_same_moment(maintained):
    late = datetime.fromisoformat("2026-06-15T23:30:00-05:00")
    report = maintained(NOW.replace(day=16, hour=4, minute=30), host=late, days_ahead=0)
    assert not report.hold
    assert report.partitions_created == ("query_logs_20260616",)


def test_rows_written_while_a_day_is_moved_are_neither_lost_nor_refused(database, analytics, run):
    run(QUERY, times=[NOW] * 20_000)
    stop = threading.Event()
    written, failed = [], []

    def write():
        with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            while not stop.is_set():
                try:
                    cursor.execute(QUERY, {"times": [NOW, NOW + timedelta(days=1)], "service": "shop"})
                except psycopg2.Error as error:
                    failed.append(error)
                    return
                written.append(2)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    try:
        deadline = time.monotonic() + 10
        while len(written) < 50:
            assert time.monotonic() < deadline
        before = len(written)
        report = maintain(analytics, RetentionRequest(MONTH), now=NOW, days_ahead=1)
        after = len(written)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert failed == []
    assert report.postponed == ()
    assert after > before
    assert report.rows_moved > 20_000
    assert run("SELECT count(*) FROM otel_ratelimit.query_logs") == [(20_000 + sum(written),)]
    assert run("SELECT count(*) FROM otel_ratelimit.query_logs_default") == [(0,)]


def test_a_table_in_use_is_left_alone_and_nothing_is_lost(database, analytics, run):
    run(QUERY, times=[NOW])
    with closing(psycopg2.connect(database)) as reader:
        reader.cursor().execute("SELECT count(*) FROM otel_ratelimit.query_logs")
        report = maintain(analytics, RetentionRequest(MONTH), now=NOW, days_ahead=0)
        assert report.postponed == ("query_logs_20260615",)
        assert run(BY_PARTITION) == [("otel_ratelimit.query_logs_default", 1)]
    report = maintain(analytics, RetentionRequest(MONTH), now=NOW, days_ahead=0)
    assert (report.postponed, report.rows_moved) == ((), 1)


def test_only_one_process_is_at_it(analytics, run):
    run("SELECT pg_advisory_lock(%(lock)s)", lock=LOCK)
    report = maintain(analytics, RetentionRequest(MONTH), now=NOW)
    assert report.skipped
    assert report.partitions_created == ()
    assert partitions(run) == {"default"}
    run("SELECT pg_advisory_unlock(%(lock)s)", lock=LOCK)
    assert not maintain(analytics, RetentionRequest(MONTH), now=NOW).skipped


def test_the_lock_is_given_back(analytics, database):
    maintain(analytics, RetentionRequest(MONTH), now=NOW)
    with closing(Database(database)) as another:
        assert not maintain(another, RetentionRequest(MONTH), now=NOW).skipped


def test_a_server_that_falls_silent_is_not_waited_for(own_postgres):
    upgrade(own_postgres.url())
    with closing(Database(own_postgres.url())) as analytics:
        assert analytics.rows("SELECT 1") == [(1,)]
        own_postgres.pause()
        with pytest.raises(DatabaseError, match="did not answer in time"):
            maintain(analytics, RetentionRequest(MONTH), now=NOW, patience_seconds=0.2)
        own_postgres.resume()
        assert not maintain(analytics, RetentionRequest(MONTH), now=NOW).skipped


def test_without_the_tables_it_says_what_to_run(empty_database):
    with (
        closing(Database(empty_database)) as analytics,
        pytest.raises(SchemaMissingError, match="run `otel-ratelimit db upgrade`"),
    ):
        maintain(analytics, RetentionRequest(MONTH), now=NOW)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"now": NOW.replace(tzinfo=None)}, "no time zone"),
        ({"request": RetentionRequest(timedelta())}, "must be positive"),
        ({"days_ahead": -1}, "not negative"),
    ],
)
def test_arguments_without_sense_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        maintain(Database("postgresql://"), **{"now": NOW, "request": RetentionRequest(MONTH), **wrong})
