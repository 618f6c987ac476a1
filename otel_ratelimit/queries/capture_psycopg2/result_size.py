"""The size of a result, as a cache would hold it. libpq knows it, so nothing is fetched.

libpq, "Retrieving Query Result Information": `PQgetlength` is the length of one value as it was sent.
One call takes a third of a microsecond, so a large result is estimated from some of its rows.
`PQresultMemorySize`, which costs nothing, counts libpq's own blocks: for small numbers, twice the values.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final

from psycopg2 import _psycopg  # the extension module, which is linked with libpq

from otel_ratelimit.queries.execution import ResultSize, ResultSizeReader

VALUES_COUNTED: Final = 24
"""A result of this many values is counted whole; of a larger one, as many rows as have this many values."""


def result_size_reader() -> ResultSizeReader:
    """A function that returns how many rows a cursor's current result has, and how many bytes its values."""
    try:
        # PyDLL keeps the interpreter's lock, because these functions only look something up.
        library = ctypes.PyDLL(_psycopg.__file__)
        ntuples, length = _function(library.PQntuples, 1), _function(library.PQgetlength, 3)
    except (OSError, AttributeError):  # psycopg2 is linked in another way
        return _rows_alone

    def size_of(cursor: Any, is_measured: bool) -> ResultSize:
        touched = cursor.rowcount
        rows = touched if touched >= 0 else None
        if not is_measured:
            return rows, None
        columns, result = cursor.description, cursor.pgresult_ptr
        if columns is None or not result:
            return rows, None if not result else 0
        width = len(columns)
        if touched == 1 and width <= VALUES_COUNTED:
            return 1, sum([length(result, 0, column) for column in range(width)])
        there = ntuples(result)
        counted = max(VALUES_COUNTED // max(width, 1), 1)
        chosen = range(there) if there <= counted else [index * there // counted for index in range(counted)]
        found = sum([length(result, row, column) for row in chosen for column in range(width)])
        return rows, found if there <= counted else found * there // counted

    return size_of


def _rows_alone(cursor: Any, _is_measured: bool) -> ResultSize:
    return (cursor.rowcount if cursor.rowcount >= 0 else None), None


def _function(function: Any, arguments: int) -> Callable[..., int]:
    function.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int][:arguments]
    function.restype = ctypes.c_int
    called: Callable[..., int] = function
    return called
