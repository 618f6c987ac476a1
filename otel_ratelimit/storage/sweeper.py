"""Removes expired counters every minute, without making a request wait.

The sweeper holds the lock for one step at a time, and ends a step after a fifth of `MAX_SWEEP_PAUSE_SECONDS`.
Between two steps its thread sleeps, so that it uses little of the processor and waiting requests get the
lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, Self

from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.counter_store import CleanupReport
from otel_ratelimit.storage.bounded_memory import BoundedMemoryStore
from otel_ratelimit.storage.periodic_sweep import PeriodicSweep
from otel_ratelimit.storage.sharded_table import ShardedTable

MAX_SWEEP_PAUSE_SECONDS: Final = 0.001
"""The longest that a request may wait for the sweeper."""
_STEP_SECONDS: Final = MAX_SWEEP_PAUSE_SECONDS / 5


class Sweeper(PeriodicSweep):
    """Sweeps the counters of a `BoundedMemoryStore`; see `PeriodicSweep`."""

    def __init__(
        self,
        counters: BoundedMemoryStore,
        interval: float,
        worker: BackgroundWorker | None = None,
        *,
        timer: Callable[[], float] = time.perf_counter,
        rest: Callable[[float], object] = time.sleep,
    ) -> None:
        super().__init__(counters, interval, worker, timer=timer, rest=rest)
        self._counters = counters

    def steps(self) -> Iterator[CleanupReport]:
        """Take the steps of one sweep, and report on each; there is a rest between two steps."""
        tables = self._counters.tables()
        pending = [(table, index) for table in tables for index in list(table.depths)]
        while pending or tables:
            yield self._sweep_step(pending) if pending else self._tidy_step(tables)

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
        return _Step(self._counters, self.timer)


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
