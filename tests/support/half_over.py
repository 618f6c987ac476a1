"""Windows of a sliding counter that do not end while a test runs.

They begin at multiples of their length since 1970, so one of a minute, an hour or a day ends when the clock's
does. One of another length is in its middle at any time that a test chooses.
"""

from __future__ import annotations

import time


def half_over(seconds: int) -> int:
    """The length, from `seconds` to twice that, of a window of which half has passed now."""
    now = time.time()
    return min(range(seconds, 2 * seconds), key=lambda length: abs(now % length - length / 2))


DAY_OR_TWO = half_over(86_400)
"""Half a day of it is left when tests begin."""
