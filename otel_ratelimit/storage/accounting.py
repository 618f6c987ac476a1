"""What counters weigh, and the ledger that adds it up in O(1) per change.

Sizes are those CPython really takes: `__sizeof__` of the very objects, rounded up as its allocator
does (`Objects/obmalloc.c`: multiples of 16 bytes). Nothing is estimated that can be asked.
"""

from __future__ import annotations

import re
import sys
from typing import Final

from otel_ratelimit.errors import Problem, SettingsError
from otel_ratelimit.thresholds import MEGABYTE

_BLOCK: Final = 16


def rounded(size: int) -> int:
    """`size` bytes as the allocator hands them out."""
    return (size + _BLOCK - 1) & -_BLOCK


KEY_BYTES_MAX: Final = 192
"""No key with its value takes more, the list of a moving window excepted."""
INTEGER_BYTES: Final = rounded(sys.getsizeof(1 << 29))
"""A small integer that CPython does not share (those above 256)."""
SHARD_BYTES: Final = 32
"""What a dict takes beyond its `__sizeof__`: the collector's header and the allocator's."""
TABLE_BYTES: Final = 1600
"""A table with one empty shard, its directory, its name and the place of its overflow bucket."""
OVERFLOW_BYTES: Final = 240
"""One overflow bucket: its name, its value, its entry."""

MIN_CAPACITY_BYTES: Final = MEGABYTE
_FULL_SHARE: Final = 0.96
_FULL_MARGIN_BYTES: Final = 150_000

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
    """Bytes in use against a capacity that is never exceeded.

    Three marks below it keep the order in which things may still grow when room runs out: new
    keys stop first, then the lists of moving windows, last the tables of new limits, so that
    a policy reloaded in the middle of a flood finds room for its tables.
    """

    __slots__ = ("capacity", "growth_mark", "key_mark", "used")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.key_mark = capacity - capacity // 50
        self.growth_mark = capacity - capacity // 100
        self.used = 0

    def may_grow(self, size: int) -> bool:
        """Whether a live counter may take `size` bytes more."""
        return self.used + size <= self.growth_mark

    def may_open(self) -> bool:
        """Whether there is room for one table more."""
        return self.used + TABLE_BYTES <= self.capacity


def full_bytes(capacity: int) -> int:
    """From what size on a store of that capacity is full, for all that matters.

    It turns new keys away somewhat below its capacity, since it must be sure that what it takes in fits.
    """
    return int(capacity * _FULL_SHARE) - _FULL_MARGIN_BYTES


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
