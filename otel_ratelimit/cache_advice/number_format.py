"""Figures within the sentences of an analysis. Two that are compared never look alike unless they are."""

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
    """`0.54 ms`, `120 ms`, `1.2 s`; of nothing or more.

    Args:
        value: milliseconds.
        digits: that count; of seconds one less stands after the point.
    """
    if 0.0 < value < _LEAST_MS:
        return f"less than {_LEAST_MS} ms"
    rounded = float(f"{value:.{digits}g}")
    if rounded < _SECOND_MS:
        return f"{rounded:.10g} ms"
    return f"{value / _SECOND_MS:,.{digits - 2}f} s"


def apart(first: float, second: float, said: Callable[[float, int], str], digits: int) -> tuple[str, str]:
    """Both, with as many digits as tell them apart.

    Args:
        first: one figure.
        second: what it is compared with.
        said: a figure as text, with so many digits.
        digits: at the least.
    """
    for more in range(digits, _MAX_DIGITS + 1):
        both = said(first, more), said(second, more)
        if both[0] != both[1]:
            return both
    return said(first, digits), said(second, digits)
