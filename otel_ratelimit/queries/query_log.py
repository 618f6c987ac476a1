"""The query log: what is decided when a query has run, and what is done with it afterwards.

    Intake        on the thread that ran the query: hash, compare, count, enqueue
        │ bounded queue, of what is kept and without its values
    tick          on the background thread: templates, rows, totals, patterns; writes what is due
        │
    QueryBatch ─► QueryBatchWriter

Until the secret of the keys is known, which lies in the database, executions wait without a key. Whatever
finds no room is counted, by template, so that what is kept can be put in proportion.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol
from uuid import UUID, uuid4

from otel_ratelimit.core.clock import monotonic_time, unix_time
from otel_ratelimit.core.deadline import is_over, within
from otel_ratelimit.core.delivery import Delivery, halves
from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.core.waiting import LateLock
from otel_ratelimit.queries.execution_key import ExecutionKeys
from otel_ratelimit.queries.faults import Faults
from otel_ratelimit.queries.intake import Intake, IntakeListener
from otel_ratelimit.queries.n_plus_one import Patterns
from otel_ratelimit.queries.records import (
    QueryBatch,
    QueryBatchWriter,
    QueryRow,
    QueryTemplate,
    RequestRepeats,
    TemplateTotal,
)
from otel_ratelimit.queries.requests import Burst, RequestQueries
from otel_ratelimit.queries.rows import HotRow, Told, cold_row
from otel_ratelimit.queries.sampling import QuerySampler, Window
from otel_ratelimit.queries.totals import PendingTotals, Totals, table_writes

_log = logging.getLogger(__name__)

MAX_PENDING: Final = 50_000
"""Rows that wait for a database that is away."""
BATCH_ROWS: Final = 1_000
"""Making JSON of them holds the interpreter's lock, for some milliseconds."""
BATCH_TOTALS: Final = 2_000
"""Templates are up to 10,000 characters each."""
LONGEST_SECONDS: Final = 600.0
"""As far from its window a hot key's execution may have begun to share a row."""
CLOSE_SECONDS: Final = 5.0
"""How long `close` waits, for a write that is under way and for its own, together."""
SECRET_RETRY_SECONDS: Final = 5.0
SECRET_SECONDS: Final = 60.0
"""How long a secret is used before the database is asked whether there is a newer one."""
KEY_REPLACED: Final = (
    "the secret in otel_ratelimit.hash_keys was deleted or replaced: queries are hashed with the new one from"
    " now on, and repeats of queries from before are not recognised"
)


class QueryCounts(NamedTuple):
    """Executions since the process began."""

    recorded: int
    sampled_out: int
    dropped: int


class QueryLogListener(IntakeListener, Protocol):
    """Who wants to know what became of executions; the rest of it is called on the background thread."""

    def counted(self, new: QueryCounts) -> None:
        """So many more."""

    def repeated(self, repeats: RequestRepeats) -> None:
        """Requests that ran one template again and again."""


class QueryLog:
    """Takes note of executions, and writes what is kept of them in batches.

    Args:
        writer: where batches go.
        sampler: which keys are kept.
        totals: counts every execution.
        template_of: the template of a text.
        secret: the secret of the keys; may ask the database; raises `DatabaseError`.
        request: the one that the current thread serves; None outside of one.
        trace_id: of what the current thread does, 0 for none; asked outside of requests.
        listener: told what became of executions.
        wake: asks for a `tick` soon.
        start: sees to it that there are ticks at all.
        process: names this process.
        flush_interval: seconds after which what is there is written.
        clock, monotonic, timer, new_id: instead of the real ones.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - each is a different collaborator
        self,
        writer: QueryBatchWriter,
        sampler: QuerySampler,
        totals: Totals,
        template_of: Callable[[str], QueryTemplate],
        secret: Callable[[], bytes],
        request: Callable[[], RequestQueries | None],
        trace_id: Callable[[], int],
        listener: QueryLogListener,
        wake: Callable[[], None],
        start: Callable[[], None],
        *,
        process: Callable[[], str],
        flush_interval: float,
        clock: Callable[[], float] = unix_time,
        monotonic: Callable[[], float] = monotonic_time,
        timer: Callable[[], float] = time.perf_counter,
        new_id: Callable[[], UUID] = uuid4,
    ) -> None:
        self._writer = writer
        self._sampler = sampler
        self._totals = totals
        self._template_of = template_of
        self._secret = secret
        self._listener = listener
        self._process = process
        self._flush_interval = flush_interval
        self._clock = clock
        self._monotonic = monotonic
        self._new_id = new_id
        self._ask_secret_at = 0.0
        self._patterns = Patterns(template_of)
        self.intake = Intake(
            *(sampler, totals, request, trace_id, listener, self._suspect, wake, start, clock, timer),
        )
        self._working = LateLock()
        self._faults = Faults("what was told of queries could not be worked up")
        self._delivery: Delivery[QueryBatch] = Delivery(
            writer,
            "query logs",
            written=self._written,
            refused=self._refused,
            split=self._split,
            part_written=self._part_written,
            monotonic=monotonic,
        )
        self._next_flush = monotonic() + flush_interval
        self._is_closed = False
        self._was_whole = True
        self._begin_anew()

    @property
    def counts(self) -> QueryCounts:
        """Executions since the process began, as far as they have been looked at."""
        return self._counts

    @property
    def waiting(self) -> int:
        """Rows that wait to be written, of at most `MAX_PENDING`."""
        return len(self._rows)

    @property
    def failing(self) -> str:
        """Why the last write failed; empty when it did not."""
        return self._delivery.failing

    def began(self, statement: str, database: str, started: float, *, has_failed: bool) -> None:
        """The execution that `intake` is told of next began at `started` (Unix time), and counts there."""
        self._totals.began(statement, database, started, has_failed=has_failed)

    def tick(self) -> None:
        """Work up what has come in, and write what is due."""
        with self._working, self._faults.said():
            self._work_up()
            over = self._monotonic() >= self._next_flush
            if over and self._delivery.is_due:
                self._end_hot_rows()
            if (over or len(self._rows) >= BATCH_ROWS) and self._delivery.is_due:
                self._flush()

    def flush(self, timeout: float = math.inf) -> bool:
        """Write all there is, now, in `timeout` seconds at most; whether all of it is written.

        What is not written stays, and is written later; after `close` nothing is.
        """
        if self._is_closed:
            return self._is_empty
        with within(timeout):
            return self._flush_in_time()

    def close(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Write what is left, in `timeout` seconds at most; whether all was written, also at a call before.

        What cannot be written is counted as dropped, and said.
        """
        if self._is_closed:
            return self._was_whole and self._is_empty
        with within(timeout):
            self._was_whole = self._flush_in_time()
        self._is_closed = True
        self._give_up()
        self._writer.close()
        return self._was_whole

    def reset_after_fork(self) -> None:
        """In a forked child: what is pending is the parent's to write."""
        self._working = LateLock()
        self.intake.reset_after_fork()
        self._totals.reset_after_fork()
        self._patterns = Patterns(self._template_of)
        self._delivery.forget()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._rows: list[QueryRow] = []
        self._hot: dict[tuple[object, ...], HotRow] = {}
        self._pending = PendingTotals()
        self._cold_in_window = 0
        self._kept = 0
        self._recorded = 0
        self._dropped = 0
        self._counts = QueryCounts(0, 0, 0)

    @property
    def _is_empty(self) -> bool:
        intake = self.intake
        waits = intake.queue or intake.unkeyed or self._rows or self._hot or self._pending or self._patterns
        return not (self._delivery.unwritten or waits)

    def _flush_in_time(self) -> bool:
        """Another thread may hold the lock while it waits for the database."""
        if not self._working.acquire_in_time():
            return False
        try:
            with self._faults.said():
                is_whole = self._work_up()
                self._end_hot_rows()
                self._patterns.settle(self._clock())
                return self._flush() and is_whole
            return False
        finally:
            self._working.release()

    def _work_up(self) -> bool:
        """Whether all that had come in was worked up: there was time, and a key for each execution."""
        now = self._clock()
        self._learn_secret()
        intake = self.intake
        intake.large = 0
        has_keys = self._key()
        for _ in range(len(intake.queue)):
            if is_over():  # a template takes up to milliseconds
                return False
            self._keep(*intake.queue.popleft())
        totals = self._totals.drain(now, self._template_of)
        self._dropped += sum(total.dropped for total in totals)
        self._pending.add(totals)
        self._sampler.gather()
        if self._sampler.is_over(now):
            self._end_hot_rows()
            self._sampler.roll(now, self._cold_in_window)
            self._cold_in_window = 0
            intake.open(intake.keys)
        elif self._sampler.promote(now):
            intake.open(intake.keys)
        self._patterns.look(now)
        self._tell()
        return has_keys

    def _learn_secret(self) -> None:
        now = self._monotonic()
        if now < self._ask_secret_at:
            return
        try:
            secret = self._secret()
        except DatabaseError as error:
            if not is_over():  # else it was asked in haste, which says nothing of the next time
                self._ask_secret_at = now + SECRET_RETRY_SECONDS
            _log.debug("the secret of the query log's keys cannot be read: %s", error)
            return
        self._ask_secret_at = now + SECRET_SECONDS
        keys = self.intake.keys
        if keys is None or not keys.has(secret):
            if keys is not None:
                _log.warning(KEY_REPLACED)
            self.intake.open(ExecutionKeys(secret))

    def _suspect(self, burst: Burst) -> None:
        self._patterns.add(burst)

    def _key(self) -> bool:
        """Give their keys to those that came before the secret did; whether all have one."""
        intake, window = self.intake, self._sampler.window
        keys = intake.keys
        if keys is None:
            return not intake.unkeyed
        for _ in range(len(intake.unkeyed)):
            if is_over():
                return False
            context, sent, told = intake.unkeyed.popleft()
            key = keys.key(context, sent)
            if key < window.threshold or key in window.hot:
                self._keep(window, key, told)
            else:
                intake.passed_over()
        return True

    def _keep(self, window: Window, key: bytes, told: Told) -> None:
        self._kept += 1
        if self._kept % window.noted_one_in == 0:
            self._sampler.seen(key)
        template = self._template_of(told.statement)
        if key not in window.hot:
            self._cold_in_window += 1
            self._add_row(cold_row(told, key, window.rate, template))
            return
        if not -LONGEST_SECONDS < told.started - window.start < LONGEST_SECONDS:
            # It has run for long, or somebody has set a clock: the seconds between would be a list of zeros.
            alone = HotRow(told, key, template)
            alone.add(told)
            self._add_row(alone.row())
            return
        alike = (window.start, key, told.status, told.in_txn, told.endpoint)
        row = self._hot.get(alike)
        if row is None:
            row = self._hot[alike] = HotRow(told, key, template)
        row.add(told)

    def _end_hot_rows(self) -> None:
        for row in self._hot.values():
            self._add_row(row.row())
        self._hot = {}

    def _add_row(self, row: QueryRow) -> None:
        if len(self._rows) < MAX_PENDING:
            self._rows.append(row)
            return
        self._dropped += row.n
        self._count_dropped(row)

    def _count_dropped(self, row: QueryRow) -> None:
        minute = int(self._clock() // 60) * 60
        self._pending.add([TemplateTotal(minute, row.template, row.database, 0, 0, row.n)])

    def _flush(self) -> bool:
        """Write all there is, a batch at a time."""
        if not self._delivery.try_again():
            return False
        self._next_flush = self._monotonic() + self._flush_interval
        while self._rows or self._pending or self._patterns:
            if is_over():
                return False
            batch = self._next_batch()
            if batch is not None and not self._delivery.send(batch):
                return False
        return True

    def _next_batch(self) -> QueryBatch | None:
        rows, self._rows = self._rows[:BATCH_ROWS], self._rows[BATCH_ROWS:]
        totals = self._pending.take(BATCH_TOTALS)
        repeats = self._patterns.take()
        for pattern in repeats:
            self._listener.repeated(pattern)
        if not rows and not totals and not repeats:
            return None
        return QueryBatch(self._new_id(), self._process(), tuple(rows), totals, table_writes(totals), repeats)

    def _written(self, batch: QueryBatch) -> None:
        self._recorded += _executions(batch.rows)
        self._tell()

    def _part_written(self, batch: QueryBatch, lost: frozenset[str]) -> None:
        if "query_logs" not in lost:
            self._written(batch)
            return
        self._dropped += _executions(batch.rows)
        for row in batch.rows:
            self._count_dropped(row)
        self._tell()

    def _refused(self, batches: Sequence[QueryBatch], reason: str) -> None:
        rows = [row for batch in batches for row in batch.rows]
        self._dropped += _executions(rows)
        for batch in batches:
            if batch.rows:  # of which it is about one, most likely: the totals are tried without them
                self._pending.add(batch.totals)
        for row in rows:
            self._count_dropped(row)
        _log.error(
            "%d executions are given up, because the database will not have them: %s",
            _executions(rows),
            reason,
        )

    def _split(self, batch: QueryBatch) -> list[QueryBatch]:
        found = halves(rows=batch.rows, totals=batch.totals, writes=batch.writes, repeats=batch.repeats)
        return [
            QueryBatch(
                self._new_id(),
                batch.process,
                *(half.get(table, ()) for table in ("rows", "totals", "writes", "repeats")),
            )
            for half in found
        ]

    def _give_up(self) -> None:
        unwritten = self._delivery.unwritten
        lost = _executions(self._rows) + sum(_executions(batch.rows) for batch in unwritten)
        lost += len(self.intake.queue) + len(self.intake.unkeyed)
        if lost or unwritten:
            self._dropped += lost
            _log.error(
                "%d executions in the query log could not be written before the end, or it is not known: %s",
                lost,
                self._delivery.failing,
            )
        self._tell()
        self.intake.queue.clear()
        self.intake.unkeyed.clear()
        self._delivery.forget()

    def _tell(self) -> None:
        now = QueryCounts(self._recorded, self.intake.sampled_out(), self._dropped)
        new = QueryCounts(*(a - b for a, b in zip(now, self._counts, strict=True)))
        self._counts = now
        if any(new):
            self._listener.counted(new)


def _executions(rows: Iterable[QueryRow]) -> int:
    return sum(row.n for row in rows)
