"""Executions that were kept, as rows: one each, or one for a window of a hot key."""

from __future__ import annotations

from typing import NamedTuple

from otel_ratelimit.query_records import QueryRow, QueryTemplate


class Kept(NamedTuple):
    """An execution that is kept."""

    rate: float
    """Share of the cold keys that are kept in its window."""
    key: bytes
    started: float
    duration_us: int
    rows: int | None
    size: int | None
    status: str
    in_txn: bool
    database: str
    endpoint: str | None
    trace_id: str | None


def cold_row(kept: Kept, template: QueryTemplate) -> QueryRow:
    """The row of one execution of a sampled key."""
    return QueryRow(
        ts=kept.started,
        template=template,
        key=kept.key,
        n=1,
        sample_rate=kept.rate,
        tier="cold",
        duration_us=kept.duration_us,
        rows=kept.rows,
        result_bytes=kept.size,
        endpoint=kept.endpoint,
        trace_id=kept.trace_id,
        database=kept.database,
        in_txn=kept.in_txn,
        status=kept.status,
        buckets=None,
    )


class HotRow:
    """The executions of one hot key in one window, alike in status, transaction and endpoint."""

    __slots__ = ("_duration_us", "_first", "_rows", "_seconds", "_size", "_template")

    def __init__(self, kept: Kept, template: QueryTemplate) -> None:
        self._first = kept
        self._template = template
        self._duration_us = 0
        self._rows: int | None = None
        self._size: int | None = None
        self._seconds: dict[int, int] = {}

    def add(self, kept: Kept) -> None:
        """One more execution, which may have begun before the first that was added."""
        if kept.started < self._first.started:
            self._first = kept
        self._duration_us += kept.duration_us
        self._rows = kept.rows if kept.rows is not None else self._rows
        self._size = kept.size if kept.size is not None else self._size
        second = int(kept.started // 1)
        self._seconds[second] = self._seconds.get(second, 0) + 1

    def row(self) -> QueryRow:
        """The row; at least one execution must have been added."""
        first, n = self._first, sum(self._seconds.values())
        begins, ends = min(self._seconds), max(self._seconds)
        return QueryRow(
            # The buckets are counted from here on.
            ts=first.started if n == 1 else float(begins),
            template=self._template,
            key=first.key,
            n=n,
            sample_rate=1.0,
            tier="hot",
            duration_us=self._duration_us // n,
            rows=self._rows,
            result_bytes=self._size,
            endpoint=first.endpoint,
            trace_id=first.trace_id,
            database=first.database,
            in_txn=first.in_txn,
            status=first.status,
            buckets=(
                None if n == 1 else tuple(self._seconds.get(second, 0) for second in range(begins, ends + 1))
            ),
        )
