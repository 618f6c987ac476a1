"""How full the counter store is: functions for callers. `memory_log` logs it.

The functions accept anything that can return a `StorageSnapshot`, so they work with every store. Without an
argument they use the store of the current application, or of the only `RateLimit` in this process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias

from otel_ratelimit.core.counter_store import StorageSnapshot
from otel_ratelimit.core.thresholds import (
    MEGABYTE,
    MEMORY_CRITICAL_BYTES,
    MEMORY_WARNING_BYTES,
    MEMORY_WARNING_SHARE,
)
from otel_ratelimit.storage.default_store import default_store
from otel_ratelimit.storage.memory_budget import full_bytes

Status: TypeAlias = Literal["ok", "warning", "critical"]


class SnapshotSource(Protocol):
    """A store that can say what it holds."""

    def snapshot(self) -> StorageSnapshot:
        """A snapshot of the store's size and counters."""


class KeyDistribution(NamedTuple):
    """Counters, also expired ones that are not removed yet, by what they count and whom."""

    by_endpoint: dict[str, int]
    """By Flask's endpoint name (`jobs.list`); `*` for those that several endpoints share."""
    by_client_kind: dict[str, int]
    """By the kind of key that tells clients apart: `ip`, `user`, `ip+user`, `header`, `function`, `other`."""
    by_user: dict[str, int]
    """By user, the highest number first; the empty text stands for counters without a user, `<other>` for
    users whose names are not remembered. Empty for a store that is passed as an argument."""


@dataclass(frozen=True, slots=True)
class MemoryHealth:
    """Whether the size of a store is a problem."""

    status: Status
    size_bytes: int
    capacity_bytes: int | None
    used_ratio: float
    """Share of the capacity in use; 0.0 when the capacity is unknown."""
    message: str


def get_storage_size(storage: SnapshotSource | None = None) -> int:
    """Bytes that the counters take.

    Args:
        storage: a store; if not given, that of the current application, or of the only `RateLimit` there is.

    Raises:
        RuntimeError: no store is given, and it is not clear which one is meant; says what to do.
        StorageNotMeasuredError: the counters are in a remote store, which does not report its size.
    """
    return _given_or_default(storage).snapshot().size_bytes


def get_active_keys(storage: SnapshotSource | None = None) -> int:
    """How many counters there are; an expired counter is included until it is removed.

    Arguments and errors are those of `get_storage_size`.
    """
    return _given_or_default(storage).snapshot().keys


def get_key_distribution(storage: SnapshotSource | None = None) -> KeyDistribution:
    """How the counters are distributed over endpoints, kinds of client and users.

    Arguments and errors are those of `get_storage_size`.
    """
    if storage is not None:
        snapshot, by_user = storage.snapshot(), {}
    else:
        store = default_store()
        snapshot, by_user = store.snapshot(), dict(store.keys_by_user())
    return KeyDistribution(dict(snapshot.by_endpoint), dict(snapshot.by_client_kind), by_user)


def _given_or_default(storage: SnapshotSource | None) -> SnapshotSource:
    return default_store() if storage is None else storage


def effective_thresholds(capacity: int | None, warning: int, critical: int) -> tuple[int, int]:
    """The warning and critical thresholds, lowered to sizes that a store of that capacity can reach.

    A store is full a little below its capacity, and a full store is critical whatever the threshold is.
    """
    if capacity is None:
        return warning, critical
    critical = min(critical, full_bytes(capacity))
    return (warning if warning < critical else int(critical * MEMORY_WARNING_SHARE)), critical


def check_memory_health(
    storage: SnapshotSource | None = None,
    warning: int | None = None,
    critical: int | None = None,
) -> MemoryHealth:
    """Whether the store's size is ok, at the warning threshold or above, or critical.

    The status is critical from `critical` bytes on, or when the store is full if that comes first.

    Args:
        storage: as for `get_storage_size`.
        warning: bytes; if not given, the policy's for the application's own store, otherwise 40 MB.
        critical: bytes; if not given, the policy's for the application's own store, otherwise 50 MB.

    Raises:
        RuntimeError, StorageNotMeasuredError: as for `get_storage_size`.
    """
    default = MEMORY_WARNING_BYTES, MEMORY_CRITICAL_BYTES
    if storage is None:
        store = default_store()
        snapshot, default = store.snapshot(), store.thresholds
    else:
        snapshot = storage.snapshot()
    warning = default[0] if warning is None else warning
    critical = default[1] if critical is None else critical
    return assess(snapshot, warning, critical)


def assess(snapshot: StorageSnapshot, warning: int, critical: int) -> MemoryHealth:
    """The health of a store with this snapshot; the thresholds are lowered to what its capacity can reach."""
    size, capacity = snapshot.size_bytes, snapshot.capacity_bytes
    warning, critical = effective_thresholds(capacity, warning, critical)
    status: Status = "critical" if size >= critical else "warning" if size >= warning else "ok"
    of = f" of {_shown_size(capacity)} ({100 * size / capacity:.1f} %)" if capacity else ""
    message = (
        f"counters take {_shown_size(size)}{of}, {snapshot.keys} keys; "
        f"warning from {_shown_size(warning)}, critical from {_shown_size(critical)}"
    )
    return MemoryHealth(status, size, capacity, size / capacity if capacity else 0.0, message)


def _shown_size(size: int) -> str:
    return f"{size / MEGABYTE:.1f} MB" if size >= MEGABYTE // 10 else f"{size} bytes"
