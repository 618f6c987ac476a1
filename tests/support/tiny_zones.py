"""Zones with so few slots that buckets are full, and what a store plans for a request."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from unittest import mock

from counter_stores import CAPACITY, Store, client, zone_store

from otel_ratelimit.core.clock import Clock
from otel_ratelimit.core.route_plan import Window
from otel_ratelimit.storage.zone import opened
from otel_ratelimit.storage.zone.layout import layout_for
from otel_ratelimit.storage.zone.lock import LockKind
from otel_ratelimit.storage.zone.opened import NewCounter, Zone
from otel_ratelimit.storage.zone.slots import SECOND_SHIFT
from otel_ratelimit.storage.zone.store import Plan, ZoneStore, number_of


def tiny_store(kind: LockKind, clock: Clock, **parts: int) -> ZoneStore:
    """A store in a zone of which parts are smaller: `buckets`, `overflow_buckets`, `networks`, `tables`."""
    layout = replace(layout_for(CAPACITY), **parts)
    with mock.patch.object(opened, "layout_for", return_value=layout):
        return zone_store(kind, CAPACITY, clock)


def same_zone(counters: ZoneStore) -> ZoneStore:
    """A store as another process has it, which knows nothing of the zone yet."""
    with mock.patch.object(opened, "layout_for", return_value=counters.zone.layout):
        return ZoneStore(Zone(counters.zone.memory, CAPACITY, "mutex"), counters.clock)


def plan_of(counters: Store, windows: Sequence[Window], client: str, now: float) -> Plan:
    """What `take` would do first, without counting anything."""
    assert isinstance(counters, ZoneStore)
    with counters.zone.locked():
        return counters.plan(windows, counters.zone.keys.of_client(client), client, 1, now)


def new_counters(counters: Store, windows: Sequence[Window], client: str, now: float) -> list[NewCounter]:
    """The counters that `take` would open."""
    return list(plan_of(counters, windows, client, now)[3].values())


def clients_of(counters: Store, limit: Window, first: int, second: int) -> Iterator[str]:
    """Clients whose counters of `limit` belong into these two buckets of the zone."""
    assert isinstance(counters, ZoneStore)
    zone = counters.zone
    salt = zone.tables.salt_of(limit.prefix)
    for n in itertools.count():
        key = number_of(zone.keys.of_client(client(n))) ^ salt
        if (key % zone.layout.buckets, (key >> SECOND_SHIFT) % zone.layout.buckets) == (first, second):
            yield client(n)
