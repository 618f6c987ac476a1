"""Removes expired counters of a zone every minute: one of the processes that share it does so for all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.counter_store import CleanupReport
from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.storage.periodic_sweep import PeriodicSweep
from otel_ratelimit.storage.zone import head
from otel_ratelimit.storage.zone.figures import add_cleanup, size_of
from otel_ratelimit.storage.zone.store import ZoneStore
from otel_ratelimit.storage.zone.sweep import pages_in_use, settle_last_buckets, sweep_page

_STEP_SECONDS: Final = 0.0002
"""After this time a step ends, so that requests of this process get their turn."""
_ALMOST: Final = 0.9
"""A sweep is due a little before the interval is over, because no two processes tick at the same moment."""


class ZoneSweeper(PeriodicSweep):
    """Sweeps the zone of a `ZoneStore`; see `PeriodicSweep`."""

    def __init__(
        self,
        counters: ZoneStore,
        interval: float,
        worker: BackgroundWorker | None = None,
        *,
        timer: Callable[[], float] = time.perf_counter,
        rest: Callable[[float], object] = time.sleep,
    ) -> None:
        super().__init__(counters, interval, worker, timer=timer, rest=rest)
        self._counters = counters

    def sweep_if_due(self) -> None:
        """Sweep, unless a process has done so since the interval began."""
        zone = self._counters.zone
        now = int(self._counters.clock() * 1e6)
        try:
            with zone.locked():
                since = abs(now - zone.figure(head.LAST_SWEEP_AT))
                if since < self.interval * _ALMOST * 1e6:
                    return
                zone.words[head.LAST_SWEEP_AT >> 3] = now
            self.sweep()
        except StorageUnavailableError:
            pass  # logged by the zone; the next sweep comes

    def steps(self) -> Iterator[CleanupReport]:
        """Sweep the pages in use, a few in each step."""
        zone, clock = self._counters.zone, self._counters.clock
        begun = self.timer()
        removed, before = 0, size_of(zone)
        for page in pages_in_use(zone):
            removed += sweep_page(zone, page, clock())
            taken = self.timer() - begun
            if taken >= _STEP_SECONDS:
                yield CleanupReport(removed, max(before - size_of(zone), 0), taken, taken)
                begun, removed, before = self.timer(), 0, size_of(zone)
        settle_last_buckets(zone, clock())
        taken = self.timer() - begun
        yield CleanupReport(removed, max(before - size_of(zone), 0), taken, taken)

    def sweep(self) -> CleanupReport:
        """Remove all counters that are expired now, and add the figures to those of the zone."""
        report = super().sweep()
        add_cleanup(self._counters.zone, report, self._counters.clock())
        return report
