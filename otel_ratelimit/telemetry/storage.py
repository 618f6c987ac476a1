"""The state of the counter store as metrics: size, keys, capacity, overflows, errors, cleanups."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry.metrics import Meter

from otel_ratelimit.core import names
from otel_ratelimit.core.counter_store import CleanupReport, StorageSnapshot
from otel_ratelimit.telemetry.shared_gauges import Gauge, Reading, observe

CLEANUP_DURATION_BOUNDARIES_SECONDS: Final = (0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)

ReadSnapshot = Callable[[], StorageSnapshot | None]
"""The store's state now; None for a remote store, which cannot say."""

ThresholdsOf = Callable[[int | None], tuple[int, int]]
"""The size in bytes of each of `LEVELS`, for a store of this capacity."""
LEVELS: Final = ("warning", "critical")


class StorageTelemetry:
    """Metrics of one counter store. Gauges are read at collection; counters are updated at once."""

    def __init__(
        self, meter: Meter, storage: str, read: ReadSnapshot, thresholds: ThresholdsOf | None = None
    ) -> None:
        self._attributes = {names.STORAGE: storage}
        self._read = read
        self._thresholds_of = thresholds
        self._errors = meter.create_counter(
            names.STORAGE_ERRORS, unit="{error}", description="Checks that the counter store failed."
        )
        self._overflows = meter.create_counter(
            names.STORAGE_OVERFLOWS,
            unit="{request}",
            description="Hits on an overflow bucket because the store was full.",
        )
        self._removed = meter.create_counter(
            names.CLEANUP_REMOVED_KEYS, unit="{key}", description="Expired counters removed."
        )
        self._freed = meter.create_counter(names.CLEANUP_FREED, unit="By", description="Memory given back.")
        self._duration = meter.create_histogram(
            names.CLEANUP_DURATION,
            unit="s",
            description="How long a cleanup took.",
            explicit_bucket_boundaries_advisory=CLEANUP_DURATION_BOUNDARIES_SECONDS,
        )
        observe(meter, Gauge(names.STORAGE_SIZE, "By", "Memory that counters use."), self._size)
        observe(meter, Gauge(names.STORAGE_CAPACITY, "By", "The most they may use."), self._capacity)
        observe(
            meter,
            Gauge(names.STORAGE_THRESHOLD, "By", "Size from which the store's state is warning or critical."),
            self._thresholds,
        )
        # Prometheus sees no increase in a series that starts above zero.
        self._overflows.add(0, self._attributes)
        observe(meter, Gauge(names.STORAGE_KEYS, "{key}", "Counters held."), self._keys)

    def retire(self) -> None:
        """Report no size from now on."""
        self._read = lambda: None

    def failed(self, error_type: str) -> None:
        """Count a check that the store failed."""
        self._errors.add(1, {**self._attributes, names.ERROR_TYPE: error_type})

    def overflowed(self, hits: int = 1) -> None:
        """Count hits on an overflow bucket."""
        self._overflows.add(hits, self._attributes)

    def cleaned(self, report: CleanupReport) -> None:
        """Record one cleanup."""
        self._removed.add(report.removed_keys, self._attributes)
        self._freed.add(report.freed_bytes, self._attributes)
        self._duration.record(report.duration_seconds, self._attributes)

    def _size(self) -> Iterable[Reading]:
        snapshot = self._read()
        if snapshot is not None:
            yield snapshot.size_bytes, self._attributes

    def _capacity(self) -> Iterable[Reading]:
        snapshot = self._read()
        if snapshot is not None and snapshot.capacity_bytes is not None:
            yield snapshot.capacity_bytes, self._attributes

    def _thresholds(self) -> Iterable[Reading]:
        snapshot = self._read()
        if snapshot is None or self._thresholds_of is None:
            return
        for level, size in zip(LEVELS, self._thresholds_of(snapshot.capacity_bytes), strict=True):
            yield size, {**self._attributes, names.LEVEL: level}

    def _keys(self) -> Iterable[Reading]:
        snapshot = self._read()
        if snapshot is not None:
            yield snapshot.keys, self._attributes
