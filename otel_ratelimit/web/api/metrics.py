"""`GET /metrics`: what the counter store and the recorder hold now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime

from otel_ratelimit.events import StorageSnapshot
from otel_ratelimit.recorder import RecorderState
from otel_ratelimit.storage.health import check_memory_health, effective_thresholds
from otel_ratelimit.thresholds import MEGABYTE
from otel_ratelimit.web.api.models import (
    CleanupAnswer,
    KeysAnswer,
    MemoryAnswer,
    MetricsAnswer,
    RecorderAnswer,
    StorageAnswer,
)
from otel_ratelimit.web.api.parameters import NoParameters
from otel_ratelimit.web.api.services import ApiServices, CleanupTotals


def metrics(services: ApiServices, _asked: NoParameters) -> MetricsAnswer:
    """What there is now, from one snapshot, so that the figures fit each other."""
    snapshot = services.snapshot()
    cleanup, recorder = services.cleanup(), services.recorder()
    return MetricsAnswer(
        at=datetime.fromtimestamp(services.clock(), UTC),
        process_id=os.getpid(),
        storage=StorageAnswer(
            name=services.storage_name,
            healthy=services.storage_healthy(),
            tells_contents=snapshot is not None,
        ),
        memory=None if snapshot is None else _memory(snapshot, services),
        keys=None if snapshot is None else _keys(snapshot),
        cleanup=None if cleanup is None else _cleanup(cleanup),
        recorder=None if recorder is None else _recorder(recorder),
    )


class _Taken:
    """A snapshot already taken, as `storage.health` asks for it."""

    def __init__(self, snapshot: StorageSnapshot) -> None:
        self._snapshot = snapshot

    def snapshot(self) -> StorageSnapshot:
        """The one that was taken."""
        return self._snapshot


def _memory(snapshot: StorageSnapshot, services: ApiServices) -> MemoryAnswer:
    given = services.memory_warning_bytes, services.memory_critical_bytes
    health = check_memory_health(_Taken(snapshot), *given)
    warning, critical = effective_thresholds(snapshot.capacity_bytes, *given)
    return MemoryAnswer(
        used_bytes=health.size_bytes,
        used_megabytes=health.size_bytes / MEGABYTE,
        capacity_bytes=health.capacity_bytes,
        used_percent=None if health.capacity_bytes is None else round(100.0 * health.used_ratio, 2),
        status=health.status,
        warning_bytes=warning,
        critical_bytes=critical,
        message=health.message,
    )


def _keys(snapshot: StorageSnapshot) -> KeysAnswer:
    return KeysAnswer(
        active=snapshot.keys,
        overflows=snapshot.overflows,
        by_endpoint=_most_first(snapshot.by_endpoint),
        by_client_kind=_most_first(snapshot.by_client_kind),
    )


def _most_first(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _cleanup(totals: CleanupTotals) -> CleanupAnswer:
    last_at = None if totals.last_at is None else datetime.fromtimestamp(totals.last_at, UTC)
    return CleanupAnswer(**{**asdict(totals), "last_at": last_at})


def _recorder(state: RecorderState) -> RecorderAnswer:
    # Why it fails may name hosts and users of the database: that is for the log.
    return RecorderAnswer(
        recorded=state.recorded, dropped=state.dropped, pending=state.pending, healthy=not state.failing
    )
