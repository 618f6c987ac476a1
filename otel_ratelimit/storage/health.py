"""How full the counter store is: functions for callers, and lines in the log.

The functions accept anything that can return a `StorageSnapshot`, so they work with every store. Without an
argument they use the store of the current application, or of the only `RateLimit` in this process.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from otel_ratelimit.core import names
from otel_ratelimit.core.counter_store import CleanupReport, StorageSnapshot
from otel_ratelimit.core.thresholds import (
    MEGABYTE,
    MEMORY_CRITICAL_BYTES,
    MEMORY_WARNING_BYTES,
    MEMORY_WARNING_SHARE,
)
from otel_ratelimit.storage.default_store import default_store
from otel_ratelimit.storage.memory_budget import full_bytes

_logger = logging.getLogger(__name__)

Status: TypeAlias = Literal["ok", "warning", "critical"]

_RETURN_SHARE: Final = 0.95
"""A status ends only when the size is below this share of its threshold, so that it does not flap."""
_RANK: Final[dict[Status, int]] = {"ok": 0, "warning": 1, "critical": 2}
_LEVELS: Final[dict[Status, int]] = {
    "ok": logging.INFO,
    "warning": logging.WARNING,
    "critical": logging.CRITICAL,
}
_MAX_ENDPOINTS: Final = 5
"""How many endpoints a log line names, those with the most counters."""


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
    return _assess(snapshot, warning, critical)


def _assess(snapshot: StorageSnapshot, warning: int, critical: int) -> MemoryHealth:
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


class MemoryHealthLog:
    """Logs a store's size at the start, after each cleanup, and whenever a threshold is crossed.

    Call `start` once, and register `cleaned` and `overflowed` as listeners of the store.
    """

    def __init__(
        self,
        storage: SnapshotSource,
        warning: int = MEMORY_WARNING_BYTES,
        critical: int = MEMORY_CRITICAL_BYTES,
        logger: logging.Logger = _logger,
    ) -> None:
        self._storage = storage
        self._warning = warning
        self._critical = critical
        self._logger = logger
        self.status: Status = "ok"
        """The status that was logged last."""

    def start(self) -> None:
        """Log the size and the thresholds."""
        self._say(logging.INFO, "counter store", self._measure())

    def cleaned(self, report: CleanupReport) -> None:
        """Log what a cleanup did and the size after it, and a threshold if one was crossed."""
        before = self.status
        measured = self._measure()
        what = (
            f"cleanup removed {report.removed_keys} expired counters, {report.freed_bytes} bytes,"
            f" in {report.duration_seconds * 1e3:.1f} ms"
        )
        # `_measure` has just logged a crossed threshold at its own level.
        level = _LEVELS[self.status] if self.status == before else logging.INFO
        more = {names.CLEANUP_REMOVED_KEYS: report.removed_keys, names.CLEANUP_FREED: report.freed_bytes}
        self._say(level, what, measured, more)

    def overflowed(self, _limit: str) -> None:
        """Check the size at a hit on an overflow bucket: a full store is reported before the next cleanup."""
        if self.status != "critical":
            self.check()

    def check(self) -> MemoryHealth:
        """Log a threshold if one was crossed since the last check."""
        return self._measure().health

    def _measure(self) -> _Measured:
        snapshot = self._storage.snapshot()
        measured = _Measured(snapshot, _assess(snapshot, self._warning, self._critical))
        health = measured.health
        if health.status != self.status and not self._is_hardly_below(health):
            worse = _RANK[health.status] > _RANK[self.status]
            self.status = health.status
            level = _LEVELS[health.status] if worse else logging.INFO
            self._say(level, f"counter store is {health.status}", measured)
        return measured

    def _say(
        self, level: int, what: str, measured: _Measured, more: Mapping[str, object] | None = None
    ) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(
                level,
                "%s: %s%s",
                what,
                measured.health.message,
                _distribution(measured.snapshot),
                extra={**_attributes(measured), **(more or {})},
            )

    def _is_hardly_below(self, health: MemoryHealth) -> bool:
        """Whether the size is below the threshold of the current status, but not by `_RETURN_SHARE`."""
        if _RANK[health.status] > _RANK[self.status]:
            return False
        warning, critical = effective_thresholds(health.capacity_bytes, self._warning, self._critical)
        threshold = critical if self.status == "critical" else warning
        return health.size_bytes >= threshold * _RETURN_SHARE


class _Measured(NamedTuple):
    snapshot: StorageSnapshot
    health: MemoryHealth


def _distribution(snapshot: StorageSnapshot) -> str:
    """How the counters are distributed over endpoints and kinds of client, as text."""
    if not snapshot.keys:
        return ""
    endpoints = sorted(snapshot.by_endpoint.items(), key=lambda entry: -entry[1])
    named = [f"{endpoint} {keys}" for endpoint, keys in endpoints[:_MAX_ENDPOINTS]]
    rest = endpoints[_MAX_ENDPOINTS:]
    if rest:
        named.append(f"{len(rest)} more {sum(keys for _, keys in rest)}")
    kinds = [f"{kind} {keys}" for kind, keys in snapshot.by_client_kind.items()]
    return f"; keys by endpoint: {', '.join(named)}; by kind of client: {', '.join(kinds)}"


def _attributes(measured: _Measured) -> dict[str, object]:
    """The figures of the log line as attributes of the log record."""
    snapshot, health = measured
    attributes: dict[str, object] = {
        names.STORAGE_SIZE: health.size_bytes,
        names.STORAGE_KEYS: snapshot.keys,
        names.STORAGE_KEYS_BY_ENDPOINT: dict(snapshot.by_endpoint),
        names.STORAGE_KEYS_BY_CLIENT_KIND: dict(snapshot.by_client_kind),
    }
    if health.capacity_bytes is not None:
        attributes[names.STORAGE_CAPACITY] = health.capacity_bytes
        attributes[names.STORAGE_USED_PERCENT] = round(100 * health.used_ratio, 1)
    return attributes
