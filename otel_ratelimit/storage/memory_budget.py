"""The memory that counters take, added up in O(1) per change against a budget that is never exceeded.

Sizes are those that CPython really takes: `__sizeof__` of the objects themselves, rounded up as its allocator
does (`Objects/obmalloc.c`: multiples of 16 bytes). Only what Python cannot report is estimated.
"""

from __future__ import annotations

import re
import sys
from array import array
from typing import Final

from otel_ratelimit.core.errors import Problem, SettingsError
from otel_ratelimit.core.thresholds import MEGABYTE

_BLOCK: Final = 16


def rounded(size: int) -> int:
    """`size` bytes as the allocator hands them out."""
    return (size + _BLOCK - 1) & -_BLOCK


MAX_KEY_BYTES: Final = 192
"""The most that a key with its value takes, not counting the list of a moving window."""
INTEGER_BYTES: Final = rounded(sys.getsizeof(1 << 29))
"""A small integer that CPython does not share (those above 256)."""
SHARD_BYTES: Final = 32
"""Bytes that a dict takes beyond its `__sizeof__`: headers of the garbage collector and of the allocator."""
TABLE_BYTES: Final = 1600
"""A table with one empty shard, its directory, its name and its last overflow bucket."""
OVERFLOW_BYTES: Final = 160
"""One overflow bucket: its key, its value, its entry."""
OVERFLOW_TEXT_BYTES: Final = 224
"""One overflow bucket whose key is a text."""
ENTRY_BYTES: Final = 32
"""About what a counter takes of its shard's dict; added to the sum of its network."""

MIN_CAPACITY_BYTES: Final = MEGABYTE
_FULL_SHARE: Final = 0.98
_FULL_MARGIN_BYTES: Final = 150_000
_OVERFLOW_PERCENT: Final = 6
_SMALL_RESERVE_BYTES: Final = 100_000
"""Tables have a reserve of 1/25 of the capacity; in a small store this many bytes, but at most 1/10 of it."""
_MAX_NETWORKS: Final = 65_521
"""The largest prime below 2 ** 16."""
_CAPACITY_PER_NETWORK: Final = 512
_WIDE: Final = 1 << 32

_UNITS: Final = {
    "": 1,
    "B": 1,
    "KB": 1_000,
    "MB": 10**6,
    "GB": 10**9,
    "KIB": 1 << 10,
    "MIB": 1 << 20,
    "GIB": 1 << 30,
}
_BYTES: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMG]I?B|B|)\s*", re.IGNORECASE | re.ASCII)


class MemoryBudget:
    """Bytes in use against a capacity that is never exceeded, and how many of them each network holds.

    Overflow buckets have a share of their own, and tables have a reserve. So a full store still has room for
    a route that was not requested before, and for a policy that is reloaded in the middle of a flood. New
    counters are accepted up to `key_mark`; the lists of moving windows may grow a little more, up to
    `growth_mark`.

    A network must stop earlier: see `network_share`.
    """

    __slots__ = (
        "_tables",
        "capacity",
        "growth_mark",
        "key_mark",
        "network_slots",
        "networks",
        "overflow",
        "overflow_share",
        "overhead",
        "used",
    )

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.network_slots = min(capacity // _CAPACITY_PER_NETWORK | 1, _MAX_NETWORKS)
        self.overflow_share = capacity * _OVERFLOW_PERCENT // 100
        """The most that overflow buckets may take."""
        self.clear()

    def clear(self) -> None:
        """Start again with an empty store."""
        self.networks = array("I" if self.capacity < _WIDE else "Q", [0]) * self.network_slots
        """Bytes that the counters of each network take, by its number modulo `network_slots`."""
        self.used = 0
        self.overhead = 0
        """The part of `used` that tables and overflow buckets take."""
        self.overflow = 0
        """The part of `used` that overflow buckets take."""
        self._tables = 0
        self._set_marks()

    def add_overflow(self, size: int) -> None:
        """Add the size of overflow buckets that were opened, or minus that of closed ones."""
        self.overflow += size
        self.overhead += size
        self.used += size

    def add_tables(self, number: int) -> None:
        """Add tables that were opened, or minus those that were closed."""
        self._tables += number * TABLE_BYTES
        self.overhead += number * TABLE_BYTES
        self.used += number * TABLE_BYTES
        self._set_marks()

    def has_room_for_table(self) -> bool:
        """Whether one more table fits."""
        return self.used - self.overhead <= self._room_beside(self._tables + TABLE_BYTES)

    def _set_marks(self) -> None:
        reserve = max(self.capacity // 25, min(self.capacity // 10, _SMALL_RESERVE_BYTES))
        self.growth_mark = self._room_beside(max(reserve, self._tables))
        """The most that counters may take, growth of moving windows included."""
        self.key_mark = self.growth_mark - self.capacity // 100
        """The most that counters may take when a new one is opened."""

    def _room_beside(self, tables: int) -> int:
        """The room for counters beside tables of `tables` bytes."""
        fixed = self.network_slots * self.networks.itemsize
        return self.capacity - fixed - self.overflow_share - tables


def full_bytes(capacity: int) -> int:
    """The size from which a store of that capacity counts as full.

    The store rejects new keys somewhat below its capacity, because it must be sure that every key it accepts
    fits.
    """
    return int(MemoryBudget(capacity).key_mark * _FULL_SHARE) - _FULL_MARGIN_BYTES


def parse_capacity(value: str | float, where: str) -> int:
    """A capacity in bytes: a number, or text such as `50MB` or `64MiB`.

    Raises:
        SettingsError: `value` is not a size, or is less than `MIN_CAPACITY_BYTES`.
    """
    match = _BYTES.fullmatch(str(value))
    if match is None:
        raise SettingsError([Problem(where, f"{value!r} is not a size", "write bytes, or 50MB, or 64MiB")])
    size = int(float(match[1]) * _UNITS[match[2].upper()])
    if size < MIN_CAPACITY_BYTES:
        raise SettingsError([Problem(where, f"{value!r} is too small", "at least 1MB is needed")])
    return size


def parse_interval(value: str | float, where: str) -> float:
    """The seconds between two cleanups.

    Raises:
        SettingsError: `value` is not a positive number of seconds.
    """
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < float("inf"):
        raise SettingsError([Problem(where, f"{value!r} is not a positive number of seconds", "write 60")])
    return seconds
