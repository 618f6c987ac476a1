"""Reads the output of COPY in a thread, so that the server and this process work at the same time.

libpq lets other threads run while it waits, and psycopg2 can do nothing else on a connection during COPY.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BufferedWriter, RawIOBase
from queue import Queue
from typing import TYPE_CHECKING, Final

import psycopg2
from psycopg2 import extensions

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_MAX_WAITING: Final = 1
"""Pieces that have been read and not taken yet."""


class CopyReader:
    """The bytes of one COPY; starts at once, and must be closed even if not all bytes were read.

    Args:
        connection: used for nothing else meanwhile.
        statement: COPY ... TO STDOUT.
        piece_bytes: approximate size of a piece.
    """

    def __init__(self, connection: extensions.connection, statement: bytes, piece_bytes: int) -> None:
        self._connection = connection
        self._statement = statement
        self._piece_bytes = piece_bytes
        self._pieces: Queue[bytes | None] = Queue(_MAX_WAITING)
        self._is_wanted = True
        self._is_over = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="otel-ratelimit-read-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[bytes]:
        """Pieces of any length, once.

        Raises:
            psycopg2.Error: COPY failed.
        """
        while (piece := self._pieces.get()) is not None:
            yield piece
        self._is_over = True
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop reading, and wait for the thread."""
        self._is_wanted = False
        if not self._is_over:
            # If the server cannot be reached, the thread notices that as well.
            with suppress(psycopg2.OperationalError):
                self._connection.cancel()
            while self._pieces.get() is not None:
                pass
            self._is_over = True
        self._thread.join()

    def _read(self) -> None:
        try:
            # One call of Python for many rows and not for each.
            with (
                self._connection.cursor() as cursor,
                BufferedWriter(_PieceWriter(self._hand_over), self._piece_bytes) as buffer,
            ):
                cursor.copy_expert(self._statement, buffer)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that takes the pieces
            self._error = error
        finally:
            self._pieces.put(None)

    def _hand_over(self, piece: bytes) -> None:
        if not self._is_wanted:
            raise _UnwantedError
        self._pieces.put(piece)


class _UnwantedError(Exception):
    """The reader was closed: the pieces are no longer needed."""


class _PieceWriter(RawIOBase):
    def __init__(self, hand_over: Callable[[bytes], None]) -> None:
        self._hand_over = hand_over

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        piece = bytes(data)
        self._hand_over(piece)
        return len(piece)
