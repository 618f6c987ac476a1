"""Writes sums of decisions in batches, and keeps them while the database is unavailable.

    decision ─► UsageBuffer, ViolationBuffer      the request's thread: add, nothing else
                      │ batch full, or flush interval over
                      ▼
                   Batch ─► BatchWriter           the background thread

While a batch cannot be written (see `core/delivery.py`), the buffers continue to sum up within their bounds,
so no request waits and nothing is lost. Rows that cannot be written when the process ends are counted as
dropped, and logged.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol
from uuid import UUID, uuid4

from otel_ratelimit.analytics.records import Batch, BatchWriter, UsageRow, Violation
from otel_ratelimit.analytics.usage_buffer import UsageBuffer
from otel_ratelimit.analytics.violation_buffer import USER_AGENT_CHARACTERS, ViolationBuffer
from otel_ratelimit.core.clock import monotonic_time
from otel_ratelimit.core.deadline import within
from otel_ratelimit.core.decision import REFUSING, Decision, DecisionKind
from otel_ratelimit.core.delivery import Delivery, halves
from otel_ratelimit.core.waiting import LateLock

_logger = logging.getLogger(__name__)

UNKNOWN_CLIENT: Final = "unknown"
CLOSE_SECONDS: Final = 5.0
"""How long `close` waits at most, for a write that is in progress and for its own write together."""


class RecorderState(NamedTuple):
    """Counts of the recorder since the process began."""

    recorded: int
    """Violations that were written."""
    dropped: int
    """Violations that were lost."""
    pending: int
    """Violations that are not written yet."""
    failing: str
    """Why the last write failed; empty if it succeeded."""


class RecorderListener(Protocol):
    """Is called with the number of violations that were written or lost."""

    def recorded(self, violations: int) -> None:
        """`violations` were written."""

    def dropped(self, violations: int) -> None:
        """`violations` were lost."""


class Recorder:
    """Records decisions, and writes them in batches.

    `decided` is called on the request's thread; `tick` on the background thread, about once a second and
    after `wake`; `close` at the end.

    Args:
        writer: writes the batches.
        listener: is called with the numbers of violations that were written or lost.
        wake: asks for a `tick` soon; called on the request's thread.
        batch_size: rows that make a batch.
        flush_interval: seconds after which everything is written, even if it is less than a batch.
        monotonic: instead of `time.monotonic`.
        new_id: makes ids of batches.
    """

    def __init__(
        self,
        writer: BatchWriter,
        listener: RecorderListener,
        wake: Callable[[], None],
        *,
        batch_size: int,
        flush_interval: float,
        monotonic: Callable[[], float] = monotonic_time,
        new_id: Callable[[], UUID] = uuid4,
    ) -> None:
        self._writer = writer
        self._listener = listener
        self._wake = wake
        self._flush_interval = flush_interval
        self._monotonic = monotonic
        self._new_id = new_id
        self._violations = ViolationBuffer(batch_size)
        self._usage = UsageBuffer()
        self._writing = LateLock()
        self._delivery = Delivery(
            writer,
            "analytics",
            written=self._written,
            refused=self._rejected,
            split=self._split,
            part_written=self._part_written,
            monotonic=monotonic,
        )
        self._is_full = False
        self._next_flush = monotonic() + flush_interval
        self._recorded = 0
        self._dropped = 0
        self._was_whole = True

    @property
    def state(self) -> RecorderState:
        """The present counts."""
        pending = self._violations.pending + sum(batch.recorded for batch in self._delivery.unwritten)
        return RecorderState(self._recorded, self._dropped, pending, self._delivery.failing)

    @property
    def waiting(self) -> int:
        """Rows of violations that wait; from `MAX_DISTINCT` rows on, clients are summed up as `<other>`."""
        return self._violations.rows + sum(len(batch.violations) for batch in self._delivery.unwritten)

    def decided(self, decision: Decision, user_agent: str | None, trace_id: str | None) -> None:
        """Record a decision; quick, and without I/O.

        Args:
            decision: the decision.
            user_agent: user agent of the request; only recorded if it was refused.
            trace_id: trace of the request, 32 hex digits; only recorded if it was refused.
        """
        self._usage.add(decision)
        if decision.kind in REFUSING:
            self.violated(_violation(decision, user_agent, trace_id))

    def violated(self, violation: Violation) -> None:
        """Record a violation without a decision."""
        if self._violations.add(violation) and not self._is_full:
            self._is_full = True
            self._wake()

    def tick(self) -> None:
        """Write a full batch, everything after the flush interval, or a batch that failed before."""
        if not self._delivery.is_due:
            return
        interval_over = self._monotonic() >= self._next_flush
        if interval_over or self._is_full or self._delivery.unwritten:
            with self._writing:
                self._flush(everything=interval_over)

    def flush(self, timeout: float = math.inf) -> bool:
        """Write everything now, in at most `timeout` seconds; whether everything was written.

        The rest stays, and is written later.
        """
        with within(timeout):
            return self._flush_in_time()

    def close(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Write the rest, in at most `timeout` seconds; whether this and all earlier calls wrote everything.

        Rows that cannot be written are counted as dropped.
        """
        with within(timeout):
            self._was_whole &= self._flush_in_time()
        self._drop_the_rest()
        self._violations.clear()
        self._usage.clear()
        self._delivery.forget()
        self._writer.close()
        return self._was_whole

    def reset_after_fork(self) -> None:
        """In a forked child: start empty, because the parent writes what is pending."""
        self._writing = LateLock()
        self._violations.clear()
        self._usage.clear()
        self._delivery.forget()
        self._is_full = False
        self._recorded = self._dropped = 0
        self._was_whole = True

    def _flush_in_time(self) -> bool:
        """Another thread may hold the lock while it waits for the database."""
        if not self._writing.acquire_in_time():
            return False
        try:
            return self._flush(everything=True)
        finally:
            self._writing.release()

    def _drop_the_rest(self) -> None:
        """Count what is left at the end as dropped, and log it."""
        buffered = Batch(self._new_id(), self._violations.take(everything=True), self._usage.take())
        unwritten, failing = self._delivery.unwritten, self._delivery.failing
        if self._delivery.may_be_written:
            self._lost(unwritten[0], "it is not known whether %s were written before the end: %s", failing)
            unwritten = unwritten[1:]
        left = self._together((buffered, *unwritten))
        if left.violations or left.usage:
            self._lost(left, "%s could not be written before the end: %s", failing)

    def _lost(self, batch: Batch, sentence: str, reason: str) -> None:
        if batch.recorded:
            self._dropped += batch.recorded
            self._listener.dropped(batch.recorded)
        requests = sum(row.requests for row in batch.usage)
        what = f"{batch.recorded} violations and the usage of {requests} requests"
        _logger.error(sentence, what, reason)

    def _flush(self, *, everything: bool) -> bool:
        if not self._delivery.try_again():
            return False
        self._is_full = False
        violations = self._violations.take(everything=everything)
        usage: tuple[UsageRow, ...] = ()
        if everything:
            self._next_flush = self._monotonic() + self._flush_interval
            usage = self._usage.take()
        if not violations and not usage:
            return True
        return self._delivery.send(Batch(self._new_id(), violations, usage))

    def _written(self, batch: Batch) -> None:
        self._recorded += batch.recorded
        self._listener.recorded(batch.recorded)

    def _part_written(self, batch: Batch, lost: frozenset[str]) -> None:
        if "rate_limit_analytics" not in lost:
            self._written(batch)
        elif batch.recorded:
            self._dropped += batch.recorded
            self._listener.dropped(batch.recorded)

    def _rejected(self, batches: Sequence[Batch], reason: str) -> None:
        sentence = "%s dropped: the database rejected them: %s"
        self._lost(self._together(batches), sentence, reason)

    def _split(self, batch: Batch) -> list[Batch]:
        return [
            Batch(self._new_id(), half.get("violations", ()), half.get("usage", ()))
            for half in halves(violations=batch.violations, usage=batch.usage)
        ]

    def _together(self, batches: Sequence[Batch]) -> Batch:
        violations = tuple(row for batch in batches for row in batch.violations)
        return Batch(self._new_id(), violations, tuple(row for batch in batches for row in batch.usage))


def _violation(decision: Decision, user_agent: str | None, trace_id: str | None) -> Violation:
    window, state = decision.windows[decision.tightest], decision.states[decision.tightest]
    plan, identity = decision.plan, decision.identity
    return Violation(
        occurred_at=decision.at,
        last_at=decision.at,
        endpoint=plan.route,
        method=plan.method,
        client=identity.address if identity is not None else UNKNOWN_CLIENT,
        user_id=identity.user if identity is not None else None,
        tier=plan.tier,
        limit_text=window.text,
        limit_value=window.amount,
        limit_seconds=window.seconds,
        current_count=state.used,
        user_agent=user_agent[:USER_AGENT_CHARACTERS] if user_agent else None,
        trace_id=trace_id,
        shadow=decision.kind is DecisionKind.SHADOW_BLOCKED,
    )
