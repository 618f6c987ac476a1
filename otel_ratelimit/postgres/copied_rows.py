"""Rows of `query_logs` as COPY sends them in binary, read into columns without looking at any by itself.

PostgreSQL's documentation, COPY, "Binary Format": a header, then rows, each its number of columns and each
column its length and its bytes, in network order. An array's bytes: dimensions, flags, type, length, first
index, and each element with its length (arrayfuncs.c, `array_send`).
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

import numpy as np

from otel_ratelimit.cache_advice.query_day import MICROSECONDS, Executions, HotExecutions, Ints, Seconds

_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0"
_HEADER_BYTES: Final = len(_SIGNATURE) + 8
_END: Final = b"\xff\xff"
_EPOCH_US: Final = 946_684_800 * MICROSECONDS
"""Times are counted from 2000-01-01."""

_COLUMNS: Final = (
    *(("key", ">u8", 16), ("ts", ">i8", 8), ("template", ">i8", 8), ("database", ">i4", 4), ("n", ">i4", 4)),
    *(("rate", ">f8", 8), ("duration", ">i4", 4), ("bytes", ">i4", 4), ("flags", ">i4", 4)),
)


def _layout() -> np.dtype[np.void]:
    names, formats, offsets, at = [], [], [], 2
    for name, kind, size in _COLUMNS:
        names.append(name)
        formats.append(kind)
        offsets.append(at + 4)
        at += 4 + size
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": at})


ROW: Final = _layout()
_BUCKETS_AT: Final = ROW.itemsize + 4 + 5 * 4
"""After the column's length, and what stands before the elements."""
_LENGTH_AT: Final = ROW.itemsize + 4 + 3 * 4
_ELEMENT_BYTES: Final = 8
_INT: Final = Struct(">i")

TemplatePlaces = Callable[[Ints, Ints], Ints]
"""From hashes and numbers of databases to places of templates."""


class CopyBlocks:
    """Something to write to, in pieces of any length, which hands on whole rows.

    Args:
        take: given bytes of rows, the last of which may be there in part; answers how many belong to whole
            ones.
    """

    def __init__(self, take: Callable[[bytes], int]) -> None:
        self._take = take
        self._rest = b""
        self._has_begun = False

    def write(self, piece: bytes) -> None:
        """The next piece."""
        block = self._rest + piece
        if not self._has_begun and len(block) >= _HEADER_BYTES:
            self._has_begun = True
            block = block[_HEADER_BYTES:]
        self._rest = block[self._take(block) :] if self._has_begun else block

    def finish(self) -> None:
        """All was written.

        Raises:
            ValueError: there is less than was sent.
        """
        if self._rest != _END:
            raise ValueError(f"the copied rows end with {self._rest[:100]!r}, where the end is {_END!r}")


def executions(block: bytes, places: TemplatePlaces) -> Executions:
    """The whole rows of a block without buckets."""
    return _executions(np.frombuffer(block, dtype=ROW, count=len(block) // ROW.itemsize), places)


def hot_rows(block: bytes) -> list[int]:
    """Where each whole row of a block with buckets begins, and the last one ends."""
    begins, at, size = [0], 0, len(block)
    while at + _LENGTH_AT + _INT.size <= size:
        (length,) = _INT.unpack_from(block, at + _LENGTH_AT)
        at += _BUCKETS_AT + length * _ELEMENT_BYTES
        if at > size:
            break
        begins.append(at)
    return begins


def hot_executions(block: bytes, begins: list[int], places: TemplatePlaces) -> HotExecutions:
    """The rows of a block with buckets, of which no two need be of one length.

    Args:
        block: of which a row may be there in part.
        begins: as `hot_rows` says.
        places: of templates.
    """
    fixed = b"".join([block[at : at + ROW.itemsize] for at in begins[:-1]])
    rows = _executions(np.frombuffer(fixed, dtype=ROW), places)
    begin = np.array(begins, dtype=np.int64)
    length = (np.diff(begin) - _BUCKETS_AT) // _ELEMENT_BYTES
    row = np.repeat(np.arange(len(length)), length)
    within = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
    # All lengths are even, so a count is two halves that can be picked out.
    halves = np.frombuffer(block, dtype=">u2", count=len(block) // 2)
    at = (begin[row] + (_BUCKETS_AT + 4)) // 2 + within * (_ELEMENT_BYTES // 2)
    n = (halves[at].astype(np.int64) << 16) + halves[at + 1]
    chosen = np.flatnonzero(n > 0)
    row, within, n = row[chosen], within[chosen], n[chosen]
    return HotExecutions(rows, Seconds(row, rows.at[row] // MICROSECONDS + within, n))


def _executions(rows: np.ndarray[tuple[int], np.dtype[np.void]], places: TemplatePlaces) -> Executions:
    return Executions(
        rows["key"].astype(np.uint64),
        rows["ts"].astype(np.int64) + _EPOCH_US,
        places(rows["template"].astype(np.int64), rows["database"].astype(np.int64)),
        rows["n"].astype(np.int64),
        rows["rate"].astype(np.float64),
        rows["duration"].astype(np.float64),
        rows["bytes"].astype(np.int64),
        rows["flags"].astype(np.int64),
    )
