"""The contents of a zone, its cleanups and its processes, for metrics, the API and the log."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otel_ratelimit.core.counter_store import CleanupReport, CleanupTotals, StorageSnapshot
from otel_ratelimit.storage.counter_keys import KIND_NAMES, KINDS, OTHER_KIND_NAME
from otel_ratelimit.storage.zone import head
from otel_ratelimit.storage.zone.layout import PAGE_BYTES, SLOT_BYTES, TABLE_BYTES, WORD_BYTES
from otel_ratelimit.storage.zone.opened import Zone
from otel_ratelimit.storage.zone.processes import SharingProcesses
from otel_ratelimit.storage.zone.server import Origin

_FULL_PERCENT: Final = 98
"""The share of the slots for new counters from which the zone counts as full."""
_MICROSECONDS: Final = 1e6


@dataclass(frozen=True, slots=True)
class ZoneState:
    """Which zone it is, and who shares it."""

    identity: str
    """Random; the same in all processes of the zone."""
    origin: Origin
    path: Path | None
    """The zone's file, if it is one."""
    made_at: float
    """Unix time, seconds."""
    recoveries: int
    """How many times a process died while it counted a request."""
    sharing: SharingProcesses


def snapshot_of(zone: Zone, name: str) -> StorageSnapshot:
    """A snapshot of the zone's size and counters, whichever process made them."""
    by_endpoint: Counter[str] = Counter()
    for usage in zone.tables.usage():
        by_endpoint[usage.endpoint] += usage.counters
    kinds: Counter[str] = Counter()
    for kind in range(KINDS):
        kinds[KIND_NAMES.get(kind, OTHER_KIND_NAME)] += zone.figure(head.KINDS_AT + kind * WORD_BYTES)
    return StorageSnapshot(
        name=name,
        size_bytes=size_of(zone),
        capacity_bytes=zone.layout.size,
        keys=zone.figure(head.USED_AT),
        overflows=zone.figure(head.OVERFLOWS_AT),
        full_bytes=int(zone.layout.key_mark * zone.layout.bytes_per_counter) * _FULL_PERCENT // 100,
        by_endpoint={endpoint: keys for endpoint, keys in by_endpoint.items() if keys},
        by_client_kind={kind: keys for kind, keys in kinds.items() if keys},
    )


def size_of(zone: Zone) -> int:
    """Bytes in use: slots, overflow buckets and entries of limits, and what every zone needs."""
    counters = int(zone.figure(head.USED_AT) * zone.layout.bytes_per_counter)
    buckets = zone.figure(head.OVERFLOW_USED_AT) * SLOT_BYTES
    return PAGE_BYTES + counters + buckets + zone.figure(head.TABLES_AT) * TABLE_BYTES


def add_cleanup(zone: Zone, report: CleanupReport, now: float) -> None:
    """Add a cleanup that ends `now` to the figures of the zone.

    Raises:
        StorageUnavailableError: the lock could not be had in time.
    """
    with zone.locked():
        figure = zone.figure
        new = {
            head.SWEEPS_AT: figure(head.SWEEPS_AT) + 1,
            head.REMOVED_AT: figure(head.REMOVED_AT) + report.removed_keys,
            head.FREED_AT: figure(head.FREED_AT) + report.freed_bytes,
            head.SWEPT_AT: int(now * _MICROSECONDS),
            head.SWEEP_MICROSECONDS_AT: int(report.duration_seconds * _MICROSECONDS),
            head.LONGEST_PAUSE_AT: max(
                figure(head.LONGEST_PAUSE_AT), int(report.longest_pause_seconds * _MICROSECONDS)
            ),
        }
        zone.journal.write((), [word for pair in new.items() for word in pair])


def cleanups_of(zone: Zone) -> CleanupTotals:
    """All cleanups of the zone, whichever process made them."""
    last = zone.figure(head.SWEPT_AT)
    return CleanupTotals(
        runs=zone.figure(head.SWEEPS_AT),
        removed_keys=zone.figure(head.REMOVED_AT),
        freed_bytes=zone.figure(head.FREED_AT),
        last_at=last / _MICROSECONDS if last else None,
        last_duration_seconds=zone.figure(head.SWEEP_MICROSECONDS_AT) / _MICROSECONDS,
        longest_pause_seconds=zone.figure(head.LONGEST_PAUSE_AT) / _MICROSECONDS,
    )
