"""Periods as people write them: `24h`, `7d`, `2026-01-01`, `2026-01-01/2026-01-31`. All in UTC."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple

DAY: Final = timedelta(hours=24)
LONGEST: Final = timedelta(days=366)
EXAMPLES: Final = "write for instance 24h, 7d, 2026-01-31 or 2026-01-01/2026-01-31"
MOMENTS: Final = "write for instance 2026-01-31 or 2026-01-31T18:00"

_LAST: Final = re.compile(r"([0-9]{1,6})([mhd])")
_UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MAX_CHARACTERS: Final = 100


class Period(NamedTuple):
    """From `start` to just before `end`; both aware."""

    start: datetime
    end: datetime


def parse_date_range(text: str, now: datetime) -> Period:
    """The period that `text` names: one that ends `now`, a day, or from one time to another.

    With two dates the last one is included; with two times it is not. Times without a zone are UTC.

    Raises:
        ValueError: it names no period; the message says what would be right.
    """
    text = text.strip()
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"a date range of {len(text)} characters; {EXAMPLES}")
    found = _LAST.fullmatch(text)
    if found:
        length = int(found[1]) * _UNITS[found[2]]
        if not timedelta() < length <= LONGEST:
            raise ValueError(f"{text!r} is not between 1m and {LONGEST.days}d; {EXAMPLES}")
        return Period(now - length, now)
    first, slash, last = text.partition("/")
    return _period(first, last if slash else first, EXAMPLES)


def period(start: date | datetime | str, end: date | datetime | str) -> Period:
    """From `start` to `end`; a date at the end is included whole.

    Args:
        start: a date, a datetime (UTC if it has no zone), or either in ISO 8601.
        end: likewise.

    Raises:
        ValueError: they are not dates, out of order, or too far apart.
        TypeError: they are of another type.
    """
    return _period(start, end, MOMENTS)


def period_or_last_day(
    start: date | datetime | str | None, end: date | datetime | str | None, now: datetime
) -> Period:
    """As `period`, with defaults: without an end until `now`, without a start the 24 hours before the end.

    Args:
        start: as for `period`.
        end: likewise; a date is included whole, and without a start it names that day.
        now: a time with a time zone.

    Raises:
        ValueError, TypeError: as `period`.
    """
    ends = now.astimezone(UTC) if end is None else _moment(end, MOMENTS, whole_day=True)
    if start is not None:
        return _period(start, ends, MOMENTS)
    try:
        return Period(ends - DAY, ends)
    except OverflowError:
        raise ValueError(f"{end} is at the beginning of the calendar; {MOMENTS}") from None


def _period(start: date | datetime | str, end: date | datetime | str, examples: str) -> Period:
    begins = _moment(start, examples, whole_day=False)
    ends = _moment(end, examples, whole_day=True)
    if begins >= ends:
        raise ValueError(f"{start} is not before {end}; the earlier one comes first")
    if ends - begins > LONGEST:
        raise ValueError(f"{start} to {end} is more than {LONGEST.days} days; ask for less at once")
    return Period(begins, ends)


def _moment(given: date | datetime | str, examples: str, *, whole_day: bool) -> datetime:
    if isinstance(given, str):
        given = _parsed(given.strip(), examples)
    if not isinstance(given, date):
        raise TypeError(f"a {type(given).__name__} is neither a date nor a time; {examples}")
    try:
        if isinstance(given, datetime):
            return (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC)
        day = given + timedelta(days=1) if whole_day else given
    except OverflowError:
        raise ValueError(f"{given} is at the end of the calendar; {examples}") from None
    return datetime.combine(day, time(), UTC)


def _parsed(text: str, examples: str) -> date | datetime:
    try:
        return date.fromisoformat(text) if _DAY.fullmatch(text) else datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:_MAX_CHARACTERS]!r} is neither a date nor a time; {examples}") from None
