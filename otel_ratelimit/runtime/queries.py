"""Records the application's queries: the capture reports them, and the background thread writes them."""

from __future__ import annotations

import weakref
from typing import Final

from opentelemetry.trace import get_tracer_provider

from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.lifecycle import at_exit, at_fork
from otel_ratelimit.queries.capture_psycopg2 import Capture, CaptureTarget
from otel_ratelimit.queries.query_log import QueryLog
from otel_ratelimit.telemetry import QueueTelemetry
from otel_ratelimit.telemetry.logs.start_logger import START
from otel_ratelimit.telemetry.queries import QuerySpanProcessor, span_processor_of

QUERIES_TASK: Final = "query log"

_waiting: Final[list[weakref.ref[Queries]]] = []
"""Those that want to observe queries while another one does; the first is the next one."""


class Queries:
    """Records the application's queries.

    Args:
        capture: reports them, until this is closed.
        log: decides which are kept, and writes them.
        worker: the process's background thread.
        tick_seconds: how often the log looks whether there is something to write.
        sample_rate: share of different queries that is kept, for the line at the start.
        queue: the log's queue as metrics, until this is closed.
    """

    def __init__(
        self,
        capture: Capture,
        log: QueryLog,
        worker: BackgroundWorker,
        *,
        tick_seconds: float,
        sample_rate: float,
        queue: QueueTelemetry,
    ) -> None:
        self.log = log
        self._capture = capture
        self._target = capture.target
        self._worker = worker
        self._sample_rate = sample_rate
        self._queue = queue
        self._has_begun = False
        self._processor: QuerySpanProcessor | None = None
        self._is_closed = False
        worker.every(tick_seconds, QUERIES_TASK, log.tick, start=False)
        at_fork(in_child=log.reset_after_fork)
        at_exit(self.close)
        # By its id: the intake leads to the background thread's tasks, and they may lead back to this object.
        weakref.finalize(self, _let_go, capture.target, id(log.intake)).atexit = False

    def claim(self) -> bool:
        """Observe queries, or do so once no other object does; whether this one does now."""
        if self._target.observer is None:
            self._target.observer = self.log.intake
            self._begin()
        if self._target.observer is self.log.intake:
            return True
        _waiting[:] = [each for each in _waiting if each() not in {None, self}]
        _waiting.append(weakref.ref(self))
        return False

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._is_closed

    def close(self) -> bool:
        """Write what is left, and release the capture; whether all was written."""
        self._worker.cancel(QUERIES_TASK)
        self._is_closed = True
        if self._target.observer is self.log.intake:
            self._target.observer = None
            _hand_over()
        _waiting[:] = [each for each in _waiting if each() not in {None, self}]
        self._capture.release()
        try:
            return self.log.close()
        finally:
            self._queue.retire()
            if self._processor is not None:
                self._processor.retire(self.log)

    def _begin(self) -> None:
        if self._has_begun:
            return
        self._has_begun = True
        self._processor = span_processor_of(get_tracer_provider())
        if self._processor is not None:
            self._processor.serve(self.log)
        START.info(
            "queries through psycopg2 are recorded, sampling %.3g %% of distinct queries",
            100 * self._sample_rate,
        )


def _let_go(target: CaptureTarget, observer: int) -> None:
    """Where the object was collected without a `close`, let another one claim the target."""
    if id(target.observer) == observer:
        target.observer = None


def _hand_over() -> None:
    """Let the next one that waits observe queries."""
    while _waiting:
        following = _waiting.pop(0)()
        if following is not None and not following.is_closed:
            following.claim()
            return
