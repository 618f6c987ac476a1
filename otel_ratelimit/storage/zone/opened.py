"""A zone that is open in this process: its parts, its lock, and the changes of its counters.

Several counters are opened, changed and removed in one change (`Change`), with the figures that depend on
them: how many counters each limit, network, kind of client and page has.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from mmap import mmap
from pathlib import Path
from typing import Final, NamedTuple

from otel_ratelimit.core.clock import Clock, monotonic_time
from otel_ratelimit.storage.counter_keys import CounterKeys
from otel_ratelimit.storage.zone import head
from otel_ratelimit.storage.zone.journal import Journal, SlotFields
from otel_ratelimit.storage.zone.layout import PAGE_BYTES, TABLE_BYTES, WORD_BYTES, layout_for
from otel_ratelimit.storage.zone.lock import FileLock, LockKind, RobustMutex, ZoneLock
from otel_ratelimit.storage.zone.lock_holder import LockHolder
from otel_ratelimit.storage.zone.overflow import OverflowBuckets
from otel_ratelimit.storage.zone.slots import Place, Slot, SlotTable
from otel_ratelimit.storage.zone.tables import COUNTERS_AT, Table, TableDirectory

_NETWORK_SHIFT: Final = 16
KIND_SHIFT: Final = 32
KIND_BITS: Final = 5
_KIND_MASK: Final = (1 << KIND_BITS) - 1
_TAG_SHIFT: Final = KIND_SHIFT + KIND_BITS
_TAG_MASK: Final = (1 << 64 - _TAG_SHIFT) - 1
_HALF: Final = (1 << 16) - 1


def prepare(memory: mmap, size: int, kind: LockKind, now: float) -> None:
    """Make an empty zone of `size` bytes of zeroed memory that no other process uses yet."""
    if kind == "mutex":
        RobustMutex(memory, head.LOCK_AT).prepare()
    head.write_head(memory, layout_for(size), kind, now)


class NewCounter(NamedTuple):
    """A counter that is opened if its request is counted."""

    key: int
    description: int
    place: Place
    is_overflow: bool

    @property
    def is_simple(self) -> bool:
        """Whether it takes a slot that is empty, and no other counter moves or is removed."""
        place = self.place
        return place.moved is None and not (self.is_overflow or place.freed.key)


class Zone:
    """A prepared zone.

    Args:
        memory: begins with the zone, which `prepare` has prepared.
        size: of the zone, bytes.
        kind: the kind of its lock.
        path: the zone's file, if it is one.
        lock_file: a descriptor of a file that all processes of the zone have, if that is no file.
        monotonic: seconds of the machine's own clock.
    """

    def __init__(
        self,
        memory: mmap,
        size: int,
        kind: LockKind = "mutex",
        path: Path | None = None,
        lock_file: int | None = None,
        monotonic: Clock = monotonic_time,
    ) -> None:
        self.memory = memory
        self.layout = layout = layout_for(size)
        words = memoryview(memory)[: size // WORD_BYTES * WORD_BYTES]
        self.words = words.cast("Q")
        self.times = words.cast("d")
        self.secret = head.secret_of(memory)
        self.identity = head.identity_of(memory)
        self.keys = CounterKeys(self.secret)
        self.journal = Journal(memory, layout.journal_at, self.words)
        self.lock: ZoneLock = (
            RobustMutex(memory, head.LOCK_AT)
            if kind == "mutex"
            else FileLock(path, self.journal.is_valid, lock_file)
        )
        self.main = SlotTable(memory, layout.buckets_at, layout.buckets)
        overflow = SlotTable(memory, layout.overflow_at, layout.overflow_buckets)
        self.overflow = OverflowBuckets(overflow, self.keys.number_of_text)
        self.tables = TableDirectory(memory, layout, self.words, self.times, self.secret)
        self.holder = LockHolder(self.lock, self.journal, self.words, self.identity, monotonic)

    # --- the lock ---

    def locked(self) -> AbstractContextManager[None]:
        """Hold the lock.

        Raises:
            StorageUnavailableError: it could not be had in time.
        """
        return self.holder.locked()

    def on_failure(self, listener: Callable[[str], object]) -> None:
        """Call `listener` with the kind of error whenever the lock could not be had in time."""
        self.holder.on_failure(listener)

    def retry_after(self) -> float:
        """Seconds until the lock is waited for again; 0.0 if it can be had."""
        return self.holder.retry_after()

    def is_healthy(self) -> bool:
        """Whether the lock could be had when it was last asked for."""
        return self.holder.is_healthy()

    # --- counters; the lock must be held ---

    def slot(self, at: int) -> Slot:
        """The slot at the offset `at`."""
        return self.main.slot(at)

    def remove(self, key: int) -> bool:
        """Remove a counter; False if there is none."""
        at = self.main.find(key, key.to_bytes(WORD_BYTES, sys.byteorder))
        if at < 0:
            return False
        change = Change(self)
        change.remove(self.slot(at))
        change.write()
        return True

    def clear_last_buckets(self) -> None:
        """Empty the last overflow bucket of every limit. The lock must not be held."""
        for number in self.tables.numbers():
            with self.locked():
                self.journal.write([(self.tables.last_bucket_at(number), 0, 0.0, 0, 0)], ())

    def write(self, slots: list[SlotFields], new: Mapping[int, NewCounter], words: Sequence[int]) -> None:
        """Write slots, of which those at the offsets `new` are new, and words (offset, value, ...)."""
        if len(slots) == len(new) == 1 and not words:
            slot = slots[0]
            opened = new.get(slot[0])
            if opened is not None and opened.is_simple:
                self.journal.write(slots, self._one_more(slot[0], opened.description))
                return
        change = Change(self)
        unopened = dict(new)
        for slot in slots:
            # Two windows with the same prefix share a counter.
            opened = unopened.pop(slot[0], None)
            if opened is not None:
                change.open(opened)
            change.put(slot)
        change.write(words)

    def _one_more(self, at: int, description: int) -> list[int]:
        """The figures with one more counter, at the offset `at`."""
        words = self.words
        new: list[int] = []
        for offset in (self.page_of(at), *self.figures_of(description)):
            new += (offset, words[offset >> 3] + 1)
        return new

    # --- figures ---

    def figures_of(self, description: int) -> tuple[int, int, int, int]:
        """The offsets of the figures that a counter with this description is part of."""
        layout = self.layout
        return (
            head.USED_AT,
            layout.tables_at + (description & _HALF) * TABLE_BYTES + COUNTERS_AT,
            layout.networks_at + (description >> _NETWORK_SHIFT & _HALF) * WORD_BYTES,
            head.KINDS_AT + (description >> KIND_SHIFT & _KIND_MASK) * WORD_BYTES,
        )

    def figure(self, at: int) -> int:
        """The word at the offset `at`."""
        word: int = self.words[at >> 3]
        return word

    def page_of(self, at: int) -> int:
        """The offset of the number of slots in use in the page of the slot at `at`."""
        return self.layout.pages_at + (at - self.layout.buckets_at) // PAGE_BYTES * WORD_BYTES


class Change:
    """A change of counters, written as a whole. The zone's lock must be held."""

    __slots__ = ("_differences", "_slots", "_zone")

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._slots: list[SlotFields] = []
        self._differences: dict[int, int] = {}

    def put(self, slot: SlotFields) -> None:
        """Write a slot."""
        self._slots.append(slot)

    def open(self, new: NewCounter) -> None:
        """Make the place of a counter that is new; its slot is written by `put`."""
        freed, moved = new.place.freed, new.place.moved
        if moved is not None:
            self.put((freed.at, moved.key, moved.time, moved.word, moved.description))
        if freed.key:
            self._add_figures(freed.at, freed.description, -1)
        self._add_figures(freed.at, new.description, 1)

    def remove(self, slot: Slot) -> None:
        """Free a slot that is in use."""
        self.put((slot.at, 0, 0.0, 0, 0))
        self._add_figures(slot.at, slot.description, -1)

    def write(self, more_words: Sequence[int] = ()) -> None:
        """Make the change, together with other words (each offset, then its value)."""
        words = self._zone.words
        # A figure never falls below 0, whatever happened before.
        new = list(more_words)
        for at, more in self._differences.items():
            if more:
                value = words[at >> 3] + more
                new += (at, max(0, value))
        self._zone.journal.write(self._slots, new)

    def _add_figures(self, at: int, description: int, number: int) -> None:
        zone, differences = self._zone, self._differences
        in_use = (head.OVERFLOW_USED_AT,) if at >= zone.layout.overflow_at else zone.figures_of(description)
        for offset in (zone.page_of(at), *in_use):
            differences[offset] = differences.get(offset, 0) + number


def describe(table: int, network: int, kind: int, tag: int) -> int:
    """The last word of a slot: numbers of the limit, of the network's place, of the kind of client; a tag.

    The tag is a part of the client's number (`tag_of`), by which counters of a user are found.
    """
    return tag << _TAG_SHIFT | kind << KIND_SHIFT | network << _NETWORK_SHIFT | table


def tag_of(number: int) -> int:
    """The 27 bits by which a client, known by its number of 64 bits, is found in descriptions."""
    return number & _TAG_MASK


def describe_overflow(table: Table) -> int:
    """The last word of an overflow bucket: the number of its limit, and a part of that limit's id.

    A bucket may live longer than the entry of its limit.
    """
    return table.id & ~_HALF | table.number


def parts_of(description: int) -> tuple[int, int, int]:
    """The parts of the last word of a slot; see `describe`."""
    return (
        description & _HALF,
        description >> _NETWORK_SHIFT & _HALF,
        description >> KIND_SHIFT & _KIND_MASK,
    )
