"""The end of the process: each object's last step, and one deadline for all of them."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable
from typing import Final

from otel_ratelimit.core.clock import monotonic_time
from otel_ratelimit.core.deadline import seconds_left, within

EXIT_SECONDS: Final = 5.0
"""How long the end of the process waits for all steps together. Docker kills ten seconds after it asks."""
SHARE: Final = 0.5
"""As much of what is left of a deadline a step may use, so that there is time for the steps after it."""


class ExitSteps:
    """Steps at the end of a process, the last one registered first, within one deadline.

    Args:
        seconds: for all of them, counted from the first.
    """

    def __init__(self, seconds: float = EXIT_SECONDS) -> None:
        self._seconds = seconds
        self._ends: float | None = None

    def add(self, owner: object, method: str) -> None:
        """Call the method of that name at the end of the process, unless `owner` has gone by then."""
        atexit.register(self.run, weakref.ref(owner), method)

    def run(self, reference: Callable[[], object], method: str) -> None:
        """Take a step now."""
        owner = reference()
        if owner is None:
            return
        if self._ends is None:
            self._ends = monotonic_time() + self._seconds
        with within(self._ends - monotonic_time()), within(share_of_the_rest()):
            getattr(owner, method)()


def share_of_the_rest() -> float:
    """Seconds that one of several steps may take."""
    return SHARE * seconds_left()


_EXIT: Final = ExitSteps()
at_exit = _EXIT.add
