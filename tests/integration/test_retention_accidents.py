"""Accidents while old rows are held, a clock that was ahead, a first run, and tables of deletion dropped."""

from __future__ import annotations

import subprocess
from datetime import timedelta

import pytest
from clocked import AGED, NOW, QUERY

from otel_ratelimit.core.errors import SchemaMissingError
from otel_ratelimit.postgres.hourly_maintenance import HourlyMaintenance
from otel_ratelimit.postgres.migrate import downgrade, upgrade

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MONTH = timedelta(days=30)
OVERDUE = NOW - 40 * DAY
STATES = ("maintenance_state", "service_retention")


def announce(clocked, service, at=NOW, retention=MONTH, **options):
    return clocked.maintain(at, service=service, retention=retention, announce=True, **options)


def hold(clocked, days, step=8 * HOUR, services=("a", "b")):
    """Maintain for so many days, as processes of both services do; the notices of the last run."""
    at, report = NOW, None
    while at < NOW + days * DAY:
        for service in services:
            report = announce(clocked, service, at)
            assert report.hold.kind == "overdue"
            assert report.rows_deleted == {}
        at += step
    return report.hold.notices


def left(clocked, service):
    return {clocked.left(table, service) for table in ("rate_limit_analytics", "rate_limit_usage")}


@pytest.fixture
def overdue(clocked):
    """Two services, both with young rows; only one has rows that are overdue."""
    clocked.fill([NOW - age * DAY for age in (1, 5, 10)], service="b")
    for service in ("a", "b"):
        announce(clocked, service, NOW - HOUR)
    clocked.fill([OVERDUE], service="a")
    clocked.set_clock(NOW)
    return clocked


@pytest.mark.parametrize("leap", [4 * DAY, 40 * DAY, 400 * DAY])
def test_a_clock_that_leaps_when_notices_are_over_takes_what_was_in_them_and_nothing_else(overdue, leap):
    assert hold(overdue, 7) == 7
    young = 3 + 1
    for service in ("a", "b"):
        overdue.fill([NOW + 6 * DAY], service=service)
    report = announce(overdue, "b", NOW + 7 * DAY + leap)
    assert not report.hold
    assert left(overdue, "a") == {1}
    assert left(overdue, "b") == {young}
    for hours in (1, 2, 12):
        report = announce(overdue, "a", NOW + 7 * DAY + leap + hours * HOUR)
        if leap > 10 * DAY:
            assert report.hold.notices == 1
    assert left(overdue, "a") == {1}
    assert left(overdue, "b") == {young}
    # The clock is set right.
    announce(overdue, "b", NOW + 8 * DAY)
    assert left(overdue, "b") == {young}


def test_a_clock_that_leaps_while_notices_are_given_adds_nothing_to_them(overdue):
    assert hold(overdue, 3) == 3
    at = NOW + 40 * DAY
    given = []
    while not given or given[-1]:
        given.append(announce(overdue, "b", at).hold.notices)
        at += DAY
    assert given == [4, 5, 6, 7, 0]
    assert left(overdue, "a") == {0}
    assert left(overdue, "b") == {3}
    assert [announce(overdue, "b", at + days * DAY).hold.notices for days in range(7)] == list(range(1, 8))
    assert left(overdue, "b") == {3}
    assert not announce(overdue, "b", at + 7 * DAY).hold
    assert left(overdue, "b") == {0}


def restore_rows(clocked):
    clocked.run(AGED["rate_limit_usage"], times=[NOW - 35 * DAY], service="a")


def restore_rows_of_another_service(clocked):
    clocked.run(AGED["rate_limit_analytics"], times=[OVERDUE], service="b")


def restore_rows_of_a_service_that_nobody_runs(clocked):
    clocked.run(AGED["rate_limit_analytics"], times=[OVERDUE], service="c")


def restore_queries(clocked):
    clocked.run(QUERY, times=[NOW - 35 * DAY])


def restore_queries_of_a_service_that_keeps_them_for_less_long(clocked):
    clocked.run("UPDATE otel_ratelimit.service_retention SET queries_deleted_before = NULL")
    clocked.run(AGED["query_totals"], times=[NOW - 35 * DAY], service="b")


def restore_templates(clocked):
    clocked.run(AGED["query_templates"], times=[NOW - 35 * DAY])


def restore_a_partition(clocked):
    clocked.run(
        "CREATE TABLE otel_ratelimit.query_logs_20260501 PARTITION OF otel_ratelimit.query_logs"
        " FOR VALUES FROM ('2026-05-01 00:00+00') TO ('2026-05-02 00:00+00')"
    )
    clocked.run(QUERY, times=[NOW.replace(month=5, day=1)])


def cut_the_retention_of_another_service(clocked):
    clocked.run("DELETE FROM otel_ratelimit.service_retention WHERE service = 'b'")
    announce(clocked, "b", NOW + 6 * DAY + 20 * HOUR, 2 * DAY)


@pytest.mark.parametrize(
    "accident",
    [
        restore_rows,
        restore_rows_of_another_service,
        restore_rows_of_a_service_that_nobody_runs,
        restore_queries,
        restore_queries_of_a_service_that_keeps_them_for_less_long,
        restore_templates,
        restore_a_partition,
        cut_the_retention_of_another_service,
    ],
)
def test_a_second_accident_while_notices_are_given_has_seven_of_its_own(overdue, accident):
    assert hold(overdue, 7) == 7
    accident(overdue)
    before = overdue.all_left()
    for days in range(7):
        for hours in (0, 12):
            at = NOW + (7 + days) * DAY + hours * HOUR
            assert announce(overdue, "a", at).hold.notices == days + 1
    assert overdue.all_left() == before
    assert not announce(overdue, "a", NOW + 14 * DAY).hold
    assert left(overdue, "a") == {0}


def test_rows_that_become_old_while_others_are_held_are_no_second_accident(overdue):
    overdue.fill([NOW - 30 * DAY + hours * HOUR for hours in range(0, 7 * 24, 12)], service="b")
    assert hold(overdue, 7) == 7
    assert not announce(overdue, "b", NOW + 7 * DAY).hold
    assert left(overdue, "a") == {0}
    assert left(overdue, "b") == {3}
    assert not announce(overdue, "b", NOW + 7 * DAY + HOUR).hold


def test_an_application_that_runs_one_day_a_week_deletes_after_seven_of_them(overdue):
    given = [announce(overdue, "a", NOW + week * 7 * DAY).hold.notices for week in range(8)]
    assert given == [1, 2, 3, 4, 5, 6, 7, 0]
    assert left(overdue, "a") == {0}


def test_a_retention_that_is_raised_counts_although_the_clock_was_ahead_before(clocked):
    clocked.fill([NOW - age * DAY for age in range(7)], service="a")
    announce(clocked, "b", retention=7 * DAY)
    announce(clocked, "a", NOW + 40 * DAY, 7 * DAY, host=NOW)  # the database's clock alone
    announce(clocked, "a", NOW)
    for hours in range(0, 8 * 24, 8):
        for service, retention in (("a", MONTH), ("b", 7 * DAY)):
            assert not announce(clocked, service, NOW + hours * HOUR, retention).hold
    assert left(clocked, "a") == {7}


def test_nor_while_the_processes_that_have_raised_it_are_stopped(clocked):
    clocked.fill([NOW - age * DAY for age in range(7)], service="a")
    announce(clocked, "a", NOW + 40 * DAY, 7 * DAY, host=NOW)
    announce(clocked, "b", NOW, 7 * DAY)
    clocked.run("INSERT INTO otel_ratelimit.service_retention VALUES ('a', '30 days', %(now)s)", now=NOW)
    for hours in range(0, 6 * 24, 8):
        assert not announce(clocked, "b", NOW + hours * HOUR, 7 * DAY).hold
    assert left(clocked, "a") == {7}


def test_what_was_said_while_the_clock_was_ahead_is_over_a_day_after_it_was_shortened(clocked):
    announce(clocked, "a", NOW + 40 * DAY, 10 * MONTH, host=NOW)
    for hours in range(0, 49, 4):
        report = announce(clocked, "a", NOW + hours * HOUR)
    assert report.retention_seconds == {"a": MONTH.total_seconds()}


@pytest.mark.parametrize("ages", [(30.01,), (31.1, 31.5, 32.9), (29, 33.5)])
def test_before_the_first_run_nobody_knows_what_is_usual(clocked, ages):
    clocked.fill([NOW - age * DAY for age in ages], service="a")
    for hours in (0, 1, 5):
        assert announce(clocked, "a", NOW + hours * HOUR).hold.notices == 1
    assert set(clocked.all_left().values()) == {len(ages)}


def test_before_the_first_run_young_rows_are_not_said(clocked):
    clocked.fill([NOW - 29 * DAY], service="a")
    assert not announce(clocked, "a").hold
    assert not announce(clocked, "a", NOW + 60 * HOUR).hold
    assert set(clocked.all_left().values()) == {0}


def dumped(clocked, table):
    """SQL that creates the table again, as a page or a backup has it."""
    from components import wheel_postgres  # of this alone

    command = [wheel_postgres() / "pg_dump", "--schema-only", f"--table=otel_ratelimit.{table}", clocked.url]
    script = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return "\n".join(line for line in script.splitlines() if not line.startswith("\\"))


@pytest.mark.parametrize("table", STATES)
def test_without_knowing_how_deletion_stands_partitions_are_made_and_nothing_is_deleted(
    clocked, caplog, table
):
    announce(clocked, "a", NOW - HOUR)
    clocked.fill([NOW - 30 * DAY - HOUR, NOW], service="a")
    restore = dumped(clocked, table)
    clocked.run(f"DROP TABLE otel_ratelimit.{table}")
    clocked.set_clock(NOW + DAY)
    host = NOW + DAY
    process = HourlyMaintenance(clocked.opened, MONTH, lambda: "a", host.timestamp)
    for _ in range(2):
        process.run()
    failed, held = caplog.messages
    assert failed == (
        f"part of the analytics tables could not be maintained: {table}: the table otel_ratelimit.{table} was"
        " dropped; restore it with its indexes and grants, see docs/schema.md"
    )
    assert held.startswith(
        f"no old rows are deleted from the analytics tables: without otel_ratelimit.{table}"
    )
    assert clocked.run("SELECT to_regclass('otel_ratelimit.query_logs_20260619') IS NOT NULL") == [(True,)]
    assert set(clocked.all_left().values()) == {2}
    clocked.execute(restore)
    report = announce(clocked, "a", NOW + DAY)
    assert (report.failures, report.hold.kind, report.hold.notices) == ((), "overdue", 1)
    assert set(clocked.all_left().values()) == {2}


def test_a_service_that_has_not_said_again_how_long_it_keeps_its_rows_loses_none(clocked):
    announce(clocked, "long", NOW - HOUR, 3 * MONTH)
    clocked.fill([NOW - 8 * DAY], service="long")
    restore = dumped(clocked, "service_retention")
    clocked.run("DROP TABLE otel_ratelimit.service_retention")
    assert announce(clocked, "short", NOW, 7 * DAY).hold.kind == "dropped"
    clocked.execute(restore)
    assert announce(clocked, "short", NOW + HOUR, 7 * DAY).hold.kind == "overdue"
    announce(clocked, "long", NOW + HOUR, 3 * MONTH)
    assert not announce(clocked, "short", NOW + 2 * HOUR, 7 * DAY).hold
    assert set(clocked.all_left().values()) == {1}


def test_an_operator_may_delete_without_a_state_but_not_without_the_retentions_of_others(clocked):
    announce(clocked, "a", NOW - HOUR)
    clocked.fill([NOW - 31 * DAY, NOW], service="a")
    clocked.run("DROP TABLE otel_ratelimit.maintenance_state")
    report = announce(clocked, "a", delete_anyway=True)
    assert not report.hold
    assert report.failures
    assert set(clocked.all_left().values()) == {1}
    clocked.run("DROP TABLE otel_ratelimit.service_retention")
    report = announce(clocked, "a", NOW + MONTH + HOUR, delete_anyway=True)
    assert report.hold.kind == "dropped"
    assert len(report.failures) == 2
    assert set(clocked.all_left().values()) == {1}


def test_tables_that_no_migration_has_made_are_still_a_matter_of_upgrading(clocked):
    downgrade(clocked.url, revision="0005")
    with pytest.raises(SchemaMissingError, match="db upgrade"):
        announce(clocked, "a")
    upgrade(clocked.url)
    assert announce(clocked, "a").failures == ()
