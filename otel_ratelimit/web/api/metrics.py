"""`GET /metrics`: what the counter store and the recorder hold now."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final

from flask import current_app

from otel_ratelimit.analytics.recorder import RecorderState
from otel_ratelimit.core.counter_store import StorageSnapshot
from otel_ratelimit.core.thresholds import MEGABYTE
from otel_ratelimit.storage.counters_by_user import highest_first
from otel_ratelimit.storage.health import check_memory_health, effective_thresholds
from otel_ratelimit.web.api.cleanup_tally import CleanupTotals
from otel_ratelimit.web.api.metrics_models import (
    CleanupAnswer,
    KeysAnswer,
    MemoryAnswer,
    MetricsAnswer,
    RecorderAnswer,
    StorageAnswer,
)
from otel_ratelimit.web.api.parameters import NoParameters
from otel_ratelimit.web.api.services import ApiServices
from otel_ratelimit.web.route_names import routes_of

MAX_USERS: Final = 100
"""The users with the most counters are named; the others are one sum."""


def metrics(services: ApiServices, _asked: NoParameters) -> MetricsAnswer:
    """The present state, from one snapshot, so that the figures are consistent."""
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
        keys=None if snapshot is None else _keys(snapshot, services),
        cleanup=None if cleanup is None else _cleanup(cleanup),
        recorder=None if recorder is None else _recorder(recorder),
    )


class _Taken:
    """A snapshot that exists already, in the form that `storage.health` needs."""

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


def _keys(snapshot: StorageSnapshot, services: ApiServices) -> KeysAnswer:
    return KeysAnswer(
        active=snapshot.keys,
        overflows=snapshot.overflows,
        by_endpoint=highest_first(snapshot.by_endpoint),
        routes={endpoint: list(routes_of(current_app, endpoint)) for endpoint in snapshot.by_endpoint},
        by_client_kind=highest_first(snapshot.by_client_kind),
        by_user=highest_first(services.keys_by_user(), MAX_USERS),
    )


def _cleanup(totals: CleanupTotals) -> CleanupAnswer:
    last_at = None if totals.last_at is None else datetime.fromtimestamp(totals.last_at, UTC)
    return CleanupAnswer(**{**asdict(totals), "last_at": last_at})


def _recorder(state: RecorderState) -> RecorderAnswer:
    # The reason of a failure may name hosts and users of the database: it is for the log only.
    return RecorderAnswer(
        recorded=state.recorded, dropped=state.dropped, pending=state.pending, healthy=not state.failing
    )
