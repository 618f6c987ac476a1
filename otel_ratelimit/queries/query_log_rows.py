"""Rows of `query_logs`: one for each execution that was kept, or one for a window of a hot key."""

from __future__ import annotations

from otel_ratelimit.queries.execution import CapturedExecution
from otel_ratelimit.queries.records import QueryRow, QueryTemplate


def cold_row(execution: CapturedExecution, key: bytes, rate: float, template: QueryTemplate) -> QueryRow:
    """The row of one execution of a sampled key; `rate` of the cold keys were kept in its window."""
    return QueryRow(
        ts=execution.started,
        template=template,
        key=key,
        n=1,
        sample_rate=rate,
        tier="cold",
        duration_us=execution.nanoseconds // 1000,
        rows=execution.rows,
        result_bytes=execution.size,
        endpoint=execution.endpoint,
        trace_id=_hex(execution.trace_id),
        database=execution.database,
        in_txn=execution.in_txn,
        status=execution.status,
        buckets=None,
    )


class HotRow:
    """The executions of one hot key in one window, alike in status, transaction and endpoint."""

    __slots__ = ("_first", "_key", "_nanoseconds", "_rows", "_seconds", "_size", "_template")

    def __init__(self, execution: CapturedExecution, key: bytes, template: QueryTemplate) -> None:
        self._first = execution
        self._key = key
        self._template = template
        self._nanoseconds = 0
        self._rows: int | None = None
        self._size: int | None = None
        self._seconds: dict[int, int] = {}

    def add(self, execution: CapturedExecution) -> None:
        """Add an execution, which may have started before the first that was added."""
        if execution.started < self._first.started:
            self._first = execution
        self._nanoseconds += execution.nanoseconds
        self._rows = execution.rows if execution.rows is not None else self._rows
        self._size = execution.size if execution.size is not None else self._size
        second = int(execution.started // 1)
        self._seconds[second] = self._seconds.get(second, 0) + 1

    def row(self) -> QueryRow:
        """The row; at least one execution must have been added."""
        first, n = self._first, sum(self._seconds.values())
        begins, ends = min(self._seconds), max(self._seconds)
        return QueryRow(
            # The first bucket starts here.
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
