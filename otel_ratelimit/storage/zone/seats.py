"""Where the new counters of one request go: to free slots, or to overflow buckets when the zone is full.

Nothing is written yet. So a place that one counter of the request has, or is given, is kept from the others.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

from otel_ratelimit.storage.counter_keys import KIND_SHIFT, client_in, limit_of
from otel_ratelimit.storage.zone import head
from otel_ratelimit.storage.zone.journal import SlotFields
from otel_ratelimit.storage.zone.layout import WORD_BYTES
from otel_ratelimit.storage.zone.opened import NewCounter, Zone, describe, describe_overflow, tag_of
from otel_ratelimit.storage.zone.slots import number_of
from otel_ratelimit.storage.zone.tables import Table

_ORDER: Final = sys.byteorder


class Seat(NamedTuple):
    """Where a counter goes that has no slot."""

    item: SlotFields
    is_overflow: bool


class Seats:
    """Finds places for one request. The zone's lock must be held.

    Args:
        zone: the zone.
        tables: the tables of all windows of the request.
        number: the 64 bits of the client's key.
        network: the number of the client's network.
        client: the client.
        now: Unix time in seconds.
    """

    __slots__ = ("_client", "_network", "_now", "_number", "_seats", "_tables", "_taken", "_zone", "new")

    def __init__(
        self, zone: Zone, tables: Sequence[Table], number: int, network: int, client: str, now: float
    ) -> None:
        self.new: dict[int, NewCounter] = {}
        """The counters that are opened if the request is counted, by offset."""
        self._seats: dict[int, Seat] = {}
        self._zone = zone
        self._client = client
        self._network = network
        self._number = number
        self._now = now
        self._taken: set[int] = set()
        """Offsets that are no place for a new counter."""
        self._tables = tables if len(tables) > 1 else ()
        """None when the overflow buckets of all have been found."""
        for table in self._tables:
            key = number ^ table.salt or 1
            self._taken.add(zone.main.find(key, key.to_bytes(WORD_BYTES, _ORDER)))

    def seat(self, table: Table, key: int) -> Seat:
        """The seat of the counter `key`."""
        seat = self._seats.get(key)  # another window of this request may have the same prefix
        if seat is None:
            seat = self._seats[key] = self._own_seat(table, key) or self._overflow_seat(table)
        return seat

    def _own_seat(self, table: Table, key: int) -> Seat | None:
        zone = self._zone
        share = self._network % zone.layout.networks
        used = zone.figure(head.USED_AT)
        room = zone.layout.key_mark - used - len(self.new)
        # Only above half of the slots can a network hold more than there is room left.
        if room >= used or 0 <= room >= zone.figure(zone.layout.networks_at + share * WORD_BYTES):
            place = zone.main.place(key, self._now, self._taken)
            if place is not None:
                description = describe(table.number, share, self._network >> KIND_SHIFT, self._tag(table))
                return self._open(NewCounter(key, description, place, is_overflow=False))
        return None

    def _overflow_seat(self, table: Table) -> Seat:
        zone = self._zone
        for each in self._tables:
            self._taken |= zone.overflow.offsets(each, self._network, self._limit(each))
        self._tables = ()
        is_roomy = zone.figure(head.OVERFLOW_USED_AT) < zone.layout.overflow_mark
        limit = self._limit(table)
        key, at, place = zone.overflow.bucket(
            table, self._network, limit, self._now, self._taken, is_roomy=is_roomy
        )
        description = describe_overflow(table)
        if place is None:
            _, _, time, word, _ = zone.slot(at)
            return Seat((at, key, time, word, description), is_overflow=True)
        return self._open(NewCounter(key, description, place, is_overflow=True))

    def _tag(self, table: Table) -> int:
        number = self._number
        if table.is_of_texts:
            found = client_in(self._client)
            number = number_of(self._zone.keys.of_client(found)) if found else 0
        return tag_of(number)

    def _limit(self, table: Table) -> str:
        return limit_of(self._client) if table.is_of_texts else ""

    def _open(self, counter: NewCounter) -> Seat:
        key, description, place, is_overflow = counter
        self.new[place.at] = counter
        self._taken |= {place.at, place.freed.at}
        return Seat((place.at, key, 0.0, 0, description), is_overflow)
