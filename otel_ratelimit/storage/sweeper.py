"""Removes expired counters, every minute, without making a request wait.

The lock is held for one step at a time, which ends when a fifth of the pause that is allowed has passed.
Between two steps the thread sleeps, so that it takes a small share of the processor and whoever waits for
the lock gets it.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable
from typing import Final, Self

from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.counter_store import CleanupReport
from otel_ratelimit.core.lifecycle import while_alive
from otel_ratelimit.core.thresholds import MAX_SWEEP_PAUSE_SECONDS
from otel_ratelimit.storage.bounded_memory import BoundedCounters
from otel_ratelimit.storage.sharded_table import Table

_log = logging.getLogger(__name__)

_STEP_SECONDS: Final = MAX_SWEEP_PAUSE_SECONDS / 5
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
        counters.call_on_use(while_alive(self._start))

    def on_cleanup(self, listener: Callable[[CleanupReport], object]) -> None:
        """Call `listener` after each sweep; what it raises is logged."""
        self._listeners.append(listener)

    def sweep(self) -> CleanupReport:
        """Remove all that is expired now, in small steps."""
        started = self._timer()
        removed = freed = 0
        longest = 0.0
        tables = self._counters.tables()
        pending = [(table, index) for table in tables for index in list(table.depths)]
        while pending or tables:
            done = self._sweep_step(pending) if pending else self._tidy_step(tables)
            removed += done.removed_keys
            freed += done.freed_bytes
            longest = max(longest, done.longest_pause_seconds)
            self._rest(_REST_SECONDS)
        report = CleanupReport(removed, freed, self._timer() - started, longest)
        self.last = report
        # The log of the store's memory says it at INFO, together with what is left.
        _log.debug(
            "cleanup: %d expired counters removed, %d bytes freed, in %.1f ms (longest pause %.3f ms)",
            removed,
            freed,
            report.duration_seconds * 1e3,
            longest * 1e3,
        )
        self._tell(report)
        return report

    def _sweep_step(self, pending: list[tuple[Table, int]]) -> CleanupReport:
        """Sweep from the end of `pending` until the time for a step is used up."""
        counters = self._counters
        removed = 0
        with self._step() as step:
            now = counters.clock()
            while pending:
                table, index = pending[-1]
                if counters.by_prefix.get(table.name) is table:  # not reset meanwhile
                    swept = table.sweep(index, now, step.overdue)
                    removed += swept.removed
                    if not swept.done:
                        break
                pending.pop()
                if step.overdue():
                    break
        return step.report(removed)

    def _tidy_step(self, tables: list[Table]) -> CleanupReport:
        """Tidy from the end of `tables` until the time for a step is used up."""
        with self._step() as step:
            now = self._counters.clock()
            while tables:
                if self._counters.tidy(tables[-1], now, step.overdue):
                    tables.pop()
                if step.overdue():
                    break
        return step.report(0)

    def _step(self) -> _Step:
        return _Step(self._counters, self._timer)

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
        self._worker.every(self.interval, self._task, while_alive(self.sweep))


class _Step:
    """Holds the lock, and knows for how long and to what effect."""

    def __init__(self, counters: BoundedCounters, timer: Callable[[], float]) -> None:
        self._lock = counters.lock
        self._ledger = counters.ledger
        self._timer = timer

    def __enter__(self) -> Self:
        self._lock.acquire()
        self._begun = self._timer()
        self._before = self._ledger.used
        return self

    def __exit__(self, *_error: object) -> None:
        self._freed = self._before - self._ledger.used
        self._took = self._timer() - self._begun
        self._lock.release()

    def overdue(self) -> bool:
        """Whether the time for a step is used up."""
        return self._timer() - self._begun >= _STEP_SECONDS

    def report(self, removed: int) -> CleanupReport:
        """What the step did, once it is over."""
        return CleanupReport(removed, self._freed, self._took, self._took)
