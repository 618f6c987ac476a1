"""The days that have no report yet."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta, tzinfo
from typing import Final

from otel_ratelimit.core.days import days_between, last_full_day

MAX_AGE: Final = timedelta(days=400)
"""A limit, because one query with a wrong date would otherwise make thousands of empty reports."""


def missing_days(
    now: datetime, zone: tzinfo, first_query: datetime | None, reported: Collection[date]
) -> tuple[date, ...]:
    """Full days without a report since the first query, the last day first.

    The last day comes first because people wait for its report, and a failure with an older day must not
    delay it.

    Args:
        now: with its time zone.
        zone: of the days.
        first_query: when the first recorded query ran; None if there is none.
        reported: days that have a report.
    """
    if first_query is None:
        return ()
    last = last_full_day(now, zone)
    first = max(first_query.astimezone(zone).date(), last - MAX_AGE)
    return tuple(day for day in reversed(days_between(first, last)) if day not in reported)
