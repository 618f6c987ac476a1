"""Figures in sentences: `1 request`, `1,800 requests`, `0.7 %`, `5 requests a minute`."""

from __future__ import annotations

from collections.abc import Iterable
from math import floor
from typing import Final

_UNITS: Final = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_LEAST_SHOWN: Final = 0.01
"""The least that two decimals can show, in percent."""
_MAX_PERCENT: Final = 99.9
_WHOLE: Final = 100.0


def counted(n: int, one: str, many: str = "") -> str:
    """`no requests`, `1 request`, `1,800 requests`."""
    if n == 0:
        return f"no {many or one + 's'}"
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def part_of(part: int, whole: int, one: str) -> str:
    """`3 of 6 requests (50 %)`; `whole` is at least 1, and `part` no more than it."""
    return f"{part:,} of {counted(whole, one)} ({percent(part / whole)})"


def percent(share: float) -> str:
    """A share between 0 and 1 in percent: `0.7 %`; `0 %` and `100 %` only where it is exactly that."""
    hundredths = _WHOLE * share
    if 0.0 < hundredths < _LEAST_SHOWN:
        return f"<{_LEAST_SHOWN} %"
    if _MAX_PERCENT < hundredths < _WHOLE:
        return f"{floor(hundredths * 100) / 100:g} %"
    decimals = 2 if hundredths < 1.0 else 1
    return f"{float(f'{hundredths:.{decimals}f}'):g} %"


def per_window(amount: int, seconds: int) -> str:
    """A limit: `5 requests a minute`, `1 request an hour`, `20 requests in 5 minutes`."""
    return f"{counted(amount, 'request')} {each_window(seconds)}"


def each_window(seconds: int) -> str:
    """`a minute`, `an hour`, `in 5 minutes`."""
    length, unit = next((length, unit) for length, unit in _UNITS if seconds % length == 0)
    if seconds == length:
        return f"{'an' if unit == 'hour' else 'a'} {unit}"
    return f"in {seconds // length} {unit}s"


def length_of_time(seconds: float) -> str:
    """`30 days`, `1 day 12 hours`, `0.5 seconds`; whole seconds from one second on."""
    left = round(seconds)
    if not left:
        return f"{seconds:g} seconds"
    parts = []
    for length, unit in _UNITS:
        whole, left = divmod(left, length)
        if whole:
            parts.append(counted(whole, unit))
    return " ".join(parts)


def between(values: Iterable[int], one: str) -> str:
    """`1 request`, `3 to 9 requests`: from the least to the greatest value; there is at least one."""
    found = list(values)
    least, most = min(found), max(found)
    return counted(most, one) if least == most else f"{least:,} to {counted(most, one)}"
