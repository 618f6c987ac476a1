"""How large a result is, as a cache would hold it: asked of libpq, without fetching.

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

from otel_ratelimit.querylog.execution import SizeOf

VALUES_COUNTED: Final = 24
"""Results of as many values are counted wholly; of larger ones so many rows as have as many values."""


def result_sizer() -> SizeOf:
    """What says how many bytes the values of a cursor's present result have; None where unknown."""
    try:
        # PyDLL, which keeps the interpreter's lock: these only look something up.
        library = ctypes.PyDLL(_psycopg.__file__)
        ntuples, nfields = _function(library.PQntuples, 1), _function(library.PQnfields, 1)
        length = _function(library.PQgetlength, 3)
    except (OSError, AttributeError):  # psycopg2 linked in a way we do not know
        return lambda _: None

    def size(cursor: Any) -> int | None:
        result = cursor.pgresult_ptr
        if not result:
            return None
        rows, columns = ntuples(result), range(nfields(result))
        counted = max(VALUES_COUNTED // max(len(columns), 1), 1)
        chosen = range(rows) if rows <= counted else [index * rows // counted for index in range(counted)]
        found = sum([length(result, row, column) for row in chosen for column in columns])
        return found if rows <= counted else found * rows // counted

    return size


def _function(function: Any, arguments: int) -> Callable[..., int]:
    function.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int][:arguments]
    function.restype = ctypes.c_int
    called: Callable[..., int] = function
    return called
