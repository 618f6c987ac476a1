"""Which part of a day was recorded: before recording began, an empty hour says nothing about the database."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from otel_ratelimit.analysis.rows import Period

SHORTEST: Final = timedelta(minutes=1)


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
