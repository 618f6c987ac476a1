"""Parts of the application that the API needs: store, policy in force, database, tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from otel_ratelimit.analytics.reader import AnalyticsReader
from otel_ratelimit.analytics.recorder import RecorderState
from otel_ratelimit.cache_advice.stored_reports import CacheReportReader
from otel_ratelimit.core.clock import Clock
from otel_ratelimit.core.counter_store import CounterStore, StorageSnapshot
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.core.thresholds import MEMORY_CRITICAL_BYTES, MEMORY_WARNING_BYTES
from otel_ratelimit.web.api.cleanup_tally import CleanupTotals
from otel_ratelimit.web.enforcement import Enforcement

Access: TypeAlias = Literal["read", "admin"]
"""The access that a caller asks for; `admin` includes `read`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServices:
    """The services that the endpoints of one application's API use."""

    store: CounterStore
    enforcement: Callable[[], Enforcement]
    """The policy in force now, for the application of the current request."""
    clock: Clock
    storage_name: str
    """The store's scheme, as the attribute `otel_ratelimit.storage`."""
    storage_healthy: Callable[[], bool]
    """Whether the store answered when last asked."""
    retry_seconds: Callable[[], float]
    """Seconds until a failed store is tried again."""
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
    """The name under which this application records: it is read if several record and none is asked for."""
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
