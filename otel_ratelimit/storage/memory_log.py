"""The log lines about the memory of the counters: size, thresholds, and how the counters are distributed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, NamedTuple

from otel_ratelimit.core import names
from otel_ratelimit.core.counter_store import CleanupReport, StorageSnapshot
from otel_ratelimit.core.thresholds import MEMORY_CRITICAL_BYTES, MEMORY_WARNING_BYTES
from otel_ratelimit.storage.health import MemoryHealth, SnapshotSource, Status, assess, effective_thresholds

_LOGGER: Final = "otel_ratelimit.storage.health"
"""The documented name (docs/reference/logs.md), which applications configure."""
_logger = logging.getLogger(_LOGGER)

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
        measured = _Measured(snapshot, assess(snapshot, self._warning, self._critical))
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
