"""Which days are to be reported on."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta, tzinfo
from typing import Final

from otel_ratelimit.core.days import days_between, last_full_day

LONGEST_AGO: Final = timedelta(days=400)
"""A single query of a clock that stood still would make thousands of days without any."""


def missed_days(
    now: datetime, zone: tzinfo, first_query: datetime | None, reported: Collection[date]
) -> tuple[date, ...]:
    """Full days without a report, from that of the first query on; the last one first.

    The last one comes first because people wait for it, and whatever goes wrong with an old day must not
    keep them from it.

    Args:
        now: with its time zone.
        zone: of the days.
        first_query: that is still known of; None for none.
        reported: days that have a report.
    """
    if first_query is None:
        return ()
    last = last_full_day(now, zone)
    first = max(first_query.astimezone(zone).date(), last - LONGEST_AGO)
    return tuple(day for day in reversed(days_between(first, last)) if day not in reported)
