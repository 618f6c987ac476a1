"""Formats figures and text for people; each figure is one string, never `nan` and never a zero with a sign.

Sizes are powers of ten, because providers bill them so. A figure too small for its digits is written
`<0.1 %`, because a zero would claim that there is nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from math import isfinite
from typing import Final

UNKNOWN: Final = "not known"
_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_COUNTS: Final = ((1.0, ""), (1e3, " k"), (1e6, " M"), (1e9, " G"))
_SIZES: Final = ((1.0, " B"), (1e3, " kB"), (1e6, " MB"), (1e9, " GB"), (1e12, " TB"))
_DURATIONS: Final = ((1.0, " ms"), (1e3, " s"), (6e4, " min"), (3.6e6, " h"), (8.64e7, " days"))
_TTLS: Final = ((3_600, " h"), (60, " min"))
_MINUTE: Final = 60.0
_WHOLE_FROM: Final = 100.0
"""From this value on a decimal adds nothing."""
_LEAST_DURATION_MS: Final = 0.01
_MAX_OF_A_UNIT: Final = 10_000.0
"""From this value on a column uses the next larger unit."""
_LEAST_TENTH: Final = 0.05
_LEAST_PERCENT: Final = 0.05
_MAX_PERCENT: Final = 99.95
_WHOLE: Final = 100.0
"""Percent."""
_LEAST_MONEY: Final = 0.005
_REPLACEMENT: Final = "\ufffd"
NO_BREAK_SPACE: Final = "\u00a0"
"""A space at which no line may end."""
_BEFORE_A_UNIT: Final = re.compile(r"(?<=\d) (?=(?:[kMGT]?B|[kMG]|ms|s|min|h|days|%|[A-Z]{3})(?![\w%]))")


def count(value: float) -> str:
    """A number of whole things, in full: `1,234,567`."""
    return f"{round(value):,}" if isfinite(value) else UNKNOWN


def brief_count(value: float) -> str:
    """A number of whole things, for narrow columns: `1.2 M`."""
    if not isfinite(value):
        return UNKNOWN
    return count(value) if abs(value) < _COUNTS[1][0] else _scaled(value, _COUNTS)


def share(value: float) -> str:
    """A share of 1, in percent: `62.4 %`."""
    percent = 100.0 * value
    if not isfinite(percent):
        return UNKNOWN
    if 0.0 < percent < _LEAST_PERCENT:
        return "<0.1 %"
    if _MAX_PERCENT <= percent < _WHOLE:
        return ">99.9 %"
    return f"{_tenths(percent)} %"


def share_between(value: float, low: float, high: float) -> str:
    """A share with the ends of its interval: `62.4 % (61.9 to 62.9)`; without them where they are equal."""
    ends = [_tenths(100.0 * end) for end in (low, high)]
    if not (isfinite(low) and isfinite(high)) or ends[0] == ends[1]:
        return share(value)
    return f"{share(value)} ({ends[0]} to {ends[1]})"


def size(bytes_: float) -> str:
    """The size of memory or results: `1.2 MB`, with a megabyte of 10^6 bytes."""
    if not isfinite(bytes_):
        return UNKNOWN
    return f"{round(bytes_)} B" if abs(bytes_) < _SIZES[1][0] else _scaled(bytes_, _SIZES)


def duration(milliseconds: float) -> str:
    """A duration: `0.8 ms`, `3.2 s`, `4.1 h`; a negative one has its sign."""
    if not isfinite(milliseconds):
        return UNKNOWN
    if milliseconds == 0.0:
        return "0 ms"
    if abs(milliseconds) < _LEAST_DURATION_MS:
        return f"<{_LEAST_DURATION_MS} ms" if milliseconds > 0.0 else "0 ms"
    if abs(milliseconds) < 1.0:
        return f"{milliseconds:.2g} ms"
    return _scaled(milliseconds, _DURATIONS)


def durations(milliseconds: Sequence[float]) -> list[str]:
    """Durations that are compared: all in one unit, fine enough to show how they differ."""
    most = max((abs(value) for value in milliseconds if isfinite(value)), default=0.0)
    factor, unit = next((each for each in _DURATIONS if most / each[0] < _MAX_OF_A_UNIT), _DURATIONS[-1])
    return [
        duration(value) if factor <= 1.0 and abs(value) < 1.0 else _in_unit(value / factor, unit)
        for value in milliseconds
    ]


def _in_unit(value: float, unit: str) -> str:
    if not isfinite(value):
        return UNKNOWN
    if 0.0 < value < _LEAST_TENTH:
        return f"<0.1{unit}"
    return f"{_unpadded(value) if value == 0.0 else _digits(value)}{unit}"


def ttl(seconds: float) -> str:
    """A time to live in the largest unit that needs no decimals: `30 s`, `10 min`, `2 h`."""
    if not isfinite(seconds):
        return UNKNOWN
    for factor, unit in _TTLS:
        if seconds >= factor and seconds % factor == 0.0:
            return f"{round(seconds / factor):,}{unit}"
    return f"{seconds:,.10g} s"


def span(seconds: float) -> str:
    """Elapsed time; in minutes from one hour on: `50 s`, `10 min`, `3 h 20 min`."""
    if not isfinite(seconds):
        return UNKNOWN
    if seconds < _MINUTE:
        return f"{round(seconds)} s"
    hours, minutes = divmod(round(seconds / _MINUTE), 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def money(value: float, currency: str) -> str:
    """An amount of money: `12.34 USD`."""
    if not isfinite(value):
        return UNKNOWN
    if 0.0 < value < _LEAST_MONEY:
        return f"less than 0.01 {currency}"
    return f"{_unsigned_zero(f'{value:,.2f}')} {currency}"


def unit_money(value: float, currency: str) -> str:
    """The price of one small unit, with all its digits: `0.00001 USD`."""
    if not isfinite(value):
        return UNKNOWN
    digits = f"{value:,.12f}".rstrip("0").rstrip(".")
    return f"{_unsigned_zero(digits)} {currency}"


def one_in(rate: float) -> str:
    """A sample rate: `100 %`, `1 in 16`."""
    if not isfinite(rate) or rate <= 0.0:
        return UNKNOWN
    return "100 %" if rate >= 1.0 else f"1 in {_unpadded(1.0 / rate)}"


def day(value: date) -> str:
    """A day, in English whatever the locale: `Saturday, 28 March 2026`."""
    return f"{_WEEKDAYS[value.weekday()]}, {day_of_year(value)}"


def day_of_year(value: date) -> str:
    """A day without its weekday: `28 March 2026`."""
    return f"{value.day} {_MONTHS[value.month - 1]} {value.year}"


def moment(value: datetime) -> str:
    """A moment to the minute, in UTC."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def printable(text: str) -> str:
    """Text on one line, without characters that control a terminal or change the reading direction."""
    return "".join(character if character.isprintable() else _REPLACEMENT for character in one_line(text))


def one_line(text: str) -> str:
    """Text with each run of white space replaced by one space."""
    return " ".join(text.split())


def shortened(text: str, most: int) -> str:
    """At most `most` characters; text that was cut ends with `...`."""
    return text if len(text) <= most else f"{text[: most - 3].rstrip()}..."


def with_units(text: str) -> str:
    """Text in which no line ends between a figure and its unit."""
    return _BEFORE_A_UNIT.sub(NO_BREAK_SPACE, text)


def _scaled(value: float, units: Sequence[tuple[float, str]]) -> str:
    """`value` in the largest unit that makes it at least one after rounding."""
    for (factor, unit), (following, _) in pairwise(units):
        if abs(float(_digits(value / factor).replace(",", ""))) < following / factor:
            return f"{_digits(value / factor)}{unit}"
    factor, unit = units[-1]
    return f"{_digits(value / factor)}{unit}"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if round(abs(value), 1) >= _WHOLE_FROM else _unsigned_zero(f"{value:,.1f}")


def _tenths(percent: float) -> str:
    return _unsigned_zero(f"{percent:.1f}")


def _unpadded(value: float) -> str:
    return _digits(value).removesuffix(".0")


def _unsigned_zero(digits: str) -> str:
    """Remove the sign of `-0.0`, the result of rounding a small negative value."""
    return digits.removeprefix("-") if not digits.strip("-0.,") else digits
