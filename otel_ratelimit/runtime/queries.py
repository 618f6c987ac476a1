"""Joins the capture of queries to the query log, the database, the background thread and telemetry.

A query log that cannot be had stops nothing: what is wrong is said once, and queries run as they would.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Final

from opentelemetry.metrics import Meter
from opentelemetry.trace import get_tracer_provider

from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.clock import unix_time
from otel_ratelimit.core.lifecycle import at_exit, at_fork
from otel_ratelimit.core.settings import Settings
from otel_ratelimit.policy.model import Analytics as AnalyticsPolicy
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.query_writer import PostgresQueryWriter
from otel_ratelimit.postgres.secrets import shared_secret
from otel_ratelimit.queries.capture_psycopg2 import Relay, prepare
from otel_ratelimit.queries.fingerprint import TemplateCache
from otel_ratelimit.queries.query_log import MAX_PENDING, QueryLog
from otel_ratelimit.queries.sampling import QuerySampler
from otel_ratelimit.queries.totals import Totals
from otel_ratelimit.telemetry import QueueTelemetry
from otel_ratelimit.telemetry.logs.start import START
from otel_ratelimit.telemetry.queries import QuerySpanProcessor, QueryTelemetry, trace_id
from otel_ratelimit.web.queries import request_finder

TICK_SECONDS: Final = 1.0
_TASK: Final = "query log"


class Queries:
    """What is recorded of the application's queries.

    Args:
        relay: who tells of them.
        database: where to; its connections are not recorded.
        settings: sample rate and secret.
        policy: the policy's `[analytics]`.
        worker: the process's background thread.
        meter: for the counters.
        service: under which name they are recorded; asked for when they are written.
    """

    def __init__(
        self,
        relay: Relay,
        database: Database,
        settings: Settings,
        policy: AnalyticsPolicy,
        worker: BackgroundWorker,
        meter: Meter,
        service: Callable[[], str],
    ) -> None:
        self._worker = worker
        given = settings.hash_key
        self.log = QueryLog(
            PostgresQueryWriter(database, unix_time, service),
            QuerySampler(settings.query_sample_rate),
            Totals(),
            TemplateCache(),
            lambda: given.reveal().encode() or shared_secret(database),
            request_finder(trace_id),
            trace_id,
            QueryTelemetry(meter),
            lambda: worker.wake(_TASK),
            worker.ensure_started,
            process=_process_name,
            flush_interval=policy.flush_interval,
        )
        self._queue = QueueTelemetry(meter, "queries", lambda: self.log.waiting, MAX_PENDING)
        self._processor = QuerySpanProcessor(self.log)
        self._relay = relay
        self._has_begun = False
        self._rate = settings.query_sample_rate
        worker.every(min(TICK_SECONDS, policy.flush_interval), _TASK, self.log.tick, start=False)
        at_fork(in_child=self.log.reset_after_fork)
        at_exit(self.close)

    def claim(self) -> bool:
        """Have queries told to this one, unless they are told to another; whether they are."""
        if self._relay.target is None:
            self._relay.target = self._processor
            add = getattr(get_tracer_provider(), "add_span_processor", None)
            if add is not None and not self._has_begun:
                add(self._processor)
            if not self._has_begun:
                START.info(
                    "queries through psycopg2 are recorded, sampling %.3g %% of distinct queries",
                    100 * self._rate,
                )
            self._has_begun = True
        return self._relay.target is self._processor

    def close(self) -> bool:
        """Write what is left; connections opened from now on are left alone. Whether all was written."""
        self._worker.cancel(_TASK)
        if self._relay.target is self._processor:
            self._relay.target = None
        return self.log.close()


def open_queries(
    database: Database,
    settings: Settings,
    policy: AnalyticsPolicy,
    worker: BackgroundWorker,
    meter: Meter,
    service: Callable[[], str],
) -> Queries | None:
    """What records queries; None where nobody can tell of them."""
    relay = prepare()
    return None if relay is None else Queries(relay, database, settings, policy, worker, meter, service)


def _process_name() -> str:
    resource = getattr(get_tracer_provider(), "resource", None)
    instance = resource.attributes.get("service.instance.id") if resource is not None else None
    # Workers that were forked share the instance's id.
    return f"{instance or socket.gethostname()}:{os.getpid()}"
