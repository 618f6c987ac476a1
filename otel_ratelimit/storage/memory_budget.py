"""What counters weigh, and the ledger that adds it up in O(1) per change.

Sizes are those CPython really takes: `__sizeof__` of the very objects, rounded up as its allocator
does (`Objects/obmalloc.c`: multiples of 16 bytes). Nothing is estimated that can be asked.
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
"""No key with its value takes more, the list of a moving window excepted."""
INTEGER_BYTES: Final = rounded(sys.getsizeof(1 << 29))
"""A small integer that CPython does not share (those above 256)."""
SHARD_BYTES: Final = 32
"""What a dict takes beyond its `__sizeof__`: the collector's header and the allocator's."""
TABLE_BYTES: Final = 1600
"""A table with one empty shard, its directory, its name and the place of its overflow bucket."""
OVERFLOW_BYTES: Final = 160
"""One overflow bucket: its key, its value, its entry."""
OVERFLOW_TEXT_BYTES: Final = 224
"""Likewise where the key is a text."""
ENTRY_BYTES: Final = 32
"""About what a counter takes of its shard's dict, for the account of its network."""

MIN_CAPACITY_BYTES: Final = MEGABYTE
_FULL_SHARE: Final = 0.98
_FULL_MARGIN_BYTES: Final = 150_000
_OVERFLOW_PERCENT: Final = 6
_SMALL_RESERVE_BYTES: Final = 100_000
"""Tables are reserved a twenty-fifth of the capacity; this much of a small one, a tenth at most."""
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


class Ledger:
    """Bytes in use against a capacity that is never exceeded, and how many of them each network holds.

    Overflow buckets have a share of their own, and tables a reserve, so that in a full store a route that
    was not asked before, and a policy reloaded in the middle of a flood, find room. Counters stop at a
    mark below; the lists of moving windows may grow a little beyond it.

    A network stops earlier: where it holds more than there is room left. So one network alone gets half of
    the room, n of them 1 / (n + 1) each, and always there is as much left for those that hold less. Switches
    share their memory between queues in this way (Choudhury and Hahne, "Dynamic queue length thresholds for
    shared-memory packet switches", IEEE/ACM Transactions on Networking 6(2), 1998).
    """

    __slots__ = (
        "_tables",
        "apart",
        "capacity",
        "growth_mark",
        "key_mark",
        "networks",
        "overflow",
        "overflow_share",
        "slots",
        "used",
    )

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.slots = min(capacity // _CAPACITY_PER_NETWORK | 1, _MAX_NETWORKS)
        self.overflow_share = capacity * _OVERFLOW_PERCENT // 100
        """What overflow buckets may take."""
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.networks = array("I" if self.capacity < _WIDE else "Q", [0]) * self.slots
        """Bytes that the counters of each network take, by its number modulo `slots`."""
        self.used = 0
        self.apart = 0
        """How much of that is in tables and overflow buckets, and not in counters."""
        self.overflow = 0
        """How much is in overflow buckets."""
        self._tables = 0
        self._set_marks()

    def spill(self, size: int) -> None:
        """Count `size` bytes of overflow buckets."""
        self.overflow += size
        self.apart += size
        self.used += size

    def open_tables(self, number: int) -> None:
        """Count so many tables more, or fewer."""
        self._tables += number * TABLE_BYTES
        self.apart += number * TABLE_BYTES
        self.used += number * TABLE_BYTES
        self._set_marks()

    def may_open(self) -> bool:
        """Whether there is room for one table more."""
        return self.used - self.apart <= self._besides(self._tables + TABLE_BYTES)

    def crowded(self, network: int, room: int) -> bool:
        """Whether `network` must leave the `room` there is to others."""
        return room < 0 or self.networks[network % self.slots] > room

    def _set_marks(self) -> None:
        reserve = max(self.capacity // 25, min(self.capacity // 10, _SMALL_RESERVE_BYTES))
        self.growth_mark = self._besides(max(reserve, self._tables))
        """What counters may take, lists grown."""
        self.key_mark = self.growth_mark - self.capacity // 100
        """What they may take when a new one comes."""

    def _besides(self, tables: int) -> int:
        """The room for counters beside tables of that size."""
        fixed = self.slots * self.networks.itemsize
        return self.capacity - fixed - self.overflow_share - tables


def full_bytes(capacity: int) -> int:
    """From what size on a store of that capacity is full, for all that matters.

    It turns new keys away somewhat below its capacity, since it must be sure that what it takes in fits.
    """
    return int(Ledger(capacity).key_mark * _FULL_SHARE) - _FULL_MARGIN_BYTES


def parse_capacity(value: str | float, where: str) -> int:
    """A capacity in bytes: a number, or text such as `50MB` or `64MiB`.

    Raises:
        SettingsError: not a size, or too small to be of use.
    """
    match = _BYTES.fullmatch(str(value))
    if match is None:
        raise SettingsError([Problem(where, f"{value!r} is not a size", "write bytes, or 50MB, or 64MiB")])
    size = int(float(match[1]) * _UNITS[match[2].upper()])
    if size < MIN_CAPACITY_BYTES:
        raise SettingsError([Problem(where, f"{value!r} is too small", "at least 1MB is needed")])
    return size


def parse_interval(value: str | float, where: str) -> float:
    """Seconds between two cleanups.

    Raises:
        SettingsError: not a positive number of seconds.
    """
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < float("inf"):
        raise SettingsError([Problem(where, f"{value!r} is not a positive number of seconds", "write 60")])
    return seconds
