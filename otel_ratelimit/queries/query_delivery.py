"""Rows, totals and N+1 patterns go to the database in batches; what became of executions is counted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final
from uuid import uuid4

from otel_ratelimit.core.deadline import is_over
from otel_ratelimit.core.delivery import Delivery, halves
from otel_ratelimit.queries.collaborators import Clocks, QueryLogListener
from otel_ratelimit.queries.n_plus_one_patterns import NPlusOnePatterns
from otel_ratelimit.queries.pending_rows import PendingRows
from otel_ratelimit.queries.pending_totals import PendingTotals, table_writes
from otel_ratelimit.queries.records import (
    QueryBatch,
    QueryBatchWriter,
    QueryRow,
    QueryTemplate,
    TemplateTotal,
)
from otel_ratelimit.queries.sampling import QuerySampler

_logger = logging.getLogger(__name__)

BATCH_ROWS: Final = 1_000
"""Serialising them to JSON holds the interpreter's lock for some milliseconds."""
BATCH_TOTALS: Final = 2_000
"""Each has a template of up to 10,000 characters."""


class QueryDelivery:
    """Holds what waits to be written, and writes it; used by the background thread.

    Args:
        writer: where batches go.
        sampler: learns which keys were kept.
        template_of: the template of a text.
        listener: called with the patterns that are written.
        process: names this process.
        clocks: what time it is.
        changed: called when `recorded` or `dropped` has changed.

    Attributes:
        rows: rows that wait.
        totals: totals that wait.
        patterns: N+1 patterns that wait.
        recorded: executions written since the process started.
        dropped: executions lost since the process started.
    """

    def __init__(
        self,
        writer: QueryBatchWriter,
        sampler: QuerySampler,
        template_of: Callable[[str], QueryTemplate],
        listener: QueryLogListener,
        process: Callable[[], str],
        clocks: Clocks,
        changed: Callable[[], None],
    ) -> None:
        self._writer = writer
        self._listener = listener
        self._process = process
        self._clock = clocks.unix
        self._changed = changed
        self.rows = PendingRows(sampler, template_of, self._drop)
        self.totals = PendingTotals()
        self.patterns = NPlusOnePatterns(template_of)
        self.recorded = 0
        self.dropped = 0
        self._delivery: Delivery[QueryBatch] = Delivery(
            writer,
            "query logs",
            written=self._written,
            refused=self._rejected,
            split=self._split,
            part_written=self._part_written,
            monotonic=clocks.monotonic,
        )

    def reset_after_fork(self) -> None:
        """In a forked child: forget what waits, because the parent writes it."""
        self.rows.reset_after_fork()
        self.totals = PendingTotals()
        self.patterns.reset_after_fork()
        self.recorded = 0
        self.dropped = 0
        self._delivery.forget()

    @property
    def is_due(self) -> bool:
        """Whether a write may be tried: none has failed a moment ago."""
        return self._delivery.is_due

    @property
    def has_full_batch(self) -> bool:
        """Whether there are enough rows for a batch."""
        return len(self.rows) >= BATCH_ROWS

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not (
            self._delivery.unwritten or self.rows or self.rows.has_hot or self.totals or self.patterns
        )

    def retry(self) -> bool:
        """Try again to write batches that could not be written; whether none is left."""
        return self._delivery.try_again()

    def send_all(self) -> bool:
        """Write everything that waits, a batch at a time; whether all of it is written."""
        while self.rows or self.totals or self.patterns:
            if is_over():
                return False
            batch = self._next_batch()
            if batch is not None and not self._delivery.send(batch):
                return False
        return True

    def close(self, also_lost: int) -> None:
        """Drop what waits.

        Args:
            also_lost: executions that were not made into rows.
        """
        unwritten = self._delivery.unwritten
        lost = self.rows.executions + sum(_executions(batch.rows) for batch in unwritten) + also_lost
        if lost or unwritten:
            self.dropped += lost
            _logger.error(
                "%d executions in the query log could not be written before the end,"
                " or it is not known whether they were: %s",
                lost,
                self._delivery.failing,
            )
        self._changed()
        self._delivery.forget()
        self._writer.close()

    def _next_batch(self) -> QueryBatch | None:
        rows = self.rows.take(BATCH_ROWS)
        totals = self.totals.take(BATCH_TOTALS)
        repeats = self.patterns.take()
        for pattern in repeats:
            self._listener.repeated(pattern)
        if not rows and not totals and not repeats:
            return None
        return QueryBatch(uuid4(), self._process(), rows, totals, table_writes(totals), repeats)

    def _drop(self, row: QueryRow) -> None:
        """A row is lost."""
        self.dropped += row.n
        minute = int(self._clock() // 60) * 60
        self.totals.add([TemplateTotal(minute, row.template, row.database, 0, 0, row.n)])

    def _written(self, batch: QueryBatch) -> None:
        self.recorded += _executions(batch.rows)
        self._changed()

    def _part_written(self, batch: QueryBatch, lost: frozenset[str]) -> None:
        if "query_logs" not in lost:
            self._written(batch)
            return
        for row in batch.rows:
            self._drop(row)
        self._changed()

    def _rejected(self, batches: Sequence[QueryBatch], reason: str) -> None:
        rows = [row for batch in batches for row in batch.rows]
        for batch in batches:
            if batch.rows:  # the reason is one of these, most likely: the totals are tried without them
                self.totals.add(batch.totals)
        for row in rows:
            self._drop(row)
        _logger.error(
            "%d executions in the query log dropped: the database rejected them: %s",
            _executions(rows),
            reason,
        )

    def _split(self, batch: QueryBatch) -> list[QueryBatch]:
        found = halves(rows=batch.rows, totals=batch.totals, writes=batch.writes, repeats=batch.repeats)
        return [
            QueryBatch(
                uuid4(),
                batch.process,
                *(half.get(table, ()) for table in ("rows", "totals", "writes", "repeats")),
            )
            for half in found
        ]


def _executions(rows: Iterable[QueryRow]) -> int:
    return sum(row.n for row in rows)
