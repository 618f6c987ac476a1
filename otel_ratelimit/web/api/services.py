"""What the API asks, and whom: everything it needs comes in here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from otel_ratelimit.analytics.recorder import RecorderState
from otel_ratelimit.analytics.rows import AnalyticsReader
from otel_ratelimit.cache_advice.history import CacheReportReader
from otel_ratelimit.core.clock import Clock
from otel_ratelimit.core.counter_store import CleanupReport, CounterStore, StorageSnapshot
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.core.thresholds import MEMORY_CRITICAL_BYTES, MEMORY_WARNING_BYTES
from otel_ratelimit.web.enforcement import Enforcement

Access: TypeAlias = Literal["read", "admin"]
"""What a caller wants to do. Whoever is `admin` may read as well."""


@dataclass(frozen=True, slots=True)
class CleanupTotals:
    """What all sweeps of the store did since the process began."""

    runs: int = 0
    removed_keys: int = 0
    freed_bytes: int = 0
    last_at: float | None = None
    """Unix time of the last, seconds; None before the first."""
    last_duration_seconds: float = 0.0
    longest_pause_seconds: float = 0.0
    """The longest that any sweep held requests up."""


class CleanupTally:
    """Adds up the sweeps: a listener for `BoundedMemoryStorage.on_cleanup`.

    Args:
        clock: Unix time in seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._totals = CleanupTotals()

    def cleaned(self, report: CleanupReport) -> None:
        """Add one sweep; on the one background thread."""
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
        """All so far."""
        return self._totals


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServices:
    """What the API of one application is joined to."""

    store: CounterStore
    enforcement: Callable[[], Enforcement]
    """What is in force now, for the application of the current request."""
    clock: Clock
    storage_name: str
    """The store's scheme, as the attribute `otel_ratelimit.storage`."""
    storage_healthy: Callable[[], bool]
    """Whether the store answered when last asked."""
    retry_seconds: Callable[[], float]
    """Until a failed store is tried again."""
    snapshot: Callable[[], StorageSnapshot | None]
    """None for a store elsewhere, which cannot say what it holds."""
    keys_by_user: Callable[[], Mapping[str, int]] = dict
    """Counters by user, the most first; asked only where there is a snapshot."""
    cleanup: Callable[[], CleanupTotals | None]
    """None for a store that cleans up by itself."""
    recorder: Callable[[], RecorderState | None]
    """None where analytics are off."""
    reader: AnalyticsReader | None
    """None where analytics are off."""
    cache_reports: CacheReportReader | None
    """None where analytics are off."""
    own_service: Callable[[], str] = lambda: ""
    """Under which name this application records: what is read where several do and none is asked for."""
    read_tokens: tuple[Secret, ...] = ()
    admin_tokens: tuple[Secret, ...] = ()
    authorize: Callable[[str], bool] | None = None
    """The application's own check in place of tokens: called within the request with an `Access`; only True
    allows."""
    memory_warning_bytes: int = MEMORY_WARNING_BYTES
    memory_critical_bytes: int = MEMORY_CRITICAL_BYTES

    def __post_init__(self) -> None:
        """Wrap tokens that were given as they are."""
        for name in ("read_tokens", "admin_tokens"):
            object.__setattr__(self, name, tuple(map(Secret.of, getattr(self, name))))
