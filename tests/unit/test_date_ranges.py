"""Periods as people write them, and what is said of those that are none."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ratelimit.core.periods import LONGEST, parse_date_range, period, period_or_last_day

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def at(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("24h", NOW - timedelta(hours=24), NOW),
        ("7d", NOW - timedelta(days=7), NOW),
        ("90m", NOW - timedelta(minutes=90), NOW),
        (" 366d ", NOW - timedelta(days=366), NOW),
        ("2026-01-01", at(2026, 1, 1), at(2026, 1, 2)),
        ("2026-01-01/2026-01-31", at(2026, 1, 1), at(2026, 2, 1)),
        ("2024-02-29/2024-02-29", at(2024, 2, 29), at(2024, 3, 1)),
        ("2026-01-01T00:00Z/2026-01-02T12:00Z", at(2026, 1, 1), at(2026, 1, 2, 12)),
        ("2026-01-01T02:00+02:00/2026-01-02", at(2026, 1, 1), at(2026, 1, 3)),
        ("2026-01-01T08:00/2026-01-01T09:30", at(2026, 1, 1, 8), at(2026, 1, 1, 9, 30)),
        ("2027-01-01/2027-01-02", at(2027, 1, 1), at(2027, 1, 3)),
    ],
)
def test_a_date_range_is_read(text, start, end):
    assert parse_date_range(text, NOW) == (start, end)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "7",
        "7 days",
        "-7d",
        "0d",
        "367d",
        "999999d",
        "99999999999d",
        "7w",
        "\u0667d",
        "last week",
        "2026-13-01",
        "2026-02-30",
        "2026-01-31/2026-01-01",
        "2026-01-01/",
        "/2026-01-01",
        "2026-01-01/2026-01-02/2026-01-03",
        "2025-01-01/2026-01-02",
        "2026-01-01T00:00Z",
        "2026-01-01T00:00Z/2026-01-01T00:00Z",
        "2026-01-01T00:00 02:00/2026-01-02",
        "9999-12-31",
        "0001-01-01T00:00+14:00/0001-01-02",
        "9999-12-30/9999-12-31T23:00-14:00",
        "\0",
        "2026-01-01'; DROP TABLE x",
        "1" * 100_000,
    ],
)
def test_what_is_no_date_range_is_refused_with_what_would_be_one(text):
    with pytest.raises(ValueError, match=r"for instance|ask for less|comes first") as refused:
        parse_date_range(text, NOW)
    assert len(str(refused.value)) < 400


@given(st.one_of(st.text(max_size=30), st.from_regex(r"[0-9T:Z/+.-]{0,40}", fullmatch=True)))
def test_whatever_is_written_is_a_period_of_a_year_at_most_or_a_value_error(text):
    try:
        found = parse_date_range(text, NOW)
    except ValueError:
        return
    assert timedelta() < found.end - found.start <= LONGEST


def test_dates_and_datetimes_are_taken_as_they_are():
    assert period(date(2026, 1, 1), date(2026, 1, 1)) == (at(2026, 1, 1), at(2026, 1, 2))
    assert period(date(2026, 1, 1), at(2026, 1, 1, 6)) == (at(2026, 1, 1), at(2026, 1, 1, 6))


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        (None, None, (NOW - timedelta(hours=24), NOW)),
        (date(2026, 1, 1), None, (at(2026, 1, 1), NOW)),
        (None, date(2026, 1, 1), (at(2026, 1, 1), at(2026, 1, 2))),
        (None, "2026-01-01T18:00", (at(2025, 12, 31, 18), at(2026, 1, 1, 18))),
        ("2026-01-01", "2026-01-01", (at(2026, 1, 1), at(2026, 1, 2))),
    ],
)
def test_without_an_end_it_is_now_and_without_a_start_a_day_before(start, end, found):
    assert period_or_last_day(start, end, NOW) == found
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
    assert period_or_last_day(start, end, elsewhere) == found


@pytest.mark.parametrize(
    ("start", "end"), [(NOW, None), ("9999-01-01", None), (None, "0001-01-01T00:00"), (None, "soon")]
)
def test_what_is_left_out_saves_no_period_that_is_none(start, end):
    with pytest.raises(ValueError, match=r"for instance|comes first"):
        period_or_last_day(start, end, NOW)


def test_what_is_neither_date_nor_time_is_a_type_error():
    with pytest.raises(TypeError, match="neither a date nor a time"):
        period_or_last_day(None, 5, NOW)
