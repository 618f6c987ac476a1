"""How full the counter store is, in words and in the log.

The functions take anything that can give a `StorageSnapshot`, so that they serve every store.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from otel_ratelimit.events import CleanupReport, StorageSnapshot
from otel_ratelimit.storage.accounting import full_bytes
from otel_ratelimit.thresholds import MEGABYTE, MEMORY_CRITICAL_BYTES, MEMORY_WARNING_BYTES

_log = logging.getLogger(__name__)

Status: TypeAlias = Literal["ok", "warning", "critical"]

_WARNING_SHARE: Final = 0.8
"""Of critical, where a small store can never reach the threshold that was given."""
_RETURN_SHARE: Final = 0.95
"""A status is left only when the size is below this share of the threshold, lest the log be flooded."""
_RANK: Final[dict[Status, int]] = {"ok": 0, "warning": 1, "critical": 2}
_LEVELS: Final[dict[Status, int]] = {
    "ok": logging.INFO,
    "warning": logging.WARNING,
    "critical": logging.ERROR,
}


class SnapshotSource(Protocol):
    """A store that can say what it holds."""

    def snapshot(self) -> StorageSnapshot:
        """What the store holds now."""


class KeyDistribution(NamedTuple):
    """Live and not yet removed counters, by what they count and by whom."""

    by_endpoint: dict[str, int]
    by_client_kind: dict[str, int]


@dataclass(frozen=True, slots=True)
class MemoryHealth:
    """Verdict on a store's size."""

    status: Status
    size_bytes: int
    capacity_bytes: int | None
    used_ratio: float
    """Share of the capacity in use; 0.0 when the capacity is unknown."""
    message: str


def get_storage_size(storage: SnapshotSource) -> int:
    """Bytes that the counters take."""
    return storage.snapshot().size_bytes


def get_active_keys(storage: SnapshotSource) -> int:
    """How many counters there are; one that has expired counts until it is removed."""
    return storage.snapshot().keys


def get_key_distribution(storage: SnapshotSource) -> KeyDistribution:
    """How the counters spread over endpoints and kinds of client."""
    snapshot = storage.snapshot()
    return KeyDistribution(dict(snapshot.by_endpoint), dict(snapshot.by_client_kind))


def effective_thresholds(capacity: int | None, warning: int, critical: int) -> tuple[int, int]:
    """The thresholds for a store of that capacity: what it can never reach would never be reported.

    A store is full a little below its capacity, and that is critical whatever the threshold says.
    """
    if capacity is None:
        return warning, critical
    critical = min(critical, full_bytes(capacity))
    return (warning if warning < critical else int(critical * _WARNING_SHARE)), critical


def check_memory_health(
    storage: SnapshotSource,
    warning: int = MEMORY_WARNING_BYTES,
    critical: int = MEMORY_CRITICAL_BYTES,
) -> MemoryHealth:
    """Whether the store's size is below `warning` bytes, above them, or critical.

    Critical is from `critical` bytes on, or from where the store is full if that comes first.
    """
    snapshot = storage.snapshot()
    size, capacity = snapshot.size_bytes, snapshot.capacity_bytes
    warning, critical = effective_thresholds(capacity, warning, critical)
    status: Status = "critical" if size >= critical else "warning" if size >= warning else "ok"
    of = f" of {_megabytes(capacity)}" if capacity else ""
    message = (
        f"counters take {_megabytes(size)}{of}, {snapshot.keys} keys; "
        f"warning from {_megabytes(warning)}, critical from {_megabytes(critical)}"
    )
    return MemoryHealth(status, size, capacity, size / capacity if capacity else 0.0, message)


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:.1f} MB"


class MemoryHealthLog:
    """Logs a store's size at the start, after each cleanup, and whenever a threshold is crossed.

    Call `start` once, and give `cleaned` and `overflowed` to the store as its listeners.
    """

    def __init__(
        self,
        storage: SnapshotSource,
        warning: int = MEMORY_WARNING_BYTES,
        critical: int = MEMORY_CRITICAL_BYTES,
        logger: logging.Logger = _log,
    ) -> None:
        self._storage = storage
        self._warning = warning
        self._critical = critical
        self._log = logger
        self.status: Status = "ok"
        """The status last reported."""

    def start(self) -> None:
        """Log the size and the thresholds."""
        self._log.info("counter store: %s", self.check().message)

    def cleaned(self, report: CleanupReport) -> None:
        """After a cleanup: log the size, and a threshold if one was crossed."""
        self._log.info("after cleanup (%d removed): %s", report.removed_keys, self.check().message)

    def overflowed(self, _limit: str) -> None:
        """At a hit on an overflow bucket: the store is full, which need not wait for the cleanup."""
        if self.status != "critical":
            self.check()

    def check(self) -> MemoryHealth:
        """Log a threshold if one was crossed since the last check."""
        health = check_memory_health(self._storage, self._warning, self._critical)
        if health.status != self.status and not self._lingers(health):
            worse = _RANK[health.status] > _RANK[self.status]
            self.status = health.status
            level = _LEVELS[health.status] if worse else logging.INFO
            self._log.log(level, "counter store is %s: %s", health.status, health.message)
        return health

    def _lingers(self, health: MemoryHealth) -> bool:
        """Whether the size is below the threshold of the status in force, but hardly."""
        if _RANK[health.status] > _RANK[self.status]:
            return False
        warning, critical = effective_thresholds(health.capacity_bytes, self._warning, self._critical)
        threshold = critical if self.status == "critical" else warning
        return health.size_bytes >= threshold * _RETURN_SHARE
