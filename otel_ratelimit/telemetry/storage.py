"""The state of the counter store as metrics: size, keys, capacity, overflows, errors, cleanups.

Gauges say which store they are of (`names.STORAGE_ID`), because a process may have several, and a full one
must not hide behind an empty one. Of a store that several processes share, one of them reports the gauges.
Counters are those of each process.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry.metrics import Meter

from otel_ratelimit.core import names
from otel_ratelimit.core.counter_store import CleanupReport, StorageSnapshot
from otel_ratelimit.telemetry.shared_gauges import Gauge, Reading, observe

CLEANUP_DURATION_BOUNDARIES_SECONDS: Final = (0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)

ReadSnapshot = Callable[[], StorageSnapshot | None]
"""The store's state now; None for a remote store, which cannot say, or if another process reports it."""

ThresholdsOf = Callable[[StorageSnapshot], tuple[int, int]]
"""The size in bytes of each of `LEVELS`, for a store with this snapshot."""
LEVELS: Final = ("warning", "critical")

_IDENTITY_BYTES: Final = 8


class StorageTelemetry:
    """Metrics of one counter store. Gauges are read at collection; counters are updated at once.

    Args:
        meter: for the instruments.
        storage: the scheme of the store's URI.
        read: called once in each collection.
        thresholds: None if the store has none.
        identity: the store's own, for the gauges.
    """

    def __init__(
        self,
        meter: Meter,
        storage: str,
        read: ReadSnapshot = lambda: None,
        thresholds: ThresholdsOf | None = None,
        identity: Callable[[], str] | None = None,
    ) -> None:
        self._attributes = {names.STORAGE: storage}
        self._read = read
        self._identity = store_identity() if identity is None else identity
        self._collected: StorageSnapshot | None = None
        self._on_gauges: dict[str, str] = {}
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
        # The first one: the SDK reads gauges in the order in which they were made, and it takes the snapshot.
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
        self._collected = None

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
        self._collected = snapshot = self._read()
        if snapshot is not None:
            self._on_gauges = {**self._attributes, names.STORAGE_ID: self._identity()}
            yield snapshot.size_bytes, self._on_gauges

    def _capacity(self) -> Iterable[Reading]:
        snapshot = self._collected
        if snapshot is not None and snapshot.capacity_bytes is not None:
            yield snapshot.capacity_bytes, self._on_gauges

    def _thresholds(self) -> Iterable[Reading]:
        snapshot = self._collected
        if snapshot is None or self._thresholds_of is None:
            return
        for level, size in zip(LEVELS, self._thresholds_of(snapshot), strict=True):
            yield size, {**self._on_gauges, names.LEVEL: level}

    def _keys(self) -> Iterable[Reading]:
        snapshot = self._collected
        if snapshot is not None:
            yield snapshot.keys, self._on_gauges


def store_identity() -> Callable[[], str]:
    """The identity of a store that each process has for itself: another one after a fork."""
    seed = secrets.token_bytes(_IDENTITY_BYTES)

    def identity() -> str:
        # Computed each time, because Python's hooks do not run at a fork in C (uWSGI).
        text = os.getpid().to_bytes(_IDENTITY_BYTES, "big")
        return hashlib.blake2s(text, key=seed, digest_size=_IDENTITY_BYTES).hexdigest()

    return identity
