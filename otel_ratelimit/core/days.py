"""The days of a report: from one midnight to the next, in a time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo

from otel_ratelimit.core.periods import Period

_DAY = timedelta(days=1)


def local_day(day: date, zone: tzinfo) -> Period:
    """The period of `day` in `zone`: 23 or 25 hours where the clocks are changed.

    Where midnight is skipped, the day starts at the first moment that exists; where midnight occurs twice,
    at the first one (PEP 495, `fold=0`).

    Raises:
        ValueError: `day` is at the end of the calendar.
    """
    try:
        start, end = (datetime.combine(each, time(), zone).astimezone(UTC) for each in (day, day + _DAY))
    except OverflowError:
        raise ValueError(f"{day} is at the end of the calendar") from None
    return Period(start, end)


def last_full_day(now: datetime, zone: tzinfo) -> date:
    """The last day that has ended in `zone`.

    Args:
        now: a time with a time zone.
        zone: the time zone whose midnight counts.
    """
    return now.astimezone(zone).date() - _DAY


def days_between(first: date, last: date) -> tuple[date, ...]:
    """All days from `first` to `last`, both included; none where `last` is before `first`."""
    return tuple(first + place * _DAY for place in range((last - first).days + 1))
