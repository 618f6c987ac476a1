"""`GET /metrics`: what the counter store and the recorder hold now."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final

from flask import current_app

from otel_ratelimit.analytics.recorder import RecorderState
from otel_ratelimit.core.counter_store import CleanupTotals, StorageSnapshot
from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.core.thresholds import MEGABYTE
from otel_ratelimit.storage.counters_by_user import highest_first
from otel_ratelimit.storage.health import check_memory_health, effective_thresholds
from otel_ratelimit.storage.zone.figures import ZoneState
from otel_ratelimit.storage.zone.processes import SharingProcesses
from otel_ratelimit.web.api.metrics_models import (
    CleanupAnswer,
    KeysAnswer,
    MemoryAnswer,
    MetricsAnswer,
    ProcessAnswer,
    ProcessesAnswer,
    RecorderAnswer,
    StorageAnswer,
    ZoneAnswer,
)
from otel_ratelimit.web.api.parameters import NoParameters
from otel_ratelimit.web.api.services import ApiServices
from otel_ratelimit.web.route_names import routes_of

MAX_USERS: Final = 100
"""The users with the most counters are named; the others are one sum."""


def metrics(services: ApiServices, _asked: NoParameters) -> MetricsAnswer:
    """The present state, from one snapshot, so that the figures are consistent."""
    snapshot = services.snapshot()
    cleanup, recorder, zone = services.cleanup(), services.recorder(), services.zone()
    return MetricsAnswer(
        at=_moment(services.clock()),
        process_id=os.getpid(),
        storage=StorageAnswer(
            name=services.storage_name,
            healthy=services.storage_healthy(),
            tells_contents=snapshot is not None,
        ),
        zone=None if zone is None else _zone(zone),
        processes=None if zone is None else _processes(zone.sharing),
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
    warning, critical = effective_thresholds(snapshot, *given)
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
    last_at = None if totals.last_at is None else _moment(totals.last_at)
    return CleanupAnswer(**{**asdict(totals), "last_at": last_at})


def _zone(zone: ZoneState) -> ZoneAnswer:
    return ZoneAnswer(
        id=zone.identity,
        origin=zone.origin,
        path=None if zone.path is None else str(zone.path),
        made_at=_moment(zone.made_at),
        recoveries=zone.recoveries,
    )


def _processes(found: SharingProcesses) -> ProcessesAnswer:
    total = Counter(found.ended_decisions)
    for process in found.living:
        total.update(process.decisions)
    return ProcessesAnswer(
        sharing=[
            ProcessAnswer(
                process_id=process.pid,
                since=_moment(process.since),
                last_seen=_moment(process.last_seen),
                decisions=_by_decision(process.decisions),
            )
            for process in found.living
        ],
        ended=found.ended,
        ended_decisions=_by_decision(found.ended_decisions),
        decisions=_by_decision(total),
        is_full=found.is_full,
    )


def _by_decision(decisions: Mapping[DecisionKind, int]) -> dict[str, int]:
    return {kind.value: number for kind, number in decisions.items()}


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _recorder(state: RecorderState) -> RecorderAnswer:
    # The reason of a failure may name hosts and users of the database: it is for the log only.
    return RecorderAnswer(
        recorded=state.recorded, dropped=state.dropped, pending=state.pending, healthy=not state.failing
    )
