"""Where clients are counted when the zone has no room for another counter: overflow buckets.

The clients of a network share one bucket for each limit. When three quarters of the room for buckets are in
use, further networks share buckets, which their number chooses. The last bucket of a limit always has room,
because it lies in the entry of the limit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from typing import Final

from otel_ratelimit.storage.counter_keys import KIND_SHIFT
from otel_ratelimit.storage.zone.layout import WORD_BYTES
from otel_ratelimit.storage.zone.slots import Place, SlotTable
from otel_ratelimit.storage.zone.tables import LAST_BUCKET_AT, Table

SHARED: Final = 61
"""How many buckets are shared by the networks of one kind of client that have no bucket of their own."""


class OverflowBuckets:
    """The overflow buckets of a zone, whose lock must be held.

    Args:
        slots: the zone's part for them.
        key_of: makes a key from a text, with the zone's secret.
    """

    def __init__(self, slots: SlotTable, key_of: Callable[[str], int]) -> None:
        self._slots = slots
        self._key_of = key_of

    def bucket(
        self, table: Table, network: int, limit: str, now: float, taken: Collection[int], *, is_roomy: bool
    ) -> tuple[int, int, Place | None]:
        """The bucket for a client: its key, its offset (-1 if it is new), and then its place.

        The place is None for the last bucket, whose offset may be that of a slot with key 0.

        Args:
            table: the limit's entry.
            network: the number of the client's network.
            limit: the limit's text, where the entry counts several limits.
            now: Unix time in seconds.
            taken: offsets at which there is no place.
            is_roomy: whether the network may get a bucket of its own, if it has none.
        """
        for key, is_shared in zip(self._keys(table, network, limit), (False, True), strict=True):
            at = self._find(key)
            if at >= 0:
                return key, at, None
            place = self._slots.place(key, now, taken) if is_roomy or is_shared else None
            if place is not None:
                return key, -1, place
        return table.id, table.at + LAST_BUCKET_AT, None

    def offsets(self, table: Table, network: int, limit: str) -> set[int]:
        """Offsets of the buckets that there are for a client, live or expired; see `bucket`."""
        return {self._find(key) for key in self._keys(table, network, limit)}

    def _keys(self, table: Table, network: int, limit: str) -> tuple[int, int]:
        shared = (network >> KIND_SHIFT) * SHARED + network % SHARED
        start = f"{table.id:x} {limit} "
        return self._key_of(f"{start}{network:x}"), self._key_of(f"{start}shared {shared:x}")

    def _find(self, key: int) -> int:
        return self._slots.find(key, key.to_bytes(WORD_BYTES, sys.byteorder))
