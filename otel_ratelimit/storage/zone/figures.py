"""The size and the counters of a zone, for metrics, the API and the log."""

from __future__ import annotations

from collections import Counter
from typing import Final

from otel_ratelimit.core.counter_store import StorageSnapshot
from otel_ratelimit.storage.counter_keys import KIND_NAMES, KINDS, OTHER_KIND_NAME
from otel_ratelimit.storage.zone import head
from otel_ratelimit.storage.zone.layout import PAGE_BYTES, SLOT_BYTES, TABLE_BYTES, WORD_BYTES
from otel_ratelimit.storage.zone.opened import Zone

_FULL_PERCENT: Final = 98
"""The share of the slots for new counters from which the zone counts as full."""


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
        full_bytes=PAGE_BYTES + zone.layout.key_mark * _FULL_PERCENT // 100 * SLOT_BYTES,
        by_endpoint={endpoint: keys for endpoint, keys in by_endpoint.items() if keys},
        by_client_kind={kind: keys for kind, keys in kinds.items() if keys},
    )


def size_of(zone: Zone) -> int:
    """Bytes in use: slots, overflow buckets and entries of limits, and what every zone needs."""
    slots = zone.figure(head.USED_AT) + zone.figure(head.OVERFLOW_USED_AT)
    return PAGE_BYTES + slots * SLOT_BYTES + zone.figure(head.TABLES_AT) * TABLE_BYTES
