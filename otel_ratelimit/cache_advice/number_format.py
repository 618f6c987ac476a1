"""Numbers in the sentences of the analysis; two numbers that are compared look alike only if equal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_LEAST_MS: Final = 0.001
_SECOND_MS: Final = 1_000.0
_WHOLE_FROM: Final = 100.0
_MAX_DIGITS: Final = 9


def counted(number: float, one: str, more: str) -> str:
    """`1 hit`, `1,234 hits`."""
    whole = round(number)
    return f"{whole:,} {one if whole == 1 else more}"


def milliseconds(value: float, digits: int = 3) -> str:
    """`0.54 ms`, `120 ms`, `1.2 s`.

    Args:
        value: milliseconds, 0 or more.
        digits: significant digits; for seconds two fewer, after the point.
    """
    if 0.0 < value < _LEAST_MS:
        return f"less than {_LEAST_MS} ms"
    rounded = float(f"{value:.{digits}g}")
    if rounded < _SECOND_MS:
        return f"{rounded:.10g} ms"
    return f"{value / _SECOND_MS:,.{digits - 2}f} s"


def apart(first: float, second: float, text_of: Callable[[float, int], str], digits: int) -> tuple[str, str]:
    """Both numbers as text, with as many digits as it takes to make them differ.

    Args:
        first: one number.
        second: the number that it is compared with.
        text_of: a number as text, with so many digits.
        digits: the fewest digits.
    """
    for more in range(digits, _MAX_DIGITS + 1):
        both = text_of(first, more), text_of(second, more)
        if both[0] != both[1]:
            return both
    return text_of(first, digits), text_of(second, digits)
