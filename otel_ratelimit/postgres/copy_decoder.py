"""Decodes rows of `query_logs` from the binary format of COPY into columns, many rows at a time.

PostgreSQL's documentation, COPY, "Binary Format": a header, then rows. A row has its number of columns, and
each column has its length and its bytes, in network order. An array has dimensions, flags, type, length,
first index, and each element with its length (arrayfuncs.c, `array_send`).
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
"""PostgreSQL counts from 2000-01-01."""

_COLUMNS: Final = (
    ("key", ">u8", 16),
    ("ts", ">i8", 8),
    ("template", ">i8", 8),
    ("database", ">i4", 4),
    ("n", ">i4", 4),
    ("rate", ">f8", 8),
    ("duration", ">i4", 4),
    ("bytes", ">i4", 4),
    ("flags", ">i4", 4),
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
"""After the length of the column and the header of the array."""
_LENGTH_AT: Final = ROW.itemsize + 4 + 3 * 4
_ELEMENT_BYTES: Final = 8
_INT: Final = Struct(">i")

TemplatePlaces = Callable[[Ints, Ints], Ints]
"""Maps template hashes and database numbers to places of templates."""


class CopyBlocks:
    """Receives pieces of any length, and passes whole rows on.

    Args:
        take: called with the bytes of rows, the last one possibly incomplete; returns how many bytes belong
            to whole rows.
    """

    def __init__(self, take: Callable[[bytes], int]) -> None:
        self._take = take
        self._rest = b""
        self._has_begun = False

    def write(self, piece: bytes) -> None:
        """Receive the next piece."""
        block = self._rest + piece
        if not self._has_begun and len(block) >= _HEADER_BYTES:
            self._has_begun = True
            block = block[_HEADER_BYTES:]
        self._rest = block[self._take(block) :] if self._has_begun else block

    def finish(self) -> None:
        """Check that everything was received.

        Raises:
            ValueError: the end is missing.
        """
        if self._rest != _END:
            raise ValueError(f"the output of COPY ends with {self._rest[:100]!r} and not with {_END!r}")


def executions(block: bytes, places: TemplatePlaces) -> Executions:
    """The whole rows of a block without buckets."""
    return _executions(np.frombuffer(block, dtype=ROW, count=len(block) // ROW.itemsize), places)


def hot_rows(block: bytes) -> list[int]:
    """Where each whole row of a block with buckets begins, and where the last one ends."""
    begins, at, size = [0], 0, len(block)
    while at + _LENGTH_AT + _INT.size <= size:
        (length,) = _INT.unpack_from(block, at + _LENGTH_AT)
        at += _BUCKETS_AT + length * _ELEMENT_BYTES
        if at > size:
            break
        begins.append(at)
    return begins


def hot_executions(block: bytes, begins: list[int], places: TemplatePlaces) -> HotExecutions:
    """The rows of a block with buckets, whose lengths differ.

    Args:
        block: its last row may be incomplete.
        begins: from `hot_rows`.
        places: of templates.
    """
    fixed = b"".join([block[at : at + ROW.itemsize] for at in begins[:-1]])
    rows = _executions(np.frombuffer(fixed, dtype=ROW), places)
    begin = np.array(begins, dtype=np.int64)
    length = (np.diff(begin) - _BUCKETS_AT) // _ELEMENT_BYTES
    row = np.repeat(np.arange(len(length)), length)
    within = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
    # All lengths are even, so that a count can be picked out as two halves.
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
