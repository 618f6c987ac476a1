"""Queries and OpenTelemetry: who is told of them, what is put on spans, and what is counted.

The capture tells of each query while its span, if there is one, is current. So nothing has to be read back
from spans, and queries of traces that are not sampled are seen without a span having to be recorded for them:
making the SDK record spans only to look at them (RECORD_ONLY) costs more than all that is done here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from opentelemetry.context import Context
from opentelemetry.metrics import Meter
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import Span as AnySpan
from opentelemetry.trace import get_current_span

from otel_ratelimit import names
from otel_ratelimit.query_records import RequestRepeats
from otel_ratelimit.querylog.execution import Execution, SizeOf
from otel_ratelimit.querylog.log import QueryCounts, QueryLog
from otel_ratelimit.querylog.requests import PATTERN_EXECUTIONS, RequestQueries
from otel_ratelimit.telemetry.recorder import current_trace_id

_log = logging.getLogger(__name__)

DRIVER_SCOPE: Final = "opentelemetry.instrumentation.psycopg2"
"""Instrumentation scope of the spans that the captured driver's queries have."""
UNSEEN_SPANS: Final = 20
"""As many spans of queries without one query captured are no accident."""
DURATION_SAMPLE: Final = 64
"""One query in so many has its capture timed."""
CAPTURE_DURATION_BOUNDARIES_SECONDS: Final = (
    *(0.000002, 0.000005, 0.00001, 0.000015, 0.000025, 0.00005, 0.0001, 0.00025, 0.001, 0.01),
)


class CurrentRequest(Protocol):
    """The request that the current thread serves."""

    queries: RequestQueries
    span: AnySpan | None
    """Of the request; None where there is none."""


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

    def counted(self, new: QueryCounts) -> None:
        """So many more executions were recorded, sampled out or dropped."""
        for outcome, executions in new._asdict().items():
            if executions:
                self._queries.add(executions, {names.OUTCOME: outcome})

    def repeated(self, repeats: RequestRepeats) -> None:
        """Requests of one endpoint ran one template again and again."""
        self._repeats.add(repeats.requests, {names.HTTP_ROUTE: repeats.endpoint})


class QuerySpanProcessor(SpanProcessor):
    """Told of queries by the capture, it decides by key and enqueues (see `QueryLog`), on the query's thread.

    As a span processor it is flushed and shut down with the tracer provider, and notices when queries have
    spans and are not captured, which would otherwise look as if there were none.

    Args:
        log: what decides and keeps.
        meter: for the duration of all this.
        request: the request that the current thread serves, or None.
        timer: seconds, for that duration.
    """

    def __init__(
        self,
        log: QueryLog,
        meter: Meter,
        request: Callable[[], CurrentRequest | None],
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._query_log = log
        self._request = request
        self._timer = timer
        self._duration = meter.create_histogram(
            names.QUERY_CAPTURE_DURATION,
            unit="s",
            description="How long the capture of a query took, on the thread that ran it.",
            explicit_bucket_boundaries_advisory=CAPTURE_DURATION_BOUNDARIES_SECONDS,
        )
        self._until_timed = DURATION_SAMPLE
        self._has_timed = False
        self._unseen = 0
        self._is_closed = False
        self._has_failed = False

    def executed(self, execution: Execution, size_of: SizeOf, result: Any) -> None:
        """Take note of a query that has just run on this thread; never raises, never waits."""
        # Off by a few under threads, which does not matter for a sample.
        left = self._until_timed = self._until_timed - 1
        begun = 0.0 if left > 0 else self._timer()
        try:
            request = self._request()
            if request is not None:
                self._within(request, execution)
            self._query_log.executed(execution, size_of, result)
        except Exception:  # noqa: BLE001 - the query itself went well
            if not self._has_failed:
                self._has_failed = True
                _log.exception("a query could not be taken note of; further faults are not logged")
        if begun:
            self._until_timed, self._has_timed = DURATION_SAMPLE, True
            self._duration.record(self._timer() - begun)

    def _within(self, request: CurrentRequest, execution: Execution) -> None:
        queries = request.queries
        executions = queries.add(execution.statement)
        if executions == PATTERN_EXECUTIONS and request.span is not None:
            request.span.add_event(names.N_PLUS_ONE, {names.EXECUTIONS: executions})
        if not queries.is_suspect and (
            executions >= PATTERN_EXECUTIONS or queries.different >= PATTERN_EXECUTIONS
        ):
            queries.is_suspect = True
            queries.trace_id = current_trace_id()
            self._query_log.suspect(queries)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing to do: whoever runs the query tells of it."""

    def on_end(self, span: ReadableSpan) -> None:
        """Notice spans of queries that nobody told of."""
        has_captured = self._has_timed or self._until_timed < DURATION_SAMPLE
        if has_captured or self._unseen >= UNSEEN_SPANS or self._is_closed:
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
        self._query_log.flush()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the database has its own
        """Write what has been taken note of; whether that succeeded."""
        return self._query_log.flush()


def trace_id() -> int:
    """Of the current span; 0 without one."""
    return get_current_span().get_span_context().trace_id
