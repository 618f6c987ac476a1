"""The two clocks that are used where no other is given.

A default of `time.time` is bound when the function is defined. So a library that replaces `time.time`, such
as freezegun, would freeze the application and not the counters. These functions look the clock up at each
call.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Seconds since the Unix epoch, as `time.time`."""


def unix_time() -> float:
    """Seconds since the Unix epoch, from whatever `time.time` is at this moment."""
    return time.time()


if hasattr(time, "CLOCK_MONOTONIC"):

    def monotonic_time() -> float:
        """Seconds of the machine's own clock, for pauses and threads; libraries do not freeze it."""
        return time.clock_gettime(time.CLOCK_MONOTONIC)

else:  # Windows
    monotonic_time = time.monotonic
