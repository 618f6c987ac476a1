"""Removes expired counters, every minute, without making a request wait.

The lock is held for one step at a time: as many shards as fit in a fifth of the pause that is
allowed, one at least, and a shard is small. Between two steps the thread sleeps, so that it takes a small
share of the processor and whoever waits for the lock gets it.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable
from typing import Final

from otel_ratelimit.background import BackgroundWorker
from otel_ratelimit.events import CleanupReport
from otel_ratelimit.storage.counters import BoundedCounters
from otel_ratelimit.storage.tables import Table
from otel_ratelimit.thresholds import SWEEP_PAUSE_MAX_SECONDS

_log = logging.getLogger(__name__)

_STEP_SECONDS: Final = SWEEP_PAUSE_MAX_SECONDS / 5
_REST_SECONDS: Final = 0.0005


class Sweeper:
    """Sweeps `counters` every `interval` seconds on `worker`, from the first request on.

    Without a worker it has one of its own, started then and stopped when the store is gone.
    """

    def __init__(
        self,
        counters: BoundedCounters,
        interval: float,
        worker: BackgroundWorker | None = None,
        *,
        timer: Callable[[], float] = time.perf_counter,
        rest: Callable[[float], object] = time.sleep,
    ) -> None:
        self.interval = interval
        self.last: CleanupReport | None = None
        """What the latest sweep did."""
        self._counters = counters
        self._timer = timer
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
        counters.call_on_use(_call_if_alive(self._start))

    def on_cleanup(self, listener: Callable[[CleanupReport], object]) -> None:
        """Call `listener` after each sweep; what it raises is logged."""
        self._listeners.append(listener)

    def sweep(self) -> CleanupReport:
        """Remove all that is expired now, in small steps."""
        started = self._timer()
        removed = freed = 0
        longest = 0.0
        pending = [(table, index) for table in self._counters.tables() for index in list(table.depths)]
        pending.reverse()
        while pending:
            step_removed, step_freed, pause = self._step(pending)
            removed += step_removed
            freed += step_freed
            longest = max(longest, pause)
            self._rest(_REST_SECONDS)
        freed += self._counters.tidy()
        report = CleanupReport(removed, freed, self._timer() - started, longest)
        self.last = report
        _log.info(
            "cleanup: %d expired counters removed, %d bytes freed, in %.1f ms (longest pause %.3f ms)",
            removed,
            freed,
            report.duration_seconds * 1e3,
            longest * 1e3,
        )
        self._tell(report)
        return report

    def _step(self, pending: list[tuple[Table, int]]) -> tuple[int, int, float]:
        counters = self._counters
        removed = 0
        with counters.lock:
            begun = self._timer()
            before = counters.ledger.used
            now = counters.clock()
            while pending:
                table, index = pending.pop()
                if counters.by_prefix.get(table.name) is table:  # not reset meanwhile
                    removed += table.sweep(index, now)
                if self._timer() - begun >= _STEP_SECONDS:
                    break
            freed = before - counters.ledger.used
            pause = self._timer() - begun
        return removed, freed, pause

    def _tell(self, report: CleanupReport) -> None:
        for listener in self._listeners:
            try:
                listener(report)
            except Exception:  # noqa: BLE001 - a listener's fault must not end the upkeep
                _log.exception("cleanup listener %r failed", listener)

    def _start(self) -> None:
        if self._registered:  # in this process or in the one it was forked from
            self._worker.ensure_started()
            return
        self._registered = True
        self._worker.every(self.interval, self._task, _call_if_alive(self.sweep))


def _call_if_alive(method: Callable[[], object]) -> Callable[[], None]:
    """`method` without keeping its object alive."""
    reference = weakref.WeakMethod(method)

    def call() -> None:
        alive = reference()
        if alive is not None:
            alive()

    return call
