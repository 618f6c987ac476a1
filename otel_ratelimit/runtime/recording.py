"""Puts together what records decisions and queries in the database, and refusals in the log.

Recording that cannot be set up stops nothing: the log says once what is wrong, and limits hold without it.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final

from opentelemetry.metrics import Meter
from opentelemetry.trace import get_tracer_provider

from otel_ratelimit.analytics.recorder import Recorder
from otel_ratelimit.analytics.violation_buffer import MAX_DISTINCT
from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.clock import Clock, unix_time
from otel_ratelimit.core.deadline import within
from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.core.lifecycle import share_of_the_rest
from otel_ratelimit.core.secret import HiddenEnvironment, SecretKey
from otel_ratelimit.core.settings import PREFIX, Settings
from otel_ratelimit.policy.model import Analytics as AnalyticsPolicy
from otel_ratelimit.postgres import Database, PostgresAnalyticsWriter
from otel_ratelimit.postgres.hash_key import shared_secret
from otel_ratelimit.postgres.hourly_maintenance import HourlyMaintenance
from otel_ratelimit.postgres.query_writer import PostgresQueryWriter
from otel_ratelimit.queries.capture_psycopg2 import Capture, capture
from otel_ratelimit.queries.collaborators import BackgroundThread, Caller
from otel_ratelimit.queries.pending_rows import MAX_PENDING
from otel_ratelimit.queries.query_log import QueryLog
from otel_ratelimit.queries.sampling import QuerySampler
from otel_ratelimit.runtime.analytics import RECORDER_TASK, Analytics, RequestFacts
from otel_ratelimit.runtime.analytics_database import AnalyticsDatabase
from otel_ratelimit.runtime.queries import QUERIES_TASK, Queries
from otel_ratelimit.telemetry import QueueTelemetry, RecorderTelemetry, service_name
from otel_ratelimit.telemetry.current_trace import trace_id
from otel_ratelimit.telemetry.logs import FLUSH_SECONDS, RefusalLog, ShownAddresses
from otel_ratelimit.telemetry.logs.start_logger import START
from otel_ratelimit.telemetry.queries import QueryTelemetry
from otel_ratelimit.web.client_source import current_user_agent
from otel_ratelimit.web.served_request import request_finder

_logger = logging.getLogger(__name__)

TICK_SECONDS: Final = 1.0
_VARIABLE: Final = f"{PREFIX}DATABASE_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingContext:
    """The values that recorders are put together with."""

    settings: Settings
    policy: AnalyticsPolicy
    """The policy's `[analytics]`."""
    worker: BackgroundWorker
    meter: Meter
    service: Callable[[], str]
    """Name of the service where OpenTelemetry has none."""
    clock: Clock = unix_time
    environ: Mapping[str, str] = field(default_factory=lambda: HiddenEnvironment(os.environ))
    """The environment of an embedded database."""
    user_agent: Callable[[], str | None] = current_user_agent
    """Answers the user agent of the current request."""

    @property
    def tick_seconds(self) -> float:
        """How often recorders look whether there is something to write."""
        return min(TICK_SECONDS, self.policy.flush_interval)

    @property
    def hash_key(self) -> SecretKey:
        """The secret of hashed addresses; empty where nobody has set one."""
        return SecretKey(self.settings.hash_key.reveal().encode())

    def recorded_as(self) -> str:
        """The name of the service in rows."""
        return service_name(self.service())


@dataclass(frozen=True, slots=True)
class Recording:
    """All that one `RateLimit` records with."""

    analytics: Analytics | None
    queries: Queries | None
    refusal_log: RefusalLog

    def close(self) -> bool:
        """Write what is left, within the caller's deadline; whether all was written."""
        try:
            self.refusal_log.close()
        finally:
            try:
                queries_are_written = self._close_queries()
            finally:
                decisions_are_written = self.analytics is None or self.analytics.close()
        return queries_are_written and decisions_are_written

    def _close_queries(self) -> bool:
        if self.queries is None:
            return True
        with within(share_of_the_rest()):
            return self.queries.close()


def open_recording(context: RecordingContext) -> Recording:
    """Open the recorders of decisions, queries and refusals; the first two only if a database is named."""
    analytics = _open_analytics(context)
    if analytics is None:
        return Recording(None, None, _open_refusal_log(context, None))
    database = analytics.database
    found = capture()
    queries = None if found is None else open_queries(found, database, context)
    return Recording(analytics, queries, _open_refusal_log(context, database))


def _open_analytics(context: RecordingContext) -> Analytics | None:
    """Open the recorder of decisions; None if no database is named, or its URL is invalid."""
    if not context.settings.database_url:
        START.info("analytics are off: %s is not set", _VARIABLE)
        return None
    try:
        database = AnalyticsDatabase(context.settings.database_url, context.environ)
    except DatabaseError as error:
        _log_that_analytics_are_off(error)
        return None
    analytics = join_analytics(database, context)
    START.info("analytics are on: refusals and requests are recorded in the database of %s", _VARIABLE)
    return analytics


def _log_that_analytics_are_off(error: DatabaseError) -> None:
    """Limits must not depend on analytics."""
    _logger.error("analytics are off: %s: %s", _VARIABLE, error)


def join_analytics(database: AnalyticsDatabase, context: RecordingContext) -> Analytics:
    """Make the recorder of decisions in `database`."""
    policy, writing, worker = context.policy, database.writing, context.worker
    recorder = Recorder(
        PostgresAnalyticsWriter(
            writing, context.recorded_as, policy.client_addresses, context.hash_key, context.clock
        ),
        RecorderTelemetry(context.meter),
        lambda: worker.wake(RECORDER_TASK),
        batch_size=policy.batch_size,
        flush_interval=policy.flush_interval,
    )
    return Analytics(
        database,
        recorder,
        HourlyMaintenance(writing, timedelta(seconds=policy.retention), context.recorded_as, context.clock),
        worker,
        facts=RequestFacts(context.user_agent, context.recorded_as),
        tick_seconds=context.tick_seconds,
        queue=QueueTelemetry(context.meter, "violations", lambda: recorder.waiting, MAX_DISTINCT),
    )


def open_queries(found: Capture, database: Database, context: RecordingContext) -> Queries:
    """Make the recorder in `database` of the queries that `found` reports."""
    worker, hash_key, rate = context.worker, context.settings.hash_key, context.settings.query_sample_rate
    log = QueryLog(
        PostgresQueryWriter(database, unix_time, context.recorded_as),
        QuerySampler(rate),
        lambda: hash_key.reveal().encode() or shared_secret(database),
        Caller(_process_name, request_finder(trace_id), trace_id),
        BackgroundThread(lambda: worker.wake(QUERIES_TASK), worker.ensure_started),
        QueryTelemetry(context.meter),
        flush_interval=context.policy.flush_interval,
    )
    return Queries(
        found,
        log,
        worker,
        tick_seconds=context.tick_seconds,
        sample_rate=rate,
        queue=QueueTelemetry(context.meter, "queries", lambda: log.waiting, MAX_PENDING),
    )


def _open_refusal_log(context: RecordingContext, database: Database | None) -> RefusalLog:
    """Make the writer of refused requests to the log; `database` has the secret of hashed addresses."""
    shared_key = partial(shared_secret, database) if database is not None else None
    addresses = ShownAddresses(context.policy.client_addresses, context.hash_key, shared_key)
    refusal_log = RefusalLog(addresses)
    context.worker.every(FLUSH_SECONDS, "refusal log", refusal_log.tick, start=False)
    return refusal_log


def _process_name() -> str:
    resource = getattr(get_tracer_provider(), "resource", None)
    instance = resource.attributes.get("service.instance.id") if resource is not None else None
    # Workers that were forked share the instance's id.
    return f"{instance or socket.gethostname()}:{os.getpid()}"
