"""Closes something once, however many threads ask for it."""

from __future__ import annotations

from collections.abc import Callable

from otel_ratelimit.core.deadline import within
from otel_ratelimit.core.waiting import LateLock


class CloseOnce:
    """The first thread closes; the others wait for it and get the same answer."""

    def __init__(self) -> None:
        self._lock = LateLock()
        self._began = False
        self._succeeded = False

    def run(self, close: Callable[[float], bool], timeout: float) -> bool:
        """Call `close` with `timeout`, unless it was called before.

        Returns:
            What `close` returned; False if another thread is still closing after `timeout` seconds.
        """
        with within(timeout):
            if not self._lock.acquire_in_time():
                return False
            try:
                if not self._began:
                    self._began = True
                    self._succeeded = close(timeout)
                return self._succeeded
            finally:
                self._lock.release()
