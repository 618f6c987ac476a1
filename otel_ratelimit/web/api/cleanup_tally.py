"""Totals over all cleanups of the counter store, for `GET /metrics`."""

from __future__ import annotations

from dataclasses import dataclass

from otel_ratelimit.core.clock import Clock
from otel_ratelimit.core.counter_store import CleanupReport


@dataclass(frozen=True, slots=True)
class CleanupTotals:
    """The results of all cleanups of the store since the process started."""

    runs: int = 0
    removed_keys: int = 0
    freed_bytes: int = 0
    last_at: float | None = None
    """Unix time of the last, seconds; None before the first."""
    last_duration_seconds: float = 0.0
    longest_pause_seconds: float = 0.0
    """The longest time for which a cleanup held up requests."""


class CleanupTally:
    """Adds up the cleanups: a listener for `BoundedMemoryStorage.on_cleanup`.

    Args:
        clock: Unix time in seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._totals = CleanupTotals()

    def cleaned(self, report: CleanupReport) -> None:
        """Add one cleanup; called on the background thread."""
        before = self._totals
        # Replaced as a whole, so that a reader never sees half of it.
        self._totals = CleanupTotals(
            runs=before.runs + 1,
            removed_keys=before.removed_keys + report.removed_keys,
            freed_bytes=before.freed_bytes + report.freed_bytes,
            last_at=self._clock(),
            last_duration_seconds=report.duration_seconds,
            longest_pause_seconds=max(before.longest_pause_seconds, report.longest_pause_seconds),
        )

    def totals(self) -> CleanupTotals:
        """The totals so far."""
        return self._totals
