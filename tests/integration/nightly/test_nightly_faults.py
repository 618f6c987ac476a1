"""The nightly job when it runs twice at once, loses its connection or cannot make a report."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import UTC, date, datetime, timedelta

import pytest
from nightly_reports import LAST, NOW, hourly, kept, query
from psycopg2 import extensions

from otel_ratelimit.core.errors import DatabaseError, SchemaMissingError
from otel_ratelimit.postgres.cache_reports import LOCK


@pytest.mark.full
def test_of_several_at_once_one_works(database, job, record):
    start = datetime(2026, 3, 20, tzinfo=UTC)
    record(database, *(start + timedelta(hours=place) for place in range(240)))
    jobs = [job(database) for _ in range(4)]
    barrier, outcomes = threading.Barrier(len(jobs)), []

    def catch_up(each):
        barrier.wait()
        outcomes.append(each.catch_up())

    threads = [threading.Thread(target=catch_up, args=(each,)) for each in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    made = [report.analysis_date for outcome in outcomes for report in outcome.made]
    # Each came to one of three things: did the work, saw it being done, or found it done.
    assert sorted(made) == [date(2026, 3, day) for day in range(20, 30)]
    assert len(outcomes) == 4
    assert kept(database) == {date(2026, 3, day): 24 for day in range(20, 30)}


def test_while_another_is_at_it_nothing_is_done_and_afterwards_all(database, job, record):
    record(database, datetime(2026, 3, 29, 12, tzinfo=UTC))
    with closing(extensions.connection(database)) as other:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        assert job(database).run().skipped
        assert kept(database) == {}
    # Gone with its connection, as when its process is killed.
    waiting = job(database)
    while waiting.run().skipped:
        pass
    assert list(kept(database)) == [LAST]


HOLDING = """
SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
WHERE datname = current_database() AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')
"""


def test_what_was_done_is_done_though_the_connection_with_the_lock_broke(database, job, seen, record):
    record(database, *hourly(datetime(2026, 3, 29, tzinfo=UTC), 24))
    broken = []

    def break_it(sentence):
        if sentence.endswith("reading queries"):
            broken.extend(query(database, HOLDING))

    outcome = job(database, tell=break_it).run()

    assert broken == [(1,)]
    assert outcome.is_well
    assert [made.analysis_date for made in outcome.made] == [LAST]
    assert kept(database) == {LAST: 72}
    assert seen.gauges()["otel_ratelimit.report.last_success"] == [NOW.timestamp()]


def test_one_day_that_fails_does_not_keep_the_others_from_their_reports(database, job, record):
    record(database, *(datetime(2026, 3, day, 12, tzinfo=UTC) for day in (27, 28, 29)))
    query(
        database,
        "ALTER TABLE otel_ratelimit.cache_analysis_daily ADD CONSTRAINT broken"
        " CHECK (analysis_date <> '2026-03-28')",
    )

    outcome = job(database).catch_up()

    assert not outcome.is_well
    [(day, error)] = outcome.failed
    assert day == date(2026, 3, 28)
    assert "broken" in str(error)
    assert sorted(kept(database)) == [date(2026, 3, 27), LAST]


def test_rows_that_nobody_thought_of_cost_their_day_only(database, job, caplog, record):
    record(database, *(datetime(2026, 3, day, 12, tzinfo=UTC) for day in (28, 29)))
    query(
        database,
        "UPDATE otel_ratelimit.query_logs SET buckets = '{{1}}', tier = 'hot' WHERE ts < '2026-03-29'",
    )

    outcome = job(database).catch_up()

    assert [day for day, _ in outcome.failed] == [date(2026, 3, 28)]
    assert list(kept(database)) == [LAST]
    assert "no report was made for 2026-03-28" in caplog.text


def test_a_database_that_is_not_there_or_has_no_tables_is_said(empty_database, job):
    with pytest.raises(SchemaMissingError, match="db upgrade"):
        job(empty_database).catch_up()
    with pytest.raises(DatabaseError, match="cannot connect"):
        job("postgresql://127.0.0.1:1/x").catch_up()


def test_a_run_that_failed_is_no_success(database, job, seen, record):
    record(database, datetime(2026, 3, 29, 12, tzinfo=UTC))
    query(database, "ALTER TABLE otel_ratelimit.cache_analysis_daily ADD CONSTRAINT broken CHECK (false)")
    job(database).run()
    assert seen.gauges() == {}
    assert [span.status.is_ok for span in seen.spans.get_finished_spans()] == [False, True]
