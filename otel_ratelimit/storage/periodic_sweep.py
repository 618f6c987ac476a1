"""Removes expired counters of a store at fixed intervals, in small steps with a rest between them."""

from __future__ import annotations

import logging
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.counter_store import CleanupReport
from otel_ratelimit.core.lifecycle import while_alive

_LOGGER: Final = "otel_ratelimit.storage.sweeper"
"""The documented name (docs/reference/logs.md), which applications configure."""
_logger = logging.getLogger(_LOGGER)

_REST_SECONDS: Final = 0.0005


class UsedStore(Protocol):
    """A store that tells when it is used."""

    def call_on_use(self, start: Callable[[], object]) -> None:
        """Call `start` at the next request of this process, and at the first request of each forked child."""


class PeriodicSweep(ABC):
    """Sweeps `counters` every `interval` seconds on `worker`, from the first request on.

    Without a worker it starts its own, and stops that when the store is garbage-collected.
    """

    def __init__(
        self,
        counters: UsedStore,
        interval: float,
        worker: BackgroundWorker | None = None,
        *,
        timer: Callable[[], float] = time.perf_counter,
        rest: Callable[[float], object] = time.sleep,
    ) -> None:
        self.interval = interval
        self.last: CleanupReport | None = None
        """The report of the latest sweep."""
        self.timer = timer
        self._rest = rest
        self._listeners: list[Callable[[CleanupReport], object]] = []
        self._task = f"sweep-{id(self):x}"
        self._registered = False
        if worker is None:
            worker = BackgroundWorker("otel-ratelimit-sweeper")
            weakref.finalize(self, worker.close, timeout=0.0).atexit = False
        else:
            weakref.finalize(self, worker.cancel, self._task).atexit = False
        self._worker = worker
        counters.call_on_use(while_alive(self._start))

    def on_cleanup(self, listener: Callable[[CleanupReport], object]) -> None:
        """Call `listener` after each sweep; an exception that it raises is logged."""
        self._listeners.append(listener)

    def sweep(self) -> CleanupReport:
        """Remove all counters that are expired now, in small steps."""
        started = self.timer()
        removed = freed = 0
        longest = 0.0
        for done in self.steps():
            removed += done.removed_keys
            freed += done.freed_bytes
            longest = max(longest, done.longest_pause_seconds)
            self._rest(_REST_SECONDS)
        report = CleanupReport(removed, freed, self.timer() - started, longest)
        self.last = report
        # `MemoryHealthLog` logs the same at INFO, together with the size that is left.
        _logger.debug(
            "cleanup: %d expired counters removed, %d bytes freed, in %.1f ms (longest pause %.3f ms)",
            removed,
            freed,
            report.duration_seconds * 1e3,
            longest * 1e3,
        )
        self._tell(report)
        return report

    @abstractmethod
    def steps(self) -> Iterator[CleanupReport]:
        """Take the steps of one sweep, and report on each."""

    def sweep_if_due(self) -> None:
        """Sweep, unless another process that shares the store does so."""
        self.sweep()

    def _tell(self, report: CleanupReport) -> None:
        for listener in self._listeners:
            try:
                listener(report)
            except Exception:
                _logger.exception("cleanup listener %r failed", listener)

    def _start(self) -> None:
        if self._registered:  # in this process or in the one it was forked from
            self._worker.ensure_started()
            return
        self._registered = True
        self._worker.every(self.interval, self._task, while_alive(self.sweep_if_due))
