"""The parts of a zone and their offsets in its memory.

    head        one page: what the zone is, its lock, its figures (`head`)
    journal     the change that is being made (`journal`)
    processes   one row for each process that shares the zone (`processes`)
    tables      one entry for each limit (`tables`)
    networks    how many counters each network has
    pages       how many slots are in use in each page of the next two parts
    slots       the counters (`slots`)
    overflow    the overflow buckets, which are slots too

All parts begin at a multiple of 4,096 bytes. All fields are 8 bytes wide, so that each is written by one
instruction: a process that is killed leaves it as it was before or as it is after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otel_ratelimit.storage.zone.journal import JOURNAL_BYTES

VERSION: Final = 1
"""Counts up whenever the layout or the meaning of a field changes."""
PAGE_BYTES: Final = 4096
WORD_BYTES: Final = 8
SLOT_BYTES: Final = 32
BUCKET_BYTES: Final = 256
"""Eight slots."""
PAGE_SLOTS: Final = PAGE_BYTES // SLOT_BYTES
TABLE_BYTES: Final = 192
PROCESS_BYTES: Final = 128
MAX_PROCESSES: Final = 256
"""Rows; the first one stands for processes that have ended."""

_OVERFLOW_PERCENT: Final = 6
_TABLES_PERCENT: Final = 3
_BYTES_PER_NETWORK: Final = 768
_MAX_NETWORKS: Final = 65_521
"""The largest prime below 2 ** 16: a slot has 16 bits for its network."""
_MAX_TABLES: Final = 1 << 16
_FULL_PERCENT: Final = 90
"""New counters are accepted up to this share of the slots; above it, both buckets of a key may be full."""

_OWN_PERCENT: Final = 75
"""The rest of the overflow buckets is for those that networks share."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets (`*_at`, bytes) and sizes (numbers of entries) of the parts."""

    size: int
    """Bytes of the whole zone."""
    tables: int
    networks: int
    pages: int
    buckets: int
    overflow_buckets: int
    journal_at: int
    processes_at: int
    tables_at: int
    networks_at: int
    pages_at: int
    buckets_at: int
    overflow_at: int

    @property
    def key_mark(self) -> int:
        """The most slots that may be in use when a counter is opened."""
        return self.buckets * BUCKET_BYTES // SLOT_BYTES * _FULL_PERCENT // 100

    @property
    def overflow_mark(self) -> int:
        """The most overflow buckets that may be in use when a network gets one of its own."""
        return self.overflow_buckets * BUCKET_BYTES // SLOT_BYTES * _OWN_PERCENT // 100

    @property
    def bytes_per_counter(self) -> float:
        """A slot, and its part of the slots that must stay free."""
        return SLOT_BYTES * 100 / _FULL_PERCENT

    @property
    def fixed_bytes(self) -> int:
        """Bytes that are not slots for counters."""
        return self.size - self.buckets * BUCKET_BYTES


def layout_for(size: int) -> Layout:
    """The layout of a zone of `size` bytes, at least 1 MB."""
    tables = min(max(size * _TABLES_PERCENT // 100 // TABLE_BYTES, 64), _MAX_TABLES)
    networks = min(size // _BYTES_PER_NETWORK | 1, _MAX_NETWORKS)
    journal_at = PAGE_BYTES
    processes_at = journal_at + _whole_pages(JOURNAL_BYTES)
    tables_at = processes_at + _whole_pages(MAX_PROCESSES * PROCESS_BYTES)
    networks_at = tables_at + _whole_pages(tables * TABLE_BYTES)
    pages_at = networks_at + _whole_pages(networks * WORD_BYTES)
    slot_pages = (size - pages_at - PAGE_BYTES) // (PAGE_BYTES + WORD_BYTES)
    overflow_pages = max(size * _OVERFLOW_PERCENT // 100 // PAGE_BYTES, 1)
    buckets_at = pages_at + _whole_pages(slot_pages * WORD_BYTES)
    overflow_at = buckets_at + (slot_pages - overflow_pages) * PAGE_BYTES
    return Layout(
        size=size,
        tables=tables,
        networks=networks,
        pages=slot_pages,
        buckets=(slot_pages - overflow_pages) * PAGE_BYTES // BUCKET_BYTES,
        overflow_buckets=overflow_pages * PAGE_BYTES // BUCKET_BYTES,
        journal_at=journal_at,
        processes_at=processes_at,
        tables_at=tables_at,
        networks_at=networks_at,
        pages_at=pages_at,
        buckets_at=buckets_at,
        overflow_at=overflow_at,
    )


def _whole_pages(size: int) -> int:
    return -(-size // PAGE_BYTES) * PAGE_BYTES
