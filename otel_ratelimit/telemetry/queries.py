"""Queries and OpenTelemetry: who is told of them, what is put on spans, and what is counted.

The capture tells of each query while its span, if there is one, is current. So nothing has to be read back
from spans, and queries of traces that are not sampled are seen without a span having to be recorded for them:
making the SDK record spans only to look at them (RECORD_ONLY) costs more than all that is done here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from opentelemetry.context import Context
from opentelemetry.metrics import Meter
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import get_current_span

from otel_ratelimit.core import names
from otel_ratelimit.queries.query_log import QueryCounts, QueryLog
from otel_ratelimit.queries.records import RequestRepeats
from otel_ratelimit.queries.requests import PATTERN_EXECUTIONS, RequestQueries

_log = logging.getLogger(__name__)

DRIVER_SCOPE: Final = "opentelemetry.instrumentation.psycopg2"
"""Instrumentation scope of the spans that the captured driver's queries have."""
SHUTDOWN_SECONDS: Final = 5.0
"""How long the shutdown of a tracer provider, which names no time, waits for the database."""
UNSEEN_SPANS: Final = 20
"""As many spans of queries without one query captured are no accident."""
CAPTURE_DURATION_BOUNDARIES_SECONDS: Final = (
    *(0.000002, 0.000005, 0.00001, 0.000015, 0.000025, 0.00005, 0.0001, 0.00025, 0.001, 0.01),
)


class QueryTelemetry:
    """A `QueryLogListener`: what became of queries, as metrics."""

    def __init__(self, meter: Meter) -> None:
        self._queries = meter.create_counter(
            names.QUERIES, unit="{query}", description="Queries by what became of them in the query log."
        )
        self._repeats = meter.create_counter(
            names.QUERY_REPEATS,
            unit="{request}",
            description="Requests that ran one query template again and again (N+1).",
        )
        self._duration = meter.create_histogram(
            names.QUERY_CAPTURE_DURATION,
            unit="s",
            description="How long the capture of a query took, on the thread that ran it.",
            explicit_bucket_boundaries_advisory=CAPTURE_DURATION_BOUNDARIES_SECONDS,
        )

        # Prometheus sees no increase in a series that begins at more than zero.
        for outcome in QueryCounts._fields:
            self._queries.add(0, {names.OUTCOME: outcome})

    def counted(self, new: QueryCounts) -> None:
        """So many more executions were recorded, sampled out or dropped."""
        for outcome, executions in new._asdict().items():
            if executions:
                self._queries.add(executions, {names.OUTCOME: outcome})

    def repeated(self, repeats: RequestRepeats) -> None:
        """Requests of one endpoint ran one template again and again."""
        self._repeats.add(repeats.requests, {names.HTTP_ROUTE: repeats.endpoint})

    def suspected(self, request: RequestQueries) -> None:
        """Say on the request's span that it has run one text as often as makes a pattern."""
        span: Span | None = getattr(request, "span", None)
        if span is not None:
            span.add_event(names.N_PLUS_ONE, {names.EXECUTIONS: PATTERN_EXECUTIONS})

    def captured(self, seconds: float) -> None:
        """So long it took to take note of a query."""
        self._duration.record(seconds)


class QuerySpanProcessor(SpanProcessor):
    """Told of queries by the capture, it decides by key and enqueues, on the query's thread.

    Deciding and enqueueing are the query log's. As a span processor it is flushed and shut down with the
    tracer provider, and notices when queries have spans and are not captured, which would otherwise look as
    if there were none.
    """

    def __init__(self, log: QueryLog) -> None:
        self._query_log: QueryLog | None = log
        self.executed: Callable[..., None] = log.intake.executed
        """Take note of a query that has just run on this thread: see `QueryObserver`."""
        self._unseen = 0
        self._is_closed = False

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing to do: whoever runs the query tells of it."""

    def on_end(self, span: ReadableSpan) -> None:
        """Notice spans of queries that nobody told of."""
        log = self._query_log
        if log is None or log.intake.has_been_told or self._unseen >= UNSEEN_SPANS or self._is_closed:
            return
        scope = span.instrumentation_scope
        if scope is not None and scope.name == DRIVER_SCOPE:
            self._unseen += 1
            if self._unseen == UNSEEN_SPANS:
                _log.warning(
                    "queries have spans and none is recorded: their connections were made before"
                    " otel-ratelimit was, or by a class of connections that it does not know"
                )

    def shutdown(self) -> None:
        """With the tracer provider; the query log itself ends with the process's `RateLimit`."""
        self._is_closed = True
        if self._query_log is not None:
            self._query_log.flush(SHUTDOWN_SECONDS)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Write what has been taken note of, within the time given; whether all of it is written."""
        return self._query_log is None or self._query_log.flush(timeout_millis / 1000)

    def retire(self) -> None:
        """Let go of the query log, which is closed: a tracer provider keeps its processors for good."""
        self._query_log = None
        self.executed = _ignored


def trace_id() -> int:
    """Of the current span; 0 without one."""
    return get_current_span().get_span_context().trace_id


def _ignored(*_execution: object) -> None:
    """An execution that ran while the query log was closed."""
