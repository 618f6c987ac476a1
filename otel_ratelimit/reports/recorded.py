"""Which part of a day was recorded: before recording began, an empty hour says nothing about the database."""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo
from typing import Final

from otel_ratelimit.core.days import local_day
from otel_ratelimit.core.periods import Period

SHORTEST: Final = timedelta(minutes=1)


def why_unknown(day: date, zone: tzinfo, first: datetime | None) -> str:
    """Why nothing can be said of `day`; empty where queries are known of it, or of a day before.

    A day before the first query would look like one without any.

    Args:
        day: in `zone`.
        zone: of the day.
        first: when the first query was that is known of; None for none.
    """
    if first is not None and first < local_day(day, zone).end:
        return ""
    since = "" if first is None else f"; the first is of {first.astimezone(zone):%Y-%m-%d %H:%M}"
    return f"no query of {day} is known{since}"


def since_recording_began(period: Period, began: datetime | None) -> Period:
    """The part of `period` to analyse; all of it where recording had begun before.

    A service that only had a quiet night has queries of earlier days, so its night counts.

    Args:
        period: a day, or a part of one.
        began: when the first query was that is known of, of any day; None for none.
    """
    if began is None or not period.start < began < period.end:
        return period
    return Period(began, max(period.end, began + SHORTEST))
