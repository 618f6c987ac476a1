"""The query log: what is decided when a query has run, and what happens to it afterwards.

    ExecutionIntake  on the thread that ran the query: hash, compare, count, enqueue
        │ bounded queue of what is kept, without its values
    tick             on the background thread: templates, rows, totals, N+1 patterns
        │
    QueryDelivery    writes what is due in batches ─► QueryBatchWriter

Until the secret of the keys is known, which is in the database, executions wait without a key. Executions for
which there is no room are counted by template, so that what is kept can be put in proportion.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from otel_ratelimit.core.deadline import is_over, within
from otel_ratelimit.core.waiting import LateLock
from otel_ratelimit.queries.collaborators import (
    REAL_CLOCKS,
    BackgroundThread,
    Caller,
    Clocks,
    QueryCounts,
    QueryLogListener,
)
from otel_ratelimit.queries.execution_intake import ExecutionIntake
from otel_ratelimit.queries.execution_totals import ExecutionTotals
from otel_ratelimit.queries.fingerprint import TemplateCache
from otel_ratelimit.queries.internal_errors import InternalErrors
from otel_ratelimit.queries.key_secret import KeySecret
from otel_ratelimit.queries.query_delivery import QueryDelivery
from otel_ratelimit.queries.records import QueryBatchWriter
from otel_ratelimit.queries.sampling import QuerySampler

CLOSE_SECONDS: Final = 5.0
"""How long `close` waits, for a write that is under way and for its own, together."""
_NOTHING: Final = QueryCounts(0, 0, 0)


class QueryLog:
    """Takes executions in, and writes what is kept of them in batches.

    Args:
        writer: where batches go.
        sampler: which keys are kept.
        secret: returns the secret of the keys; may ask the database; raises `DatabaseError`.
        caller: where executions come from.
        background: the thread that calls `tick`.
        listener: is called when it is known what became of executions.
        flush_interval: seconds after which what waits is written.
        clocks: what time it is.

    Attributes:
        intake: observes executions, on the threads that run them.
    """

    def __init__(
        self,
        writer: QueryBatchWriter,
        sampler: QuerySampler,
        secret: Callable[[], bytes],
        caller: Caller,
        background: BackgroundThread,
        listener: QueryLogListener,
        *,
        flush_interval: float,
        clocks: Clocks = REAL_CLOCKS,
    ) -> None:
        self._sampler = sampler
        self._listener = listener
        self._flush_interval = flush_interval
        self._clock = clocks.unix
        self._monotonic = clocks.monotonic
        self._template_of = TemplateCache()
        self._totals = ExecutionTotals()
        self._secret = KeySecret(secret, clocks.monotonic)
        self._delivery = QueryDelivery(
            writer, sampler, self._template_of, listener, caller.process, clocks, self._report_counts
        )
        self.intake = ExecutionIntake(
            sampler, self._totals, caller, background, listener, self._delivery.patterns.add, clocks
        )
        self._working = LateLock()
        self._errors = InternalErrors("queries could not be processed")
        self._next_flush = clocks.monotonic() + flush_interval
        self._is_closed = False
        self._was_whole = True
        self._counts = _NOTHING

    @property
    def waiting(self) -> int:
        """Rows that wait to be written, of at most `MAX_PENDING`."""
        return len(self._delivery.rows)

    def started_at(self, statement: str, database: str, started: float, *, has_failed: bool) -> None:
        """Count the execution that `intake` observes next in the minute of `started` (Unix time)."""
        self._totals.started_at(statement, database, started, has_failed=has_failed)

    def tick(self) -> None:
        """Process what has come in, and write what is due."""
        with self._working, self._errors:
            self._process()
            is_time = self._monotonic() >= self._next_flush
            if is_time and self._delivery.is_due:
                self._delivery.rows.complete_hot()
            if (is_time or self._delivery.has_full_batch) and self._delivery.is_due:
                self._flush()

    def flush(self, timeout: float = math.inf) -> bool:
        """Write everything now, in at most `timeout` seconds; whether all of it is written.

        Rows that are not written stay, and are written later; after `close` nothing is written.
        """
        if self._is_closed:
            return self._is_empty
        with within(timeout):
            return self._flush_in_time()

    def close(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Write what is left, in at most `timeout` seconds; whether all was written, also at an earlier call.

        Rows that cannot be written are counted as dropped, and logged.
        """
        if self._is_closed:
            return self._was_whole and self._is_empty
        with within(timeout):
            self._was_whole = self._flush_in_time()
        self._is_closed = True
        self._delivery.close(len(self.intake.queue) + len(self.intake.unkeyed))
        self.intake.queue.clear()
        self.intake.unkeyed.clear()
        return self._was_whole

    def reset_after_fork(self) -> None:
        """In a forked child: forget what waits, because the parent writes it."""
        self._working = LateLock()
        self.intake.reset_after_fork()
        self._totals.reset_after_fork()
        self._delivery.reset_after_fork()
        self._counts = _NOTHING

    @property
    def _is_empty(self) -> bool:
        return self._delivery.is_empty and not (self.intake.queue or self.intake.unkeyed)

    def _flush_in_time(self) -> bool:
        """Another thread may hold the lock while it waits for the database."""
        if not self._working.acquire_in_time():
            return False
        try:
            with self._errors:
                is_whole = self._process()
                self._delivery.rows.complete_hot()
                self._delivery.patterns.examine_all(self._clock())
                return self._flush() and is_whole
            return False
        finally:
            self._working.release()

    def _flush(self) -> bool:
        if not self._delivery.retry():
            return False
        self._next_flush = self._monotonic() + self._flush_interval
        return self._delivery.send_all()

    def _process(self) -> bool:
        """Whether all that had come in was processed: there was time, and a key for each execution."""
        now = self._clock()
        intake, sampler, delivery = self.intake, self._sampler, self._delivery
        keys = self._secret.newer(intake.keys)
        if keys is not None:
            intake.open(keys)
        intake.large = 0
        have_keys = self._process_unkeyed()
        for _ in range(len(intake.queue)):
            if is_over():  # a template takes up to milliseconds
                return False
            delivery.rows.keep(*intake.queue.popleft())
        totals = self._totals.drain(now, self._template_of)
        delivery.dropped += sum(total.dropped for total in totals)
        delivery.totals.add(totals)
        sampler.gather()
        if sampler.is_over(now):
            sampler.roll(now, delivery.rows.end_window())
            intake.open(intake.keys)
        elif sampler.promote(now):
            intake.open(intake.keys)
        delivery.patterns.examine(now)
        self._report_counts()
        return have_keys

    def _process_unkeyed(self) -> bool:
        """Hash what came in before the secret was known; whether each execution has a key."""
        intake, window = self.intake, self._sampler.window
        keys = intake.keys
        if keys is None:
            return not intake.unkeyed
        for _ in range(len(intake.unkeyed)):
            if is_over():
                return False
            context, sent, execution = intake.unkeyed.popleft()
            key = keys.key(context, sent)
            if key < window.threshold or key in window.hot:
                self._delivery.rows.keep(window, key, execution)
            else:
                intake.count_sampled_out()
        return True

    def _report_counts(self) -> None:
        now = QueryCounts(self._delivery.recorded, self.intake.sampled_out(), self._delivery.dropped)
        new = QueryCounts(*(a - b for a, b in zip(now, self._counts, strict=True)))
        self._counts = now
        if any(new):
            self._listener.counted(new)
