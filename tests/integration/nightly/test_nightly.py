"""The nightly job on a real database: which reports there are afterwards, whatever came between."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from nightly_reports import LAST, NOW, REPORT, hourly, kept, query
from psycopg2 import extensions

from otel_ratelimit.core.days import local_day

BERLIN = ZoneInfo("Europe/Berlin")


def test_the_last_full_day_is_reported_on(each_database, job, record):
    record(each_database, *hourly(datetime(2026, 3, 29, tzinfo=UTC), 24))

    [made] = job(each_database).run().made

    assert (made.analysis_date, made.analysis.all_executions) == (LAST, 72)
    assert kept(each_database) == {LAST: 72}
    [(start, end, zone, currency, reason, ttl)] = query(
        each_database,
        "SELECT period_start, period_end, time_zone, currency, reason, recommended_ttl_seconds"
        " FROM otel_ratelimit.cache_analysis_latest",
    )
    assert (start, end) == local_day(LAST, UTC)
    assert (zone, currency, reason, ttl) == ("UTC", "USD", made.reason, made.recommended_ttl_seconds)


def test_running_twice_gives_one_row_and_the_later_figures(database, job, record):
    record(database, *hourly(datetime(2026, 3, 29, tzinfo=UTC), 12))
    job(database).run()
    record(database, *hourly(datetime(2026, 3, 29, 12, tzinfo=UTC), 12))

    job(database).run()

    assert kept(database) == {LAST: 72}


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 7, 1), 24)]
)
def test_a_day_has_the_hours_of_its_zone_and_no_other(database, job, day, hours, record):
    period = local_day(day, BERLIN)
    assert period.end - period.start == timedelta(hours=hours)
    outside = [period.start - timedelta(seconds=1), period.end]
    record(database, *hourly(period.start, hours, timedelta(hours=1)), *outside)
    berlin = REPORT + 'time_zone = "Europe/Berlin"'

    outcome = job(database, berlin, now=period.end + timedelta(minutes=15)).run()

    assert [made.analysis_date for made in outcome.made] == [day]
    # The two outside count in their minutes: totals are known by minute only.
    assert outcome.made[0].analysis.sample.rows == hours
    assert kept(database) == {day: hours}


def test_before_its_midnight_a_day_is_not_over(database, job, record):
    record(database, datetime(2026, 3, 27, 12, tzinfo=UTC))
    berlin = REPORT + 'time_zone = "Europe/Berlin"'
    before = job(database, berlin, now=datetime(2026, 3, 29, 21, 59, 59, tzinfo=UTC))
    after = job(database, berlin, now=datetime(2026, 3, 29, 22, 0, 0, tzinfo=UTC))
    assert before.run().made[0].analysis_date == date(2026, 3, 28)
    assert after.run().made[0].analysis_date == date(2026, 3, 29)
    with pytest.raises(ValueError, match=r"2026-03-29 has not ended yet in Europe/Berlin; .* is 2026-03-28"):
        before.run(date(2026, 3, 29))


def test_missed_days_are_filled_once_the_last_one_first(database, job, record):
    record(database, datetime(2026, 3, 26, 15, tzinfo=UTC), datetime(2026, 3, 28, 15, tzinfo=UTC))
    job(database).run(date(2026, 3, 28))

    first = job(database).catch_up()
    again = job(database).catch_up()

    assert [made.analysis_date.day for made in first.made] == [29, 27, 26]
    assert again.made == ()
    assert kept(database) == {date(2026, 3, day): n for day, n in ((26, 1), (27, 0), (28, 1), (29, 0))}


def test_a_day_without_queries_has_a_report_that_says_so(database, job, record):
    record(database, datetime(2026, 3, 28, 12, tzinfo=UTC))
    made, _ = job(database).catch_up().made
    assert (made.worthwhile, made.reason) == (False, "there was no query on that day")
    assert made.cost.monthly_cost == 0.0


def test_a_report_is_not_replaced_by_one_that_rests_on_less(database, job, record):
    record(database, *hourly(datetime(2026, 3, 29, tzinfo=UTC), 24))
    job(database).run()
    query(database, "DELETE FROM otel_ratelimit.query_logs WHERE ts < '2026-03-29T12:00Z'")
    query(database, "DELETE FROM otel_ratelimit.query_totals WHERE minute < '2026-03-29T12:00Z'")

    told = []
    outcome = job(database, tell=told.append).run()

    assert (outcome.made, outcome.kept) == ((), (LAST,))
    assert kept(database) == {LAST: 72}
    assert told[-1] == "2026-03-29: some of its queries have been deleted since; its report is kept"


def test_of_a_day_of_which_nothing_is_known_there_is_no_report(database, job, record):
    nothing = job(database).run()
    assert (nothing.made, nothing.unknown) == ((), ("no query is recorded for 2026-03-29",))
    assert not nothing.is_well
    assert job(database).catch_up().is_well
    record(database, *hourly(datetime(2026, 3, 28, tzinfo=UTC), 24))
    job(database).run(date(2026, 3, 28))
    query(database, "DELETE FROM otel_ratelimit.query_totals")
    record(database, datetime(2026, 3, 29, 10, 30, tzinfo=UTC))

    outcome = job(database).run(date(2026, 3, 28))

    assert outcome.unknown == ("no query is recorded for 2026-03-28; the first one ran at 2026-03-29 10:30",)
    assert kept(database) == {date(2026, 3, 28): 72}


def test_on_the_first_day_nothing_is_due_and_today_can_be_looked_at(database, job, seen, record):
    record(database, NOW - timedelta(minutes=10), NOW - timedelta(minutes=5), NOW + timedelta(hours=1))
    assert job(database).catch_up().made == ()
    assert seen.gauges() == {"otel_ratelimit.report.last_success": [NOW.timestamp()]}

    report = job(database).so_far()

    assert (report.analysis_date, report.analysis.sample.rows) == (date(2026, 3, 30), 2)
    assert kept(database) == {}


def test_hours_before_recording_began_are_none_of_an_idle_database(database, job, record):
    began = datetime(2026, 3, 29, 14, 16, tzinfo=UTC)
    record(database, *hourly(began + timedelta(seconds=37), 9, timedelta(seconds=30)))

    told = []
    [first] = job(database, now=NOW, tell=told.append).run().made
    so_far = job(database, now=datetime(2026, 3, 29, 14, 26, tzinfo=UTC)).so_far()

    for made, scale, seconds in ((first, "part", 9 * 3_600 + 44 * 60), (so_far, "so_far", 600)):
        assert (made.recording_began, made.analysis.period_start) == (began, began)
        assert (made.scale, made.covered_seconds) == (scale, seconds)
    assert (first.analysis.period_end, first.analysis.all_executions) == (local_day(LAST, UTC).end, 1_080)
    assert f"report of {LAST} saved; it covers 1,080 queries" in told
    # 19 queries of 20 ms in ten minutes, and not in fourteen hours.
    assert "busy with queries for 0.06 % of the time" in so_far.reason
    assert query(database, "SELECT period_start FROM otel_ratelimit.cache_analysis_latest") == [(began,)]


def test_recording_begins_with_the_first_row_of_a_query_that_was_counted_a_little_later(
    database, job, record
):
    began = datetime(2026, 3, 29, 14, 15, 58, tzinfo=UTC)
    record(database, began)
    query(database, "UPDATE otel_ratelimit.query_totals SET minute = '2026-03-29 14:16:00+00'")

    [made] = job(database).run().made

    assert (made.analysis.sample.rows, made.analysis.all_executions) == (1, 1)
    assert made.recording_began == began.replace(second=0)


@pytest.mark.parametrize("ago", [timedelta(minutes=1), timedelta(hours=10), timedelta(days=20)])
def test_a_quiet_night_counts_where_recording_had_begun_before_it(database, job, record, ago):
    midnight = datetime(2026, 3, 29, tzinfo=UTC)
    record(database, midnight - ago, *hourly(midnight + timedelta(hours=14), 9))

    [made] = job(database).run().made

    assert (made.scale, made.recording_began, made.covered_seconds) == ("day", None, 86_400)
    assert made.analysis.period_start == midnight


def test_a_day_in_whose_last_minute_recording_began_is_a_minute_long(database, job, record):
    record(database, datetime(2026, 3, 29, 23, 59, 59, tzinfo=UTC))

    [made] = job(database).run().made

    assert (made.scale, made.covered_seconds) == ("part", 60)


def test_the_day_on_which_recording_began_is_one_of_its_time_zone(database, job, record):
    # 0:30 of the 29th in Berlin.
    began = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)
    record(database, began)
    berlin = REPORT + 'time_zone = "Europe/Berlin"'

    [made] = job(database, berlin, now=datetime(2026, 3, 30, tzinfo=UTC)).run().made

    # Of 23 hours, the first half was not recorded.
    assert (made.scale, made.covered_seconds) == ("part", 22.5 * 3_600)
    assert made.recording_began.isoformat() == "2026-03-29T00:30:00+01:00"


def test_a_report_that_found_nothing_is_made_again_when_something_has_arrived(database, job, record):
    record(database, datetime(2026, 3, 27, 12, tzinfo=UTC))
    job(database).catch_up()
    record(database, datetime(2026, 3, 28, 23, 59, tzinfo=UTC))

    again = job(database).catch_up()

    assert [made.analysis_date for made in again.made] == [date(2026, 3, 28)]
    assert kept(database)[date(2026, 3, 28)] == 1


def test_the_rights_that_the_how_to_grants_are_enough(database, job, record):
    record(database, *hourly(datetime(2026, 3, 29, tzinfo=UTC), 24))
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "nightly-report.md").read_text()
    grants = "\n".join(re.findall(r"```sql\n(.*?)```", page, flags=re.DOTALL))
    role = f"reporter_{uuid4().hex[:8]}"
    query(database, f"CREATE ROLE {role} LOGIN; {grants.replace('reporter', role)}")
    try:
        parts = extensions.parse_dsn(database) | {"user": role}
        job(extensions.make_dsn(**parts)).catch_up()
        assert kept(database) == {LAST: 72}
    finally:
        query(database, f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_run_is_a_trace_and_sets_the_gauges(database, job, seen, record):
    record(database, *hourly(datetime(2026, 3, 29, tzinfo=UTC), 24, timedelta(seconds=30)))
    assert seen.gauges() == {}

    [made] = job(database).run().made

    spans = seen.spans.get_finished_spans()
    assert [span.name for span in spans] == ["otel_ratelimit.report.day", "otel_ratelimit.report"]
    assert spans[0].parent.span_id == spans[1].context.span_id
    assert spans[0].attributes == {"otel_ratelimit.report.date": "2026-03-29"}
    assert made.hit_potential > 0.9
    assert seen.gauges() == {
        "otel_ratelimit.report.last_success": [NOW.timestamp()],
        "otel_ratelimit.cache.hit_potential": [made.hit_potential],
    }
