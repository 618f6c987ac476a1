"""Reads what COPY sends in a thread of its own, so that the server and we work at the same time.

libpq lets other threads run while it waits, and psycopg2 can do nothing else on a connection that copies.
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
"""Pieces that nobody has taken yet."""


class CopyReader:
    """The bytes of one COPY, from now on; close it, whether they were all read or not.

    Args:
        connection: of which nothing else is asked meanwhile.
        statement: COPY ... TO STDOUT.
        piece_bytes: about as many at a time.
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
            psycopg2.Error: whatever the database refused.
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
            # Who cannot be told is gone, which the thread notices as well.
            with suppress(psycopg2.OperationalError):
                self._connection.cancel()
            while self._pieces.get() is not None:
                pass
            self._is_over = True
        self._thread.join()

    def _read(self) -> None:
        try:
            # Not a call of Python's for each row, but for many together.
            with (
                self._connection.cursor() as cursor,
                BufferedWriter(_Handing(self._hand_over), self._piece_bytes) as buffer,
            ):
                cursor.copy_expert(self._statement, buffer)
        except BaseException as error:  # noqa: BLE001 - raised where the pieces are taken
            self._error = error
        finally:
            self._pieces.put(None)

    def _hand_over(self, piece: bytes) -> None:
        if not self._is_wanted:
            raise _UnwantedError
        self._pieces.put(piece)


class _UnwantedError(Exception):
    """Nobody takes what is read any more."""


class _Handing(RawIOBase):
    def __init__(self, hand_over: Callable[[bytes], None]) -> None:
        self._hand_over = hand_over

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        piece = bytes(data)
        self._hand_over(piece)
        return len(piece)
