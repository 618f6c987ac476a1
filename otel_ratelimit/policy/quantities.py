"""Limits (`10/minute`), sizes (`50 MB`) and durations (`30d`) of the policy file, read strictly.

The `limits` library finds a limit anywhere in a text and skips the rest, so that `10/minuet` or
`ten per minute` can leave a route without a limit. Here, the whole text must consist of limits.
"""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Final

from limits import RateLimitItem, parse

from otel_ratelimit.policy.invalid_value import InvalidValueError, nearest, shown

_LIMIT: Final = re.compile(
    r"(?P<amount>[0-9]+)\s*(?:/|\bper\b)\s*(?P<multiples>[0-9]+)?\s*(?P<unit>[a-z]+)",
    re.IGNORECASE | re.ASCII,
)
_UNITS: Final = ("second", "minute", "hour", "day", "month", "year")
_EXAMPLE: Final = "write for instance 10/minute, or 10/minute; 50/hour"
_MAX_AMOUNT: Final = 10**12
_MAX_SECONDS: Final = 10 * 366 * 86_400
_MAX_DIGITS: Final = 13
_MAX_SIZE_BYTES: Final = 2**60

_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kMG]i?)?B?", re.IGNORECASE | re.ASCII)
_SIZE_FACTORS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d|w)?")
_DURATION_FACTORS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def parse_limits(text: str) -> tuple[RateLimitItem, ...]:
    """The limits in `text`, separated by `;`, `,` or `|`; the shortest window first.

    Raises:
        InvalidValueError: something in it is not a limit, or two limits have the same window.
    """
    items = tuple(sorted(map(_parse_limit, re.split(r"[;,|]", text)), key=lambda item: item.get_expiry()))
    for shorter, longer in pairwise(items):
        if shorter.get_expiry() == longer.get_expiry():
            raise InvalidValueError(
                f"{shown(text)} has two limits for the same window", "keep the smaller one"
            )
    return items


def _parse_limit(text: str) -> RateLimitItem:
    text = text.strip()
    found = _LIMIT.fullmatch(text)
    if found is None:
        raise InvalidValueError(f"{shown(text)} is not a limit", _EXAMPLE)
    unit = found["unit"].lower().removesuffix("s")
    if unit not in _UNITS:
        raise InvalidValueError(
            f"{shown(text)}: {shown(found['unit'])} is not a unit of time", nearest(unit, _UNITS)
        )
    digits = (found["amount"], found["multiples"] or "1")
    if any(not number.strip("0") for number in digits):
        raise InvalidValueError(f"{shown(text)} would refuse every request", "use at least 1")
    item = None
    if all(len(number) <= _MAX_DIGITS for number in digits):
        item = parse(f"{digits[0]}/{digits[1]} {unit}")
    if item is None or item.amount > _MAX_AMOUNT or item.get_expiry() > _MAX_SECONDS:
        raise InvalidValueError(f"{shown(text)} is beyond what can be counted", "at most 10^12 in ten years")
    return item


def parse_size(value: float | str) -> int:
    """Bytes, from a number or from `50 MB` (10^6) or `48 MiB` (2^20).

    Raises:
        InvalidValueError: `value` is neither, or less than one byte.
    """
    if isinstance(value, str):
        found = _SIZE.fullmatch(value.strip())
        size = float(found[1]) * _SIZE_FACTORS[(found[2] or "").lower()] if found else math.nan
    else:
        size = value if isinstance(value, int) else math.nan
    if not 1 <= size <= _MAX_SIZE_BYTES:
        what = f"{shown(value)} must be at least one byte" if size < 1 else f"{shown(value)} is not a size"
        raise InvalidValueError(what, 'write whole bytes, or for instance "50 MB" or "48 MiB"')
    return int(size)


def parse_duration(value: float | str) -> float:
    """Seconds, from a number or from `60s`, `5m`, `12h`, `30d`.

    Raises:
        InvalidValueError: `value` is neither, is not positive, or is longer than ten years.
    """
    if isinstance(value, str):
        found = _DURATION.fullmatch(value.strip())
        if found is None:
            raise InvalidValueError(
                f"{shown(value)} is not a duration", 'write seconds, or for instance "60s", "5m", "30d"'
            )
        seconds = float(found[1]) * _DURATION_FACTORS[found[2] or "s"]
    else:
        seconds = value
    if not 0 < seconds <= _MAX_SECONDS:
        raise InvalidValueError(
            _why_not_a_duration(value, seconds), "use more than 0 seconds and at most ten years"
        )
    return float(seconds)


def _why_not_a_duration(value: float | str, seconds: float) -> str:
    if seconds <= 0:
        return f"{shown(value)} must be longer than zero"
    if seconds > _MAX_SECONDS:
        return f"{shown(value)} is longer than ten years"
    return f"{shown(value)} is not a duration"
