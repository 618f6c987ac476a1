"""Nothing is deleted that should stay: wrong clocks, a restored backup, a dropped table."""

from __future__ import annotations

import logging
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from clocked import AGED, NOW, QUERY, Clocked
from components import wheel_postgres
from retention_times import DAY, HOUR, MONTH, announce

from otel_ratelimit.postgres.hourly_maintenance import HourlyMaintenance


def partitions(clocked):
    return {
        name.removeprefix("query_logs_")
        for (name,) in clocked.run(
            "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid"
            " WHERE inhparent = 'otel_ratelimit.query_logs'::regclass"
        )
    }


class Host:
    """Where processes run, with a clock of its own."""

    def __init__(self, opened):
        self._opened = opened
        self.now = NOW

    def process(self, service="shop", retention=MONTH):
        """The hourly work of a service's process."""
        return HourlyMaintenance(self._opened, retention, lambda: service, self.clock)

    def clock(self):
        return self.now.timestamp()


@pytest.fixture
def host(clocked):
    return Host(clocked.opened)


@pytest.mark.parametrize("away", [40 * DAY, -40 * DAY, timedelta(minutes=6), -timedelta(minutes=6)])
def test_where_the_clocks_disagree_nothing_is_deleted_and_the_partitions_of_today_are_made(clocked, away):
    clocked.fill([NOW - 29 * DAY, NOW - 30 * DAY - HOUR, NOW])
    report = clocked.maintain(host=NOW + away)
    assert report.hold.kind == "clocks"
    assert (report.rows_deleted, report.partitions_dropped) == ({}, ())
    assert set(clocked.all_left().values()) == {3}
    assert partitions(clocked) >= {"20260615", "20260616", "20260617", "20260618"}
    assert max(partitions(clocked) - {"default"}) == "20260618"


def test_clocks_that_are_nearly_alike_are_alike(clocked):
    clocked.maintain(NOW - HOUR)
    clocked.fill([NOW - 30 * DAY - HOUR, NOW])
    for away in (timedelta(minutes=4), -timedelta(minutes=4)):
        assert not clocked.maintain(host=NOW + away).hold
    assert set(clocked.all_left().values()) == {1}


def test_the_log_says_both_times_and_how_to_go_on_once_and_when_it_is_over(clocked, host, caplog):
    caplog.set_level(logging.WARNING)
    clocked.maintain(NOW - HOUR)
    clocked.set_clock(NOW)
    clocked.fill([NOW - 30 * DAY - HOUR, NOW])
    process = host.process()
    host.now = NOW + 40 * DAY
    for _ in range(3):
        process.run()
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith("no old rows are deleted")
    assert "host says 2026-07-25 10:30 UTC and that of the database 2026-06-15 10:30 UTC" in said
    assert "40 days apart" in said
    assert "otel-ratelimit db maintain --delete-anyway" in said
    host.now += DAY
    process.run()
    assert len(caplog.messages) == 2, "once a day"
    host.now = NOW
    process.run()
    assert caplog.messages[2:] == ["old rows are deleted from the analytics tables again"]
    assert set(clocked.all_left().values()) == {1}


def test_an_operator_may_say_that_the_clock_of_the_database_is_right(clocked):
    clocked.fill([NOW - 31 * DAY, NOW])
    report = clocked.maintain(host=NOW - 40 * DAY, delete_anyway=True)
    assert not report.hold
    assert set(clocked.all_left().values()) == {1}


@pytest.mark.parametrize(
    ("ahead", "ages"), [(4 * DAY, 29), (27 * DAY, 6), (40 * DAY, 6), (40 * DAY, 30), (400 * DAY, 30)]
)
def test_a_machine_whose_clock_jumps_ahead_and_back_loses_nothing(clocked, host, caplog, ahead, ages):
    """PostgreSQL beside the application: no other clock tells them that theirs is wrong."""
    clocked.fill([NOW - age * DAY for age in range(ages)])
    process, another = host.process(), host.process("other", 10 * MONTH)
    another.run()
    process.run()
    before = clocked.all_left()
    for hours in range(0, 30, 4):
        at = NOW + ahead + hours * HOUR
        clocked.set_clock(at)
        host.now = at
        process.run()
    clocked.set_clock(NOW + HOUR)
    host.now = NOW + HOUR
    caplog.clear()
    process.run()
    assert clocked.all_left() == before
    assert f"is {ahead.days + 1} days 3 hours behind its time at the last maintenance" in caplog.text
    caplog.clear()
    process.run()
    assert caplog.messages == []


def test_a_restored_backup_is_emptied_after_a_week_of_notices_and_not_before(clocked, host, caplog):
    caplog.set_level(logging.WARNING)
    clocked.fill([NOW - 60 * DAY, NOW - 45 * DAY])
    process = host.process()
    for hours in range(0, 7 * 24, 6):
        at = NOW + hours * HOUR
        clocked.set_clock(at)
        host.now = at
        process.run()
        assert set(clocked.all_left().values()) == {2}
    assert len(caplog.messages) == 7
    assert all("rows since 2026-04-16 10:30 UTC" in said for said in caplog.messages)
    assert "In force: shop 30 days. They" in caplog.messages[0]
    assert "(this is notice 7)" in caplog.messages[6]
    for hours in range(7 * 24, 8 * 24, 6):
        at = NOW + hours * HOUR
        clocked.set_clock(at)
        host.now = at
        process.run()
    assert set(clocked.all_left().values()) == {0}
    assert caplog.messages[7:] == ["old rows are deleted from the analytics tables again"]


def test_a_backup_that_was_dumped_and_restored_elsewhere_is_whole_after_the_first_day(
    clocked, postgres, new_database
):
    clocked.fill([NOW - age * DAY for age in range(30)])
    announce(clocked, "shop", MONTH)
    dump = subprocess.run(
        [wheel_postgres() / "pg_dump", "--inserts", "--schema=otel_ratelimit", clocked.url],
        capture_output=True,
        text=True,
        check=True,
    )
    with closing(Clocked(new_database(postgres))) as restored:
        # Commands of psql begin with a backslash.
        restored.execute("\n".join(line for line in dump.stdout.splitlines() if not line.startswith("\\")))
        assert restored.all_left() == clocked.all_left() == dict.fromkeys(AGED, 30)
        for days in (10, 60):
            for hours in (0, 1, 12):
                report = announce(restored, "shop", MONTH, NOW + days * DAY + hours * HOUR)
                assert report.hold.kind == "overdue"
        assert restored.all_left() == clocked.all_left()


def test_a_clock_that_jumps_again_and_again_is_no_week_of_notices(clocked):
    clocked.fill([NOW - DAY])
    for jump in range(6):
        for hours in range(3):
            assert clocked.maintain(NOW + (40 + 20 * jump) * DAY + hours * HOUR).hold.notices == jump + 1
    assert set(clocked.all_left().values()) == {1}


def test_what_an_operator_deletes_anyway_needs_no_notices(clocked):
    clocked.fill([NOW - 60 * DAY, NOW])
    assert clocked.maintain().hold.notices == 1
    assert not clocked.maintain(delete_anyway=True).hold
    assert set(clocked.all_left().values()) == {1}
    clocked.fill([NOW - 60 * DAY])
    assert clocked.maintain().hold.notices == 1, "the notices of before are over"


def test_rows_that_age_hour_by_hour_go_without_notice(clocked):
    for day in range(12):
        for hour in (0, 8, 16):
            at = NOW + day * DAY + hour * HOUR
            clocked.fill([at])
            report = clocked.maintain(at, retention=3 * DAY)
            assert not report.hold
    # The query log goes by the day.
    assert clocked.all_left() == {**dict.fromkeys(AGED, 10), "query_logs": clocked.left("query_logs")}
    assert 10 <= clocked.left("query_logs") <= 13


def test_a_pause_of_some_days_is_noticed_and_nothing_is_lost_by_it(clocked):
    clocked.fill([NOW - 29 * DAY, NOW])
    assert not clocked.maintain().hold
    assert clocked.maintain(NOW + 10 * DAY).hold.kind == "overdue"
    assert set(clocked.all_left().values()) == {2}


@pytest.mark.parametrize("table", [*AGED, "ingested_batches", "query_logs_default"])
def test_where_a_table_was_dropped_the_others_are_maintained(clocked, host, caplog, table):
    clocked.maintain(NOW - HOUR)
    clocked.fill([NOW - 31 * DAY, NOW])
    clocked.set_clock(NOW)
    clocked.run(f"DROP TABLE otel_ratelimit.{table}")
    process = host.process()
    process.run()
    process.run()
    others = [t for t in AGED if t != table]
    left = {t: clocked.left(t) for t in others}
    assert left == {**dict.fromkeys(others, 1)}
    if table == "query_logs_default":
        assert "default" in partitions(clocked)
    else:
        [said] = caplog.messages
        assert said.startswith("part of the analytics tables could not be maintained")
        assert f"otel_ratelimit.{table}" in said


def test_a_partition_that_was_dropped_is_made_again(clocked):
    clocked.maintain()
    clocked.run("DROP TABLE otel_ratelimit.query_logs_20260616")
    clocked.run(QUERY, times=[NOW + DAY])
    assert clocked.maintain().rows_moved == 1
    assert "20260616" in partitions(clocked)


def test_a_partition_that_was_detached_is_left_alone_and_the_others_are_made(clocked):
    clocked.maintain(days_ahead=0)
    clocked.fill([NOW - 31 * DAY])
    clocked.run("ALTER TABLE otel_ratelimit.query_logs DETACH PARTITION otel_ratelimit.query_logs_20260615")
    report = clocked.maintain(days_ahead=2)
    assert report.partitions_created == ("query_logs_20260616", "query_logs_20260617")
    [failure] = report.failures
    assert failure.startswith("query_logs_20260615: ")
    assert "already exists" in failure
    assert set(clocked.all_left().values()) == {0}


def test_the_clock_of_the_database_is_its_real_one(database):
    """The others set it by a function; here nobody has."""
    from otel_ratelimit.postgres import Database  # of this test alone
    from otel_ratelimit.postgres.server_clock import database_time  # as above

    before = datetime.now(UTC).timestamp()
    opened = Database(database)
    now = database_time(opened)
    opened.close()
    assert before - 1 <= now <= datetime.now(UTC).timestamp() + 1
