"""Recorded queries as OpenTelemetry metrics and span events, and the span processor that flushes them.

The capture reports each query while its span, if there is one, is current. So nothing has to be read back
from spans, and queries of traces that are not sampled are seen although no span is recorded for them.
Recording spans only to look at them (RECORD_ONLY) would cost more than everything that is done here.
"""

from __future__ import annotations

import logging
import weakref
from typing import Final

from opentelemetry.context import Context
from opentelemetry.metrics import Meter
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import TracerProvider

from otel_ratelimit.core import names
from otel_ratelimit.queries.collaborators import QueryCounts
from otel_ratelimit.queries.n_plus_one import N_PLUS_ONE_EXECUTIONS
from otel_ratelimit.queries.query_log import QueryLog
from otel_ratelimit.queries.records import RequestRepeats
from otel_ratelimit.queries.request_queries import RequestQueries

_logger = logging.getLogger(__name__)

DRIVER_SCOPE: Final = "opentelemetry.instrumentation.psycopg2"
"""Instrumentation scope of the spans of psycopg2's queries."""
SHUTDOWN_SECONDS: Final = 5.0
"""How long the shutdown of a tracer provider, which gives no time limit, waits for the database."""
UNSEEN_SPANS: Final = 20
"""So many spans of queries without one captured query are no accident."""
CAPTURE_DURATION_BOUNDARIES_SECONDS: Final = (
    *(0.000002, 0.000005, 0.00001, 0.000015, 0.000025, 0.00005, 0.0001, 0.00025, 0.001, 0.01),
)


class QueryTelemetry:
    """A `QueryLogListener` that counts what became of queries."""

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

        # Prometheus sees no increase in a series that starts above zero.
        for outcome in QueryCounts._fields:
            self._queries.add(0, {names.OUTCOME: outcome})

    def counted(self, new: QueryCounts) -> None:
        """Count executions that were recorded, sampled out or dropped since the last call."""
        for outcome, executions in new._asdict().items():
            if executions:
                self._queries.add(executions, {names.OUTCOME: outcome})

    def repeated(self, repeats: RequestRepeats) -> None:
        """Count requests of one endpoint that ran one template again and again."""
        self._repeats.add(repeats.requests, {names.HTTP_ROUTE: repeats.endpoint})

    def suspected(self, request: RequestQueries) -> None:
        """Note on the request's span that it ran one text often enough for an N+1 pattern."""
        span: Span | None = getattr(request, "span", None)
        if span is not None:
            span.add_event(names.N_PLUS_ONE, {names.EXECUTIONS: N_PLUS_ONE_EXECUTIONS})

    def captured(self, seconds: float) -> None:
        """Record how long the capture of a query took."""
        self._duration.record(seconds)


class QuerySpanProcessor(SpanProcessor):
    """Flushes the query log with the tracer provider, and notices psycopg2 spans of queries not captured.

    Without that warning, it would look as if no query were run. The capture reports queries to the query log
    itself, and needs no spans.

    Args:
        log: the query log; None before there is one.
    """

    def __init__(self, log: QueryLog | None = None) -> None:
        self._query_log = log
        self._unseen = 0
        self._is_closed = False

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing: the capture reports the query."""

    def on_end(self, span: ReadableSpan) -> None:
        """Notice spans of queries that the capture did not report."""
        log = self._query_log
        if log is None or log.intake.has_executions or self._unseen >= UNSEEN_SPANS or self._is_closed:
            return
        scope = span.instrumentation_scope
        if scope is not None and scope.name == DRIVER_SCOPE:
            self._unseen += 1
            if self._unseen == UNSEEN_SPANS:
                _logger.warning(
                    "psycopg2 spans seen but no query recorded: the connections were opened before"
                    " otel-ratelimit started, or with a connection class that it does not support"
                )

    def shutdown(self) -> None:
        """Flush; the query log itself is closed by the process's `RateLimit`."""
        self._is_closed = True
        log = self._query_log
        if log is not None:
            log.flush(SHUTDOWN_SECONDS)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Write the queries in the queue within the given time; whether all of them are written."""
        log = self._query_log
        return log is None or log.flush(timeout_millis / 1000)

    def serve(self, log: QueryLog) -> None:
        """Flush `log` from now on, instead of the one before."""
        self._unseen = 0
        self._query_log = log

    def retire(self, log: QueryLog) -> None:
        """Let go of `log`, which is closed, unless another one has taken its place."""
        if self._query_log is log:
            self._query_log = None


# Weak: the providers belong to the application.
_processors: Final[weakref.WeakKeyDictionary[TracerProvider, QuerySpanProcessor]] = (
    weakref.WeakKeyDictionary()
)


def span_processor_of(provider: TracerProvider) -> QuerySpanProcessor | None:
    """Our span processor in `provider`; None if it takes none, because it is not the SDK's.

    A provider keeps its span processors for good, and each one makes each span slower. So it gets one only,
    which one query log after another uses.
    """
    add = getattr(provider, "add_span_processor", None)
    if add is None:
        return None
    found = _processors.get(provider)
    if found is None:
        found = _processors[provider] = QuerySpanProcessor()
        add(found)
    return found
