"""A workload as the query log records it, with the product's own capture and the workload's clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from memory_day import QueryRowsDay

from otel_ratelimit.core.periods import Period
from otel_ratelimit.queries.collaborators import BackgroundThread, Caller, Clocks
from otel_ratelimit.queries.execution import FixedContext
from otel_ratelimit.queries.query_log import QueryLog
from otel_ratelimit.queries.records import QueryBatch
from otel_ratelimit.queries.sampling import QuerySampler

from workloads import Workload  # isort: skip

START = 1_767_225_600
"""Midnight UTC of a day."""
_SESSION = FixedContext(b"shop", "shop")
_TICK_SECONDS = 1.0


class _Tables:
    def __init__(self) -> None:
        self.batches: list[QueryBatch] = []

    def write(self, batch: QueryBatch) -> None:
        self.batches.append(batch)

    def close(self) -> None:
        pass


class _Nobody:
    def counted(self, new: object) -> None:
        pass

    def repeated(self, repeats: object) -> None:
        pass

    def suspected(self, request: object) -> None:
        pass

    def captured(self, seconds: float) -> None:
        pass


class _Process:
    """The query log of one process, with a simulated clock."""

    def __init__(self, rate: float, secret: bytes) -> None:
        self.now = float(START)
        self.tables = _Tables()
        self.log = QueryLog(
            self.tables,
            QuerySampler(rate),
            lambda: secret,
            Caller(lambda: "one", lambda: None, lambda: 0),
            BackgroundThread(lambda: None, lambda: None),
            _Nobody(),
            flush_interval=60.0,
            clocks=Clocks(lambda: self.now, lambda: self.now),
        )
        self.log.tick()


def statements(templates: int) -> tuple[list[str], list[str]]:
    """Reads and writes, by number of the template."""
    reads = [f"SELECT * FROM table_{number} WHERE id = %s" for number in range(templates)]
    writes = [f"UPDATE table_{number} SET name = %s WHERE id = %s" for number in range(templates)]
    return reads, writes


def sampled_day(
    workload: Workload, rate: float, secret: bytes, seconds: float, *, processes: int = 2
) -> QueryRowsDay:
    """The day as recorded by several processes that take turns.

    Args:
        workload: the day's reads and writes.
        rate: share of the keys that are kept.
        secret: secret of the key hashes; a different secret gives a different sample.
        seconds: length of the day.
        processes: number of processes.
    """
    running = [_Process(rate, secret) for _ in range(processes)]
    reads, writes = statements(int(workload.template.max()) + 1)
    events = _events(workload)
    next_tick = START + _TICK_SECONDS
    size, template = workload.size.tolist(), workload.template.tolist()
    for number, (at, key, nanoseconds, table) in enumerate(events):
        while at >= next_tick:
            for process in running:
                process.now = next_tick
                process.log.tick()
            next_tick += _TICK_SECONDS
        process = running[number % processes]
        process.now = at
        if table >= 0:
            process.log.intake.executed(
                writes[table], b"write %d" % number, _SESSION, 500_000, False, lambda _, __: (1, None), None
            )
            continue
        process.log.intake.executed(
            *(reads[template[key]], b"%d" % key, _SESSION, nanoseconds, False, _answer, size[key]),
            started=at,
        )
    for process in running:
        process.now = START + seconds
        process.log.flush()
    batches = [batch for process in running for batch in process.tables.batches]
    return QueryRowsDay(
        Period(datetime.fromtimestamp(START, UTC), datetime.fromtimestamp(START + seconds, UTC)),
        [row for batch in batches for row in batch.rows],
        [total for batch in batches for total in batch.totals],
        [write for batch in batches for write in batch.writes],
    )


def _answer(size: int, is_wanted: bool) -> tuple[int | None, int | None]:
    return 1, size if is_wanted else None


def _events(workload: Workload) -> Sequence[tuple[float, int, int, int]]:
    """Time, key or number, nanoseconds, table written or -1; by time."""
    reads, writes = len(workload.at), len(workload.write_at)
    at = np.concatenate((workload.at, workload.write_at)) + START
    key = np.concatenate((workload.key, np.zeros(writes, dtype=np.int64)))
    nanoseconds = np.concatenate((workload.duration_us * 1_000, np.zeros(writes))).astype(np.int64)
    table = np.concatenate((np.full(reads, -1), workload.write_table))
    order = np.argsort(at, kind="stable")
    columns = (at[order].tolist(), key[order].tolist(), nanoseconds[order].tolist(), table[order].tolist())
    return list(zip(*columns, strict=True))
