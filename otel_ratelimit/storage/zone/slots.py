"""Where a counter lies: a hash table of buckets with eight slots each.

The key of a counter chooses two buckets, and the counter lies in one of them. A new counter goes to the one
with more room ("power of two choices": Azar, Broder, Karlin, Upfal, "Balanced allocations", SIAM Journal on
Computing 29(1), 1999). If both are full, one counter of theirs is moved to its other bucket (Pagh, Rodler,
"Cuckoo hashing", Journal of Algorithms 51(2), 2004), once: that fills nine tenths of the slots before the
first key finds no place.

A slot is free when its time has come; a slot without a counter has the key 0 and the time 0. So expired
counters need not be removed before their place is used again, and the table never has to grow.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from mmap import mmap
from typing import Final, NamedTuple

from otel_ratelimit.storage.zone.layout import BUCKET_BYTES, SLOT_BYTES

SECOND_SHIFT: Final = 32
"""The second bucket is chosen by the bits of the key from here on."""
_SLOT_MASK: Final = SLOT_BYTES - 1
_ROOMY: Final = 4
"""With so many free slots in the first bucket, the second one is not looked at."""
_SLOT: Final = struct.Struct("@QdQQ")
_TIMES: Final = struct.Struct("@" + "8xd16x" * (BUCKET_BYTES // SLOT_BYTES))
"""The times of the slots of a bucket; that of a slot without a counter is 0."""

_times: Final = _TIMES.unpack_from
WORD_MASK: Final = (1 << 64) - 1
FOLD: Final = 67
"""Every fifth bit of a client key is 0; the other half, moved by 67 bits, fills these."""


def number_of(key: int) -> int:
    """The number of 64 bits that stands for a client's key."""
    return (key ^ key >> FOLD) & WORD_MASK


class Slot(NamedTuple):
    """A slot as it was found."""

    at: int
    key: int
    time: float
    word: int
    description: int


class Place(NamedTuple):
    """Where a new counter goes."""

    at: int
    freed: Slot
    """The free slot that is used for it, or for the counter that makes way."""
    moved: Slot | None
    """The live counter at `at` that goes to the free slot; None if none must move."""


class SlotTable:
    """The slots in one part of a zone. The zone's lock must be held for every method.

    Args:
        memory: the zone.
        at: offset of the first bucket, a multiple of `SLOT_BYTES`.
        buckets: how many there are.
    """

    __slots__ = ("_find", "at", "buckets", "memory")

    def __init__(self, memory: mmap, at: int, buckets: int) -> None:
        self.memory = memory
        self.at = at
        self.buckets = buckets
        self._find = memory.find

    def find(self, key: int, word: bytes) -> int:
        """The offset of the slot of `key`, live or expired; -1 if there is none.

        Args:
            key: the key, never 0.
            word: the same as 8 bytes.
        """
        first = self.at + key % self.buckets * BUCKET_BYTES
        found = self._find(word, first, first + BUCKET_BYTES)
        if found < 0:
            first = self.at + (key >> SECOND_SHIFT) % self.buckets * BUCKET_BYTES
            found = self._find(word, first, first + BUCKET_BYTES)
        return self._find_slot(key, word) if found >= 0 and found & _SLOT_MASK else found

    def _find_slot(self, key: int, word: bytes) -> int:
        """As `find`, where the same 8 bytes are also at another place than a key's."""
        for number in (key, key >> SECOND_SHIFT):
            first = self.at + number % self.buckets * BUCKET_BYTES
            found = self._find(word, first, first + BUCKET_BYTES)
            while found >= 0:
                if not found & _SLOT_MASK:
                    return found
                found = self._find(word, found + 1, first + BUCKET_BYTES)
        return -1

    def slot(self, at: int) -> Slot:
        """The slot at the offset `at`."""
        return Slot(at, *_SLOT.unpack_from(self.memory, at))

    def empty(self, key: int, now: float) -> int:
        """The slot that `place` would choose, if that was never used or has been removed; otherwise -1.

        That is quicker, and true for most new counters.
        """
        bucket = self.at + key % self.buckets * BUCKET_BYTES
        times = _times(self.memory, bucket)
        if times.count(0.0) < _ROOMY:
            return -1
        index = times.index(0.0)
        if index and min(times[:index]) <= now:
            return -1
        return bucket + index * SLOT_BYTES

    def place(self, key: int, now: float, taken: Collection[int]) -> Place | None:
        """A place for a new counter, outside of the offsets `taken`; None if there is none."""
        first, second = self._bucket(key), self._bucket(key >> SECOND_SHIFT)
        chosen = self._free(first, now, taken)
        if len(chosen) < _ROOMY:
            more = self._free(second, now, taken)
            if len(more) > len(chosen):
                chosen = more
        if chosen:
            return Place(chosen[0], self.slot(chosen[0]), None)
        for bucket in (first, second):
            for at in range(bucket, bucket + BUCKET_BYTES, SLOT_BYTES):
                if at not in taken:
                    slot = self.slot(at)
                    other = self._other(slot.key, bucket)
                    room = self._free(other, now, taken) if other != bucket else ()
                    if room:
                        return Place(at, self.slot(room[0]), slot)
        return None

    def _bucket(self, number: int) -> int:
        return self.at + number % self.buckets * BUCKET_BYTES

    def _other(self, key: int, bucket: int) -> int:
        first = self._bucket(key)
        return self._bucket(key >> SECOND_SHIFT) if first == bucket else first

    def _free(self, bucket: int, now: float, taken: Collection[int]) -> list[int]:
        """Offsets of the free slots of a bucket."""
        at = bucket - SLOT_BYTES
        free = [at for time in _times(self.memory, bucket) if (at := at + SLOT_BYTES) and time <= now]
        return [at for at in free if at not in taken] if taken else free
