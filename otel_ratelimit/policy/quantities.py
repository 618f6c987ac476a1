"""Sizes (`50 MB`) and durations (`30d`) of the policy file, read strictly."""

from __future__ import annotations

import math
import re
from typing import Final

from otel_ratelimit.policy.invalid_value import InvalidValueError, shown

MAX_SECONDS: Final = 10 * 366 * 86_400
"""The longest duration, and the longest window of a limit."""
_MAX_SIZE_BYTES: Final = 2**60

_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kMG]i?)?B?", re.IGNORECASE | re.ASCII)
_SIZE_FACTORS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d|w)?")
_DURATION_FACTORS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


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
    if not 0 < seconds <= MAX_SECONDS:
        raise InvalidValueError(
            _why_not_a_duration(value, seconds), "use more than 0 seconds and at most ten years"
        )
    return float(seconds)


def _why_not_a_duration(value: float | str, seconds: float) -> str:
    if seconds <= 0:
        return f"{shown(value)} must be longer than zero"
    if seconds > MAX_SECONDS:
        return f"{shown(value)} is longer than ten years"
    return f"{shown(value)} is not a duration"
