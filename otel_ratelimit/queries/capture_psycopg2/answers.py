"""What came back, as a cache would hold it: asked of libpq, without fetching.

libpq, "Retrieving Query Result Information": `PQgetlength` is the length of one value as it was sent.
That takes a third of a microsecond, so of large results some rows speak for the others.
`PQresultMemorySize`, which costs nothing, counts libpq's own blocks and is twice the values for small
numbers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final

from psycopg2 import _psycopg  # the extension module: libpq is among what it is linked with

from otel_ratelimit.queries.execution import Answer, AnswerOf

VALUES_COUNTED: Final = 24
"""Results of as many values are counted wholly; of larger ones so many rows as have as many values."""


def answer_reader() -> AnswerOf:
    """What says how many rows a cursor's present result has, and how many bytes its values."""
    try:
        # PyDLL, which keeps the interpreter's lock: these only look something up.
        library = ctypes.PyDLL(_psycopg.__file__)
        ntuples, length = _function(library.PQntuples, 1), _function(library.PQgetlength, 3)
    except (OSError, AttributeError):  # psycopg2 linked in a way we do not know
        return _rows_alone

    def answer(cursor: Any, is_measured: bool) -> Answer:
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

    return answer


def _rows_alone(cursor: Any, _is_measured: bool) -> Answer:
    return (cursor.rowcount if cursor.rowcount >= 0 else None), None


def _function(function: Any, arguments: int) -> Callable[..., int]:
    function.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int][:arguments]
    function.restype = ctypes.c_int
    called: Callable[..., int] = function
    return called
