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

from otel_ratelimit.analysis.cache.columns import MICROSECONDS, Executions, HotExecutions, Ints, Seconds

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
_ARRAY_HEADER: Final = 4 + 5 * 4
"""The column's length, and what stands before the elements."""
_LENGTH_AT: Final = ROW.itemsize + 4 + 3 * 4
_ELEMENT_BYTES: Final = 8
_INT: Final = Struct(">i")

TemplatePlaces = Callable[[Ints, Ints], Ints]
"""From hashes and numbers of databases to places of templates."""


class CopyBlocks:
    """Something to write to, which hands on what was written, many rows at a time.

    Args:
        take: called with whole rows.
        block_bytes: about as many at a time.
    """

    def __init__(self, take: Callable[[bytes], None], block_bytes: int) -> None:
        self._take = take
        self._block_bytes = block_bytes
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """One row; the header and the end come by themselves or with one."""
        if data.startswith(_SIGNATURE):
            data = data[_HEADER_BYTES:]
        if data == _END:
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size >= self._block_bytes:
            self.flush()

    def flush(self) -> None:
        """Hand on what is there."""
        block, self._parts, self._size = b"".join(self._parts), [], 0
        if block:
            self._take(block)


def executions(block: bytes, places: TemplatePlaces) -> Executions:
    """The rows of a block without buckets."""
    return _executions(np.frombuffer(block, dtype=ROW), places)


def hot_executions(block: bytes, places: TemplatePlaces) -> HotExecutions:
    """The rows of a block with buckets, of which no two need be of one length."""
    begins, lengths, at = [], [], 0
    while at < len(block):
        (length,) = _INT.unpack_from(block, at + _LENGTH_AT)
        begins.append(at)
        lengths.append(length)
        at += ROW.itemsize + _ARRAY_HEADER + length * _ELEMENT_BYTES
    begin, length = np.array(begins, dtype=np.int64), np.array(lengths, dtype=np.int64)
    raw = np.frombuffer(block, dtype=np.uint8)
    fixed = raw[begin[:, None] + np.arange(ROW.itemsize)]
    rows = _executions(np.ascontiguousarray(fixed).view(ROW).reshape(-1), places)
    row = np.repeat(np.arange(len(begin)), length)
    within = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
    value_at = begin[row] + ROW.itemsize + _ARRAY_HEADER + within * _ELEMENT_BYTES + 4
    n = np.ascontiguousarray(raw[value_at[:, None] + np.arange(4)]).view(">i4").reshape(-1).astype(np.int64)
    second = rows.at[row] // MICROSECONDS + within
    chosen = n > 0
    return HotExecutions(rows, Seconds(row[chosen], second[chosen], n[chosen]))


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
