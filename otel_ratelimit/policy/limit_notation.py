"""How limits are written (`10/minute`, `100 per 2 hours`): the units, and the largest amount and window.

The `limits` library finds a limit anywhere in a text and skips the rest, so that `10/minuet` or
`ten per minute` can leave a route without a limit. Here, the whole text must consist of limits.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from limits import RateLimitItem, parse

from otel_ratelimit.policy.invalid_value import InvalidValueError, nearest, shown
from otel_ratelimit.policy.quantities import MAX_SECONDS

_LIMIT: Final = re.compile(
    r"(?P<amount>[0-9]+)\s*(?:/|\bper\b)\s*(?P<multiples>[0-9]+)?\s*(?P<unit>[a-z]+)",
    re.IGNORECASE | re.ASCII,
)
_UNITS: Final = ("second", "minute", "hour", "day", "month", "year")
_EXAMPLE: Final = "write for instance 10/minute, or 10/minute; 50/hour"
_MAX_AMOUNT: Final = 10**12
_MAX_DIGITS: Final = 13


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
    if item is None or item.amount > _MAX_AMOUNT or item.get_expiry() > MAX_SECONDS:
        raise InvalidValueError(f"{shown(text)} is beyond what can be counted", "at most 10^12 in ten years")
    return item
