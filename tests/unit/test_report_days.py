"""Which hours a day has, which days are missing, and when the job runs: clocks that are changed included."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from otel_ratelimit.core.days import days_between, last_full_day, local_day
from otel_ratelimit.reports.missing_days import missing_days
from otel_ratelimit.reports.schedule import EveryDayAt

BERLIN = ZoneInfo("Europe/Berlin")
CAIRO = ZoneInfo("Africa/Cairo")
HAVANA = ZoneInfo("America/Havana")
EARLY = time(0, 15)


def hours(period):
    return (period.end - period.start) / timedelta(hours=1)


@pytest.mark.parametrize(
    ("zone", "day", "start", "length"),
    [
        (UTC, date(2026, 3, 29), "2026-03-29T00:00+00:00", 24),
        (BERLIN, date(2026, 3, 28), "2026-03-27T23:00+00:00", 24),
        (BERLIN, date(2026, 3, 29), "2026-03-28T23:00+00:00", 23),
        (BERLIN, date(2026, 10, 25), "2026-10-24T22:00+00:00", 25),
        # Midnight is skipped: the day begins at one o'clock.
        (CAIRO, date(2026, 4, 24), "2026-04-23T22:00+00:00", 23),
        # Midnight comes twice: the day begins with the first.
        (HAVANA, date(2026, 11, 1), "2026-11-01T04:00+00:00", 25),
        (ZoneInfo("Pacific/Kiritimati"), date(2026, 1, 1), "2025-12-31T10:00+00:00", 24),
    ],
)
def test_a_day_has_the_hours_that_its_zone_gives_it(zone, day, start, length):
    period = local_day(day, zone)
    assert period.start == datetime.fromisoformat(start)
    assert hours(period) == length


@pytest.mark.parametrize("zone", [UTC, BERLIN, CAIRO, HAVANA, ZoneInfo("Pacific/Apia")])
def test_days_leave_no_hour_out_and_have_none_twice(zone):
    days = days_between(date(2026, 1, 1), date(2026, 12, 31))
    periods = [local_day(day, zone) for day in days]
    assert all(before.end == after.start for before, after in pairwise(periods))
    assert sum(map(hours, periods)) == pytest.approx(365 * 24)


def test_the_end_of_the_calendar_is_refused():
    with pytest.raises(ValueError, match="9999-12-31 is at the end of the calendar"):
        local_day(date.max, UTC)


@pytest.mark.parametrize(
    ("now", "last"),
    [
        ("2026-03-28T22:59:59+00:00", date(2026, 3, 27)),
        ("2026-03-28T23:00:00+00:00", date(2026, 3, 28)),
        ("2026-03-29T21:59:59+00:00", date(2026, 3, 28)),
        ("2026-03-29T22:00:00+00:00", date(2026, 3, 29)),
    ],
)
def test_a_day_is_full_at_the_midnight_of_its_zone(now, last):
    assert last_full_day(datetime.fromisoformat(now), BERLIN) == last


NOW = datetime(2026, 1, 5, 0, 15, tzinfo=UTC)


def test_missed_days_are_those_since_the_first_query_the_last_one_first():
    first = datetime(2026, 1, 1, 13, 0, tzinfo=UTC)
    found = missing_days(NOW, UTC, first, {date(2026, 1, 2)})
    assert found == (date(2026, 1, 4), date(2026, 1, 3), date(2026, 1, 1))


def test_before_the_first_query_no_day_is_missed():
    assert missing_days(NOW, UTC, None, ()) == ()
    assert missing_days(NOW, UTC, NOW, ()) == ()
    assert missing_days(NOW, UTC, NOW - timedelta(minutes=16), ()) == (date(2026, 1, 4),)


def test_a_clock_that_stood_still_does_not_make_fifty_years_of_reports():
    found = missing_days(NOW, UTC, datetime(1970, 1, 1, tzinfo=UTC), ())
    assert (len(found), found[0]) == (401, date(2026, 1, 4))


def test_the_first_query_counts_on_its_day_in_the_zone():
    # 23:30 in London is the next day in Berlin.
    first = datetime(2026, 1, 2, 23, 30, tzinfo=UTC)
    assert missing_days(NOW, BERLIN, first, ())[-1] == date(2026, 1, 3)


def fires(zone, at, start, times=4):
    trigger, previous = EveryDayAt(at, zone), None
    now = datetime.fromisoformat(start)
    for _ in range(times):
        previous = now = trigger.get_next_fire_time(previous, now)
        yield previous


@pytest.mark.parametrize(
    ("zone", "start"),
    [(BERLIN, "2026-03-27T12:00Z"), (CAIRO, "2026-04-22T12:00Z"), (HAVANA, "2026-10-30T12:00Z")],
)
def test_it_runs_once_on_every_day_also_when_the_clocks_skip_or_repeat_that_time(zone, start):
    found = list(fires(zone, EARLY, start))
    days = [fire.astimezone(zone).date() for fire in found]
    assert days == list(days_between(days[0], days[0] + timedelta(days=3)))
    # And each time the day before is over.
    assert [last_full_day(fire, zone) for fire in found] == [day - timedelta(days=1) for day in days]


def test_a_time_that_is_skipped_is_the_same_moment_an_hour_later():
    _, skipped, *_ = fires(CAIRO, EARLY, "2026-04-22T12:00Z")
    assert skipped == datetime(2026, 4, 23, 22, 15, tzinfo=UTC)
    assert f"{skipped:%H:%M}" == "01:15"


def test_after_a_long_sleep_it_does_not_run_for_each_night():
    trigger = EveryDayAt(EARLY, UTC)
    now = datetime(2026, 2, 1, 9, 0, tzinfo=UTC)
    late, runs = datetime(2026, 1, 1, 0, 15, tzinfo=UTC), 0
    while late <= now:
        late, runs = trigger.get_next_fire_time(late, now), runs + 1
    assert late == datetime(2026, 2, 2, 0, 15, tzinfo=UTC)
    assert runs <= 2
