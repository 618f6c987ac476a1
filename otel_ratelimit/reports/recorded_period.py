"""The part of a day that was recorded; an hour before recording began is unknown, not idle."""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo
from typing import Final

from otel_ratelimit.core.days import local_day
from otel_ratelimit.core.periods import Period

MIN_LENGTH: Final = timedelta(minutes=1)


def why_unknown(day: date, zone: tzinfo, first: datetime | None) -> str:
    """Why there can be no report of `day`; empty if queries are recorded for it or for a day before it.

    A day before the first recorded query would look like a day without queries.

    Args:
        day: in `zone`.
        zone: of the day.
        first: when the first recorded query ran; None if there is none.
    """
    if first is not None and first < local_day(day, zone).end:
        return ""
    since = "" if first is None else f"; the first one ran at {first.astimezone(zone):%Y-%m-%d %H:%M}"
    return f"no query is recorded for {day}{since}"


def since_recording_began(period: Period, began: datetime | None) -> Period:
    """The part of `period` to analyse; all of it if recording began earlier.

    A service with a quiet night has queries of earlier days, so its night counts.

    Args:
        period: a day, or a part of one.
        began: when the first recorded query of any day ran; None if there is none.
    """
    if began is None or not period.start < began < period.end:
        return period
    return Period(began, max(period.end, began + MIN_LENGTH))
