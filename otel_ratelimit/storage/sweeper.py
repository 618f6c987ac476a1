"""Removes expired counters every minute, without making a request wait.

The sweeper holds the lock for one step at a time, and ends a step after a fifth of `MAX_SWEEP_PAUSE_SECONDS`.
Between two steps its thread sleeps, so that it uses little of the processor and waiting requests get the
lock.
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
from otel_ratelimit.storage.bounded_memory import BoundedMemoryStore
from otel_ratelimit.storage.sharded_table import ShardedTable

_logger = logging.getLogger(__name__)

MAX_SWEEP_PAUSE_SECONDS: Final = 0.001
"""The longest that a request may wait for the sweeper."""
_STEP_SECONDS: Final = MAX_SWEEP_PAUSE_SECONDS / 5
_REST_SECONDS: Final = 0.0005


class Sweeper:
    """Sweeps `counters` every `interval` seconds on `worker`, from the first request on.

    Without a worker the sweeper starts its own, and stops it when the store is garbage-collected.
    """

    def __init__(
        self,
        counters: BoundedMemoryStore,
        interval: float,
        worker: BackgroundWorker | None = None,
        *,
        timer: Callable[[], float] = time.perf_counter,
        rest: Callable[[float], object] = time.sleep,
    ) -> None:
        self.interval = interval
        self.last: CleanupReport | None = None
        """The report of the latest sweep."""
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
        """Call `listener` after each sweep; an exception that it raises is logged."""
        self._listeners.append(listener)

    def sweep(self) -> CleanupReport:
        """Remove all counters that are expired now, in small steps."""
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

    def _sweep_step(self, pending: list[tuple[ShardedTable, int]]) -> CleanupReport:
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

    def _tidy_step(self, tables: list[ShardedTable]) -> CleanupReport:
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
            except Exception:
                _logger.exception("cleanup listener %r failed", listener)

    def _start(self) -> None:
        if self._registered:  # in this process or in the one it was forked from
            self._worker.ensure_started()
            return
        self._registered = True
        self._worker.every(self.interval, self._task, while_alive(self.sweep))


class _Step:
    """Holds the lock, and measures for how long and how many bytes were freed."""

    def __init__(self, counters: BoundedMemoryStore, timer: Callable[[], float]) -> None:
        self._lock = counters.lock
        self._ledger = counters.budget
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
        """The report of the step, after it has ended."""
        return CleanupReport(removed, self._freed, self._took, self._took)
