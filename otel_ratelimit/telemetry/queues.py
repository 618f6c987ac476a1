"""How many rows wait to be written to the database, and how many may wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opentelemetry.metrics import Meter

from otel_ratelimit.core import names
from otel_ratelimit.telemetry.shared_gauges import Gauge, Reading, observe


class QueueTelemetry:
    """Two gauges of one queue, read when metrics are collected, until `retire` or while this object lives.

    Args:
        meter: of the gauges.
        queue: the name of the queue, the attribute `otel_ratelimit.queue`.
        length: rows that wait now.
        capacity: how many rows may wait; beyond that, rows are dropped or merged.
    """

    def __init__(self, meter: Meter, queue: str, length: Callable[[], int], capacity: int) -> None:
        self._attributes = {names.QUEUE: queue}
        self._length = length
        self._capacity = capacity
        self._is_retired = False
        observe(meter, Gauge(names.QUEUE_LENGTH, "{row}", "Rows that wait for the database."), self._lengths)
        observe(meter, Gauge(names.QUEUE_CAPACITY, "{row}", "Rows that may wait."), self._capacities)

    def retire(self) -> None:
        """Report nothing from now on."""
        self._is_retired = True

    def _lengths(self) -> Iterable[Reading]:
        return [] if self._is_retired else [(self._length(), self._attributes)]

    def _capacities(self) -> Iterable[Reading]:
        return [] if self._is_retired else [(self._capacity, self._attributes)]
