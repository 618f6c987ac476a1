"""Services in one database keep their rows each as long as it says."""

from __future__ import annotations

from datetime import timedelta

from clocked import AGED, HAVE_SERVICE, NOW
from retention_times import DAY, HOUR, MONTH, announce

SHARED = [table for table in AGED if table not in HAVE_SERVICE]
QUERIES = [table for table in HAVE_SERVICE if not table.startswith("rate_limit")]


def test_the_shorter_retention_of_one_service_leaves_the_rows_of_another(clocked):
    ages = (NOW - 6 * DAY, NOW - 8 * DAY, NOW - 29 * DAY, NOW - 31 * DAY)
    clocked.fill(ages, service="long")
    clocked.fill(ages, service="short")
    announce(clocked, "long", MONTH, delete_anyway=True)
    assert clocked.left("rate_limit_usage", "short") == 3, "nobody has asked for less yet"
    report = announce(clocked, "short", 7 * DAY, delete_anyway=True)
    for table in HAVE_SERVICE:
        assert clocked.left(table, "long") == 3
        assert clocked.left(table, "short") == 1
    assert {table: clocked.left(table) for table in SHARED} == dict.fromkeys(SHARED, 6)
    assert report.retention_seconds == {"long": 30 * 86_400.0, "short": 7 * 86_400.0}


def marks(clocked, service):
    return clocked.run(
        "SELECT queries_deleted_before FROM otel_ratelimit.service_retention"
        " WHERE service = %(service)s ORDER BY retention",
        service=service,
    )


def test_queries_go_by_their_service_from_partitions_and_from_the_default_one(clocked):
    for age in (31, 29, 8, 7, 6):
        clocked.maintain(NOW - age * DAY, retention=10 * MONTH)
    at = [
        NOW - age * DAY + minutes * timedelta(minutes=1) for age in (29, 8, 7, 6) for minutes in (-20, -1, 1)
    ]
    at.append(NOW - 20 * DAY)  # a day without a partition
    for service in ("long", "short", ""):
        clocked.fill(at, service=service)
    announce(clocked, "long", MONTH, delete_anyway=True)
    report = announce(clocked, "short", 7 * DAY, delete_anyway=True)
    for table in QUERIES:
        assert [clocked.left(table, service) for service in ("long", "short", "")] == [13, 4, 13]
        assert report.rows_deleted[table] == 9
    assert marks(clocked, "short") == [(NOW - 7 * DAY,)]
    assert clocked.run("SELECT min(ts) FROM otel_ratelimit.query_logs WHERE service = 'short'") == [
        (NOW - 7 * DAY + timedelta(minutes=1),)
    ]


def test_rows_without_a_service_age_by_the_longest_whatever_a_nameless_process_says(clocked):
    clocked.fill([NOW - 8 * DAY], service="")
    announce(clocked, "long", MONTH)
    announce(clocked, "", 7 * DAY, delete_anyway=True)
    assert {clocked.left(table) for table in QUERIES} == {1}


def test_queries_that_age_hour_by_hour_go_by_their_service_without_notice(clocked):
    announce(clocked, "long", MONTH)
    for hours in range(0, 5 * 24, 4):
        at = NOW + hours * HOUR
        for service in ("long", "short"):
            clocked.fill([at], service=service)
        assert not announce(clocked, "short", 2 * DAY, at).hold
        announce(clocked, "long", MONTH, at)
        for table in QUERIES:
            # A row is too old when it is more than so old.
            assert clocked.left(table, "short") == min(hours // 4, 12) + 1
            assert clocked.left(table, "long") == hours // 4 + 1


def test_queries_of_a_service_that_are_overdue_are_held_like_all_rows(clocked):
    announce(clocked, "long", MONTH)
    for insert in (AGED[table] for table in QUERIES):
        clocked.run(insert, times=[NOW - 12 * DAY], service="short")
    report = announce(clocked, "short", 7 * DAY)
    assert report.hold.kind == "overdue"
    assert "rows since 2026-06-03 10:30 UTC (query_logs, query_repeats, query_totals, table_writes)" in (
        report.hold.sentence
    )
    assert not announce(clocked, "short", 7 * DAY, delete_anyway=True).hold
    assert {clocked.left(table) for table in QUERIES} == {0}


def test_a_retention_that_is_shortened_later_is_looked_for_from_the_beginning(clocked):
    announce(clocked, "long", MONTH)
    clocked.fill([NOW - 6 * DAY, NOW - 4 * DAY], service="short")
    announce(clocked, "short", 7 * DAY)
    assert marks(clocked, "short") == [(NOW - 7 * DAY,)]
    clocked.maintain(service="short", retention=5 * DAY, overrides=True, delete_anyway=True)
    assert {clocked.left(table, "short") for table in QUERIES} == {1}
    clocked.run("DELETE FROM otel_ratelimit.service_retention WHERE service = 'short'")
    announce(clocked, "short", 3 * DAY, delete_anyway=True)
    assert {clocked.left(table, "short") for table in QUERIES} == {0}


def test_a_clock_that_was_ahead_when_an_operator_deleted_leaves_no_queries_behind(clocked):
    announce(clocked, "long", 10 * MONTH)
    announce(clocked, "short", 7 * DAY, NOW + 40 * DAY, delete_anyway=True)
    clocked.fill([NOW], service="short")
    announce(clocked, "short", 7 * DAY, NOW + 8 * DAY, delete_anyway=True)
    assert {clocked.left(table, "short") for table in QUERIES} == {0}
    assert marks(clocked, "short") == [(NOW + DAY,)]


def test_a_table_that_cannot_be_looked_through_is_looked_through_when_it_can_be(clocked):
    announce(clocked, "long", MONTH)
    clocked.fill([NOW - 8 * DAY], service="short")
    clocked.run("ALTER TABLE otel_ratelimit.query_repeats RENAME TO away")
    [failure] = announce(clocked, "short", 7 * DAY).failures
    assert failure.startswith("query_repeats: ")
    assert [clocked.left(table) for table in QUERIES if table != "query_repeats"] == [0, 0, 0]
    assert marks(clocked, "short") == [(None,)]
    clocked.run("ALTER TABLE otel_ratelimit.away RENAME TO query_repeats")
    announce(clocked, "short", 7 * DAY)
    assert clocked.left("query_repeats") == 0


def test_a_service_that_keeps_its_queries_as_long_as_any_is_looked_for_by_itself_nowhere(clocked):
    announce(clocked, "one", MONTH)
    announce(clocked, "another", MONTH)
    assert marks(clocked, "one") == marks(clocked, "another") == [(None,)]


def test_rows_of_a_service_that_nobody_runs_age_by_the_longest(clocked):
    clocked.fill([NOW - 8 * DAY, NOW - 30 * DAY - HOUR], service="gone")
    announce(clocked, "short", 7 * DAY)
    assert clocked.left("rate_limit_usage", "gone") == 2
    announce(clocked, "short", 7 * DAY, delete_anyway=True)
    assert clocked.left("rate_limit_usage", "gone") == 0
    clocked.fill([NOW - 8 * DAY, NOW - 30 * DAY - HOUR], service="gone")
    announce(clocked, "long", MONTH)
    assert clocked.left("rate_limit_usage", "gone") == 1


def test_of_two_deployments_of_a_service_the_longer_counts_until_the_earlier_has_gone(clocked):
    announce(clocked, "shop", 90 * DAY)
    assert announce(clocked, "shop", MONTH).retention_seconds == {"shop": 90 * 86_400.0}
    later = NOW + 23 * HOUR
    announce(clocked, "shop", MONTH, later)
    assert announce(clocked, "shop", MONTH, later).retention_seconds == {"shop": 90 * 86_400.0}
    announce(clocked, "shop", 90 * DAY, later)
    for hours in (25, 48, 50):
        announced = announce(clocked, "shop", MONTH, NOW + hours * HOUR)
    assert announced.retention_seconds == {"shop": 30 * 86_400.0}


def test_a_service_that_has_gone_counts_until_its_last_rows_have(clocked):
    announce(clocked, "gone", MONTH)
    clocked.fill([NOW], service="gone")
    for age in range(1, 34):
        report = announce(clocked, "here", 7 * DAY, NOW + age * DAY)
        assert not report.hold
        assert clocked.left("rate_limit_usage", "gone") == (age <= 30)
        assert clocked.left("query_totals") == (age <= 30)
    report = announce(clocked, "here", 7 * DAY, NOW + 34 * DAY)
    assert report.retention_seconds == {"here": 7 * 86_400.0}


def test_while_deletion_waits_no_service_is_forgotten(clocked):
    announce(clocked, "other", MONTH)
    clocked.fill([NOW])
    report = announce(clocked, "shop", 7 * DAY, NOW + 400 * DAY)
    assert report.hold
    report = announce(clocked, "shop", 7 * DAY, NOW + 401 * DAY, host=NOW)
    assert set(report.retention_seconds) == {"other", "shop"}


def test_a_process_that_finds_another_at_it_says_its_retention_all_the_same(clocked):
    clocked.run("SELECT pg_advisory_lock(%(lock)s)", lock=0x6F74656C726C0002)
    assert announce(clocked, "shop", 90 * DAY).skipped
    clocked.run("SELECT pg_advisory_unlock(%(lock)s)", lock=0x6F74656C726C0002)
    assert announce(clocked, "shop", MONTH).retention_seconds == {"shop": 90 * 86_400.0}


def test_a_retention_without_sense_of_one_service_stops_no_other(clocked):
    clocked.maintain(NOW - HOUR)
    clocked.set_clock(NOW)
    clocked.run("INSERT INTO otel_ratelimit.service_retention VALUES ('odd', '900000000 days', now())")
    clocked.fill([NOW - 31 * DAY, NOW])
    announce(clocked, "shop", MONTH)
    assert clocked.left("rate_limit_usage") == 1
    assert clocked.left("query_totals") == 1
    assert clocked.left("query_templates") == 2
