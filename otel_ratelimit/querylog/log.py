"""The query log: what is decided when a query has run, and what is done with it afterwards.

    executed      on the thread that ran the query: hash, compare, count, enqueue; no parsing, no I/O
        │ bounded queue
    tick          on the background thread: templates, rows, totals, patterns; writes what is due
        │
    QueryBatch ─► QueryBatchWriter

Until the secret of the keys is known, which lies in the database, executions wait in the queue without a key.
Whatever finds no room is counted, by template, so that what is kept can be put in proportion.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID, uuid4

from otel_ratelimit.delivery import Delivery
from otel_ratelimit.errors import DatabaseError
from otel_ratelimit.query_records import (
    QueryBatch,
    QueryBatchWriter,
    QueryRow,
    QueryTemplate,
    RequestRepeats,
    TemplateTotal,
)
from otel_ratelimit.querylog.execution import OK, Execution, SizeOf
from otel_ratelimit.querylog.keys import ExecutionKeys
from otel_ratelimit.querylog.patterns import Patterns
from otel_ratelimit.querylog.requests import RequestQueries
from otel_ratelimit.querylog.rows import HotRow, Kept, cold_row
from otel_ratelimit.querylog.sampling import QuerySampler, Window
from otel_ratelimit.querylog.totals import PendingTotals, Totals, table_writes

_log = logging.getLogger(__name__)

MOST_QUEUED: Final = 20_000
"""Executions between two ticks, which are at most a second apart."""
MOST_UNKEYED: Final = 2_000
"""Of those, without a key; they hold their parameters."""
MOST_PENDING: Final = 50_000
"""Rows that wait for a database that is away."""
BATCH_ROWS: Final = 1_000
"""Making JSON of them holds the interpreter's lock, for some milliseconds."""
NOTED_ONE_IN: Final = 4
"""Executions by which it is told which keys are hot: one in so many, of those kept and of those not alike."""
CLOSE_SECONDS: Final = 5.0
SECRET_RETRY_SECONDS: Final = 5.0
SECRET_SECONDS: Final = 3600.0
"""How long a secret is used before the database is asked whether there is a newer one."""

Origin = Callable[[], tuple[str | None, int]]
"""Endpoint and trace id (0 for none) of the current request; asked only where an execution is kept."""

_Queued = tuple[Window | None, bytes, Execution, float, int | None, str | None, int]
"""Window (None where the key is not known yet), key, execution, when it was told of, size, endpoint,
trace id."""


class QueryCounts(NamedTuple):
    """Executions since the process began."""

    recorded: int
    sampled_out: int
    dropped: int


class QueryLogListener(Protocol):
    """Who wants to know what became of executions; called on the background thread."""

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
        origin: of executions, on the thread that ran them.
        listener: told what became of executions.
        wake: asks for a `tick` soon.
        process: names this process.
        flush_interval: seconds after which what is there is written.
        clock, monotonic, new_id: instead of the real ones.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - each is a different collaborator
        self,
        writer: QueryBatchWriter,
        sampler: QuerySampler,
        totals: Totals,
        template_of: Callable[[str], QueryTemplate],
        secret: Callable[[], bytes],
        origin: Origin,
        listener: QueryLogListener,
        wake: Callable[[], None],
        *,
        process: Callable[[], str],
        flush_interval: float,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        new_id: Callable[[], UUID] = uuid4,
    ) -> None:
        self._writer = writer
        self._sampler = sampler
        self._totals = totals
        self._template_of = template_of
        self._secret = secret
        self._origin = origin
        self._listener = listener
        self._wake = wake
        self._process = process
        self._flush_interval = flush_interval
        self._clock = clock
        self._monotonic = monotonic
        self._new_id = new_id
        self._keys: ExecutionKeys | None = None
        self._ask_secret_at = 0.0
        self._queue: deque[_Queued] = deque()
        self._patterns = Patterns(template_of)
        self._working = threading.Lock()
        self._delivery: Delivery[QueryBatch] = Delivery(
            writer, "query logs", written=self._written, refused=self._refused, monotonic=monotonic
        )
        self._next_flush = monotonic() + flush_interval
        self._begin_anew()

    def executed(self, execution: Execution, size_of: SizeOf, result: Any) -> None:
        """Take note of an execution; quick, and without I/O. See `QueryObserver`."""
        step = self._totals.steps.get((execution.statement, execution.database))
        if step is not None:
            step()
        else:
            self._totals.unknown(execution.statement, execution.database)
        if execution.status != OK:
            self._totals.failed(execution.statement, execution.database)
        keys, queue = self._keys, self._queue
        if keys is None:
            if len(queue) < MOST_UNKEYED:
                queue.append((None, b"", execution, self._clock(), size_of(result), *self._origin()))
            else:
                self._totals.dropped(execution.statement, execution.database)
            return
        window = self._sampler.window
        state = (keys.begun.get(execution.context) or keys.begin(execution.context)).copy()
        state.update(execution.sent)
        key = state.digest()
        if key >= window.threshold and key not in window.hot:
            if next(self._sampled_out) % NOTED_ONE_IN == 0:
                self._sampler.note(key)
            return
        queued = len(queue)
        if queued >= MOST_QUEUED:
            self._totals.dropped(execution.statement, execution.database)
            return
        queue.append((window, key, execution, self._clock(), size_of(result), *self._origin()))
        if queued == MOST_QUEUED // 2:
            self._wake()

    def suspect(self, request: RequestQueries) -> None:
        """Take note of a request in which there may be a pattern."""
        self._patterns.add(request)

    @property
    def counts(self) -> QueryCounts:
        """Executions since the process began, as far as they have been looked at."""
        return self._told

    @property
    def failing(self) -> str:
        """Why the last write failed; empty when it did not."""
        return self._delivery.failing

    def tick(self) -> None:
        """Work up what has come in, and write what is due."""
        with self._working:
            self._work_up()
            over = self._monotonic() >= self._next_flush
            if (over or len(self._rows) >= BATCH_ROWS) and self._delivery.is_due:
                self._flush()

    def flush(self) -> bool:
        """Write all there is, now; whether that succeeded."""
        with self._working:
            self._work_up()
            self._end_window()
            self._patterns.settle(self._clock())
            return self._flush()

    def close(self) -> None:
        """Write what is left; what cannot be written is counted as dropped, and said."""
        if self._working.acquire(timeout=CLOSE_SECONDS):
            try:
                self._work_up()
                self._end_window()
                self._patterns.settle(self._clock())
                self._flush()
            finally:
                self._working.release()
        self._give_up()
        self._writer.close()

    def reset_after_fork(self) -> None:
        """In a forked child: what is pending is the parent's to write."""
        self._working = threading.Lock()
        self._queue.clear()
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
        self._sampled_out = count()
        self._sampled_out_reads = 0
        self._recorded = 0
        self._dropped = 0
        self._told = QueryCounts(0, 0, 0)

    def _work_up(self) -> None:
        now = self._clock()
        self._learn_secret()
        for _ in range(len(self._queue)):
            self._keep(self._queue.popleft())
        totals = self._totals.drain(now, self._template_of)
        self._dropped += sum(total.dropped for total in totals)
        self._pending.add(totals)
        self._sampler.gather()
        if self._sampler.is_over(now):
            self._end_window()
            self._sampler.roll(now, self._cold_in_window)
            self._cold_in_window = 0
        self._patterns.look(now)
        self._tell()

    def _learn_secret(self) -> None:
        now = self._monotonic()
        if now < self._ask_secret_at:
            return
        try:
            secret = self._secret()
        except DatabaseError as error:
            self._ask_secret_at = now + SECRET_RETRY_SECONDS
            _log.debug("the secret of the query log's keys cannot be read: %s", error)
            return
        self._ask_secret_at = now + SECRET_SECONDS
        if self._keys is None or not self._keys.has(secret):
            self._keys = ExecutionKeys(secret)

    def _keep(self, queued: _Queued) -> None:
        window, key, execution, *_ = queued
        if window is None:
            # It came before the secret did.
            if self._keys is None:
                self._queue.append(queued)
                return
            window, key = self._sampler.window, self._keys.key(execution.context, execution.sent)
            if key >= window.threshold and key not in window.hot:
                next(self._sampled_out)
                return
        self._kept += 1
        if self._kept % NOTED_ONE_IN == 0:
            self._sampler.seen(key)
        template = self._template_of(execution.statement)
        if key not in window.hot:
            self._cold_in_window += 1
            if len(self._rows) < MOST_PENDING:
                self._rows.append(cold_row(kept(queued, window, key), template))
            else:
                self._lose(template, execution.database)
            return
        hot = kept(queued, window, key)
        alike = (window.start, key, hot.status, hot.in_txn, hot.endpoint)
        row = self._hot.get(alike)
        if row is None:
            row = self._hot[alike] = HotRow(hot, template)
        row.add(hot)

    def _end_window(self) -> None:
        for row in self._hot.values():
            done = row.row()
            if len(self._rows) < MOST_PENDING:
                self._rows.append(done)
            else:
                self._lose(done.template, done.database, done.n)
        self._hot = {}

    def _lose(self, template: QueryTemplate, database: str, n: int = 1) -> None:
        self._dropped += n
        minute = int(self._clock() // 60) * 60
        self._pending.add([TemplateTotal(minute, template, database, 0, 0, n)])

    def _flush(self) -> bool:
        """Write all there is, a batch at a time."""
        if not self._delivery.try_again():
            return False
        self._next_flush = self._monotonic() + self._flush_interval
        while batch := self._next_batch():
            if not self._delivery.send(batch):
                return False
        return True

    def _next_batch(self) -> QueryBatch | None:
        rows, self._rows = self._rows[:BATCH_ROWS], self._rows[BATCH_ROWS:]
        totals = self._pending.take()
        repeats = self._patterns.take()
        for pattern in repeats:
            self._listener.repeated(pattern)
        if not rows and not totals and not repeats:
            return None
        return QueryBatch(self._new_id(), self._process(), tuple(rows), totals, table_writes(totals), repeats)

    def _written(self, batch: QueryBatch) -> None:
        self._recorded += _executions(batch.rows)
        self._tell()

    def _refused(self, batch: QueryBatch, reason: str) -> None:
        self._dropped += _executions(batch.rows)
        _log.error(
            "%d executions are given up, because the database will not have them: %s",
            _executions(batch.rows),
            reason,
        )

    def _give_up(self) -> None:
        unwritten = self._delivery.unwritten
        lost = _executions(self._rows) + (_executions(unwritten.rows) if unwritten is not None else 0)
        lost += len(self._queue)
        if lost or unwritten is not None:
            self._dropped += lost
            _log.error(
                "%d executions in the query log could not be written before the end, or it is not known: %s",
                lost,
                self._delivery.failing,
            )
        self._tell()
        self._queue.clear()
        self._delivery.forget()

    def _tell(self) -> None:
        self._sampled_out_reads += 1
        sampled_out = next(self._sampled_out) - self._sampled_out_reads + 1
        now = QueryCounts(self._recorded, sampled_out, self._dropped)
        new = QueryCounts(*(a - b for a, b in zip(now, self._told, strict=True)))
        self._told = now
        if any(new):
            self._listener.counted(new)


def kept(queued: _Queued, window: Window, key: bytes) -> Kept:
    """What was queued, without the values."""
    _, _, execution, ended, size, endpoint, trace_id = queued
    started = execution.started
    return Kept(
        rate=window.rate,
        key=key,
        started=ended - execution.duration_us / 1e6 if started is None else started,
        duration_us=execution.duration_us,
        rows=execution.rows,
        size=size,
        status=execution.status,
        in_txn=execution.in_txn,
        database=execution.database,
        endpoint=endpoint,
        trace_id=f"{trace_id:032x}" if trace_id else None,
    )


def _executions(rows: Iterable[QueryRow]) -> int:
    return sum(row.n for row in rows)
