"""Executions that were kept, as rows: one each, or one for a window of a hot key."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from otel_ratelimit.queries.records import QueryRow, QueryTemplate


class Told(NamedTuple):
    """An execution that is kept, as it was told of."""

    statement: str
    database: str
    started: float
    nanoseconds: int
    rows: int | None
    size: int | None
    status: str
    in_txn: bool
    endpoint: str | None
    trace_id: int


told: Final[Callable[[tuple[Any, ...]], Told]] = partial(tuple.__new__, Told)
"""`Told` of a tuple, in half the time of calling the class."""


def cold_row(told: Told, key: bytes, rate: float, template: QueryTemplate) -> QueryRow:
    """The row of one execution of a sampled key; `rate` of the cold keys were kept in its window."""
    return QueryRow(
        ts=told.started,
        template=template,
        key=key,
        n=1,
        sample_rate=rate,
        tier="cold",
        duration_us=told.nanoseconds // 1000,
        rows=told.rows,
        result_bytes=told.size,
        endpoint=told.endpoint,
        trace_id=_hex(told.trace_id),
        database=told.database,
        in_txn=told.in_txn,
        status=told.status,
        buckets=None,
    )


class HotRow:
    """The executions of one hot key in one window, alike in status, transaction and endpoint."""

    __slots__ = ("_first", "_key", "_nanoseconds", "_rows", "_seconds", "_size", "_template")

    def __init__(self, told: Told, key: bytes, template: QueryTemplate) -> None:
        self._first = told
        self._key = key
        self._template = template
        self._nanoseconds = 0
        self._rows: int | None = None
        self._size: int | None = None
        self._seconds: dict[int, int] = {}

    def add(self, told: Told) -> None:
        """One more execution, which may have begun before the first that was added."""
        if told.started < self._first.started:
            self._first = told
        self._nanoseconds += told.nanoseconds
        self._rows = told.rows if told.rows is not None else self._rows
        self._size = told.size if told.size is not None else self._size
        second = int(told.started // 1)
        self._seconds[second] = self._seconds.get(second, 0) + 1

    def row(self) -> QueryRow:
        """The row; at least one execution must have been added."""
        first, n = self._first, sum(self._seconds.values())
        begins, ends = min(self._seconds), max(self._seconds)
        return QueryRow(
            # The buckets are counted from here on.
            ts=first.started if n == 1 else float(begins),
            template=self._template,
            key=self._key,
            n=n,
            sample_rate=1.0,
            tier="hot",
            duration_us=self._nanoseconds // (n * 1000),
            rows=self._rows,
            result_bytes=self._size,
            endpoint=first.endpoint,
            trace_id=_hex(first.trace_id),
            database=first.database,
            in_txn=first.in_txn,
            status=first.status,
            buckets=(
                None if n == 1 else tuple(self._seconds.get(second, 0) for second in range(begins, ends + 1))
            ),
        )


def _hex(trace_id: int) -> str | None:
    return f"{trace_id:032x}" if trace_id else None
