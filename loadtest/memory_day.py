"""A day of the query log in memory, for tests and for logs from other sources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from otel_ratelimit.cache_advice.query_day import (
    FAILED,
    HOT,
    IN_TRANSACTION,
    MICROSECONDS,
    UNKNOWN,
    VOLATILE,
    WRITE,
    Count,
    Executions,
    HotExecutions,
    Seconds,
    Template,
    Writes,
)
from otel_ratelimit.core.periods import Period
from otel_ratelimit.queries.records import QueryRow, TableWrite, TemplateTotal


class QueryRowsDay:
    """The day that rows describe.

    Args:
        period: the day; rows outside of it are left out.
        rows: rows of `query_logs`, in any order.
        totals: rows of `query_totals`; a template without totals counts only its rows.
        writes: rows of `table_writes`.
    """

    def __init__(
        self,
        period: Period,
        rows: Iterable[QueryRow],
        totals: Iterable[TemplateTotal] = (),
        writes: Iterable[TableWrite] = (),
    ) -> None:
        self.period = period
        start, end = period.start.timestamp(), period.end.timestamp()
        self._rows = [row for row in rows if start <= row.ts < end]
        self._places: dict[tuple[int, str], int] = {}
        self._known: list[Template] = []
        sizes = _mean_sizes(self._rows)
        for row in self._rows:
            self._place(row, sizes)
        self.counts = self._counted([total for total in totals if start <= total.minute < end], sizes)
        self.writes = _by_table(write for write in writes if start <= write.minute < end)
        self.lowest_rate = min((row.sample_rate for row in self._rows if row.tier == "cold"), default=1.0)
        hot = {row.key for row in self._rows if row.tier == "hot"}
        self._hot = sorted((row for row in self._rows if row.key in hot), key=lambda row: row.ts)
        self._cold = sorted(
            (row for row in self._rows if row.key not in hot), key=lambda row: (row.key[:8], row.ts)
        )

    @property
    def templates(self) -> Sequence[Template]:
        """All templates of rows and counts."""
        return self._known

    def hot(self, take: Callable[[HotExecutions], None]) -> None:
        """All rows of keys that were ever hot, by time."""
        if self._hot:
            take(HotExecutions(self._columns(self._hot), _seconds(self._hot)))

    def cold(self, take: Callable[[Executions], None]) -> None:
        """All other rows, by key and then by time."""
        if self._cold:
            take(self._columns(self._cold))

    def _place(self, row: QueryRow | TemplateTotal, sizes: Mapping[tuple[int, str], float]) -> int:
        template = row.template
        known = (template.hash, row.database)
        if known not in self._places:
            self._places[known] = len(self._known)
            size = sizes.get(known, 0.0)
            self._known.append(Template(*known, template.text, template.operation, template.tables, size))
        return self._places[known]

    def _counted(
        self, totals: Sequence[TemplateTotal], sizes: Mapping[tuple[int, str], float]
    ) -> Mapping[int, Count]:
        counts: dict[int, Count] = {}
        for total in totals:
            place = self._place(total, sizes)
            n, failed, dropped = counts.get(place, Count(0, 0, 0))
            counts[place] = Count(n + total.n, failed + total.failed, dropped + total.dropped)
        return counts

    def _columns(self, rows: Sequence[QueryRow]) -> Executions:
        return Executions(
            np.array([int.from_bytes(row.key[:8], "big") for row in rows], dtype=np.uint64),
            np.array([round(row.ts * MICROSECONDS) for row in rows], dtype=np.int64),
            np.array([self._places[row.template.hash, row.database] for row in rows], dtype=np.int64),
            np.array([row.n for row in rows], dtype=np.int64),
            np.array([row.sample_rate for row in rows], dtype=np.float64),
            np.array([row.duration_us for row in rows], dtype=np.float64),
            np.array(
                [UNKNOWN if row.result_bytes is None else row.result_bytes for row in rows], dtype=np.int64
            ),
            np.array([_flags(row) for row in rows], dtype=np.int64),
        )


def _flags(row: QueryRow) -> int:
    return (
        HOT * (row.tier == "hot")
        + WRITE * row.template.is_write
        + VOLATILE * row.template.volatile
        + IN_TRANSACTION * row.in_txn
        + FAILED * (row.status != "ok")
    )


def _seconds(rows: Sequence[QueryRow]) -> Seconds:
    cells = [
        (place, int(row.ts) + after, n)
        for place, row in enumerate(rows)
        for after, n in enumerate(row.buckets or (row.n,))
        if n
    ]
    place, second, n = np.array(cells, dtype=np.int64).T
    return Seconds(place, second, n)


@dataclass(slots=True)
class _Sizes:
    weight: float = 0.0
    total: float = 0.0


def measured_weight(duration_us: float) -> float:
    """Executions that one with a measured result represents: one in four quick executions is measured."""
    return 4.0 if duration_us < 1_000 else 1.0


def _mean_sizes(rows: Iterable[QueryRow]) -> Mapping[tuple[int, str], float]:
    found: dict[tuple[int, str], _Sizes] = {}
    for row in rows:
        if row.result_bytes is not None:
            sizes = found.setdefault((row.template.hash, row.database), _Sizes())
            # A hot row has the size of its last execution: one measurement, whatever number it counts.
            weight = measured_weight(row.duration_us) / row.sample_rate
            sizes.weight += weight
            sizes.total += weight * row.result_bytes
    return {known: sizes.total / sizes.weight for known, sizes in found.items()}


def _by_table(writes: Iterable[TableWrite]) -> Mapping[tuple[str, str], Writes]:
    found: dict[tuple[str, str], dict[int, int]] = {}
    for write in writes:
        minutes = found.setdefault((write.database, write.table), {})
        minutes[write.minute] = minutes.get(write.minute, 0) + write.n
    return {
        table: Writes(
            np.array(sorted(minutes), dtype=np.int64),
            np.array([minutes[minute] for minute in sorted(minutes)], dtype=np.int64),
        )
        for table, minutes in found.items()
    }
