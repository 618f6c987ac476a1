"""Joins the recorder to the database, the background thread, telemetry and the end of the process.

Analytics that cannot be used stop nothing: what is wrong is said once, and limits go on without.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from opentelemetry.metrics import Meter

from otel_ratelimit.analytics.recorder import Recorder
from otel_ratelimit.analytics.violations import MAX_TOLD_APART
from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.clock import Clock
from otel_ratelimit.core.decision import Decision, DecisionKind
from otel_ratelimit.core.errors import ConfigurationError, DatabaseError, Problem
from otel_ratelimit.core.lifecycle import at_exit, at_fork
from otel_ratelimit.core.secret import Secret, SecretKey
from otel_ratelimit.core.settings import PREFIX, Settings, settings_from
from otel_ratelimit.policy.model import Analytics as AnalyticsPolicy
from otel_ratelimit.postgres import Database, PostgresBatchWriter
from otel_ratelimit.postgres.analytics_reader import PostgresAnalytics
from otel_ratelimit.postgres.cache_reports import PostgresCacheReports
from otel_ratelimit.postgres.embedded.database import EmbeddedDatabase, is_embedded
from otel_ratelimit.postgres.migrate import upgrade
from otel_ratelimit.postgres.upkeep import Upkeep
from otel_ratelimit.telemetry import QueueTelemetry, RecorderTelemetry, current_trace_id, service_name
from otel_ratelimit.telemetry.logs.start import START

_log = logging.getLogger(__name__)

TICK_SECONDS: Final = 1.0
MAINTENANCE_SECONDS: Final = 3600.0
READ_SECONDS: Final = 5.0
_TASK: Final = "analytics"
_MAINTENANCE_TASK: Final = "analytics maintenance"
_REFUSED: Final = frozenset({DecisionKind.BLOCKED, DecisionKind.SHADOW_BLOCKED})


class Analytics:
    """What is recorded of decisions, and where it can be read; a sink for decisions.

    Args:
        url: the database.
        policy: the policy's `[analytics]`.
        worker: the process's background thread.
        meter: for the counters of what was recorded.
        clock: Unix time in seconds.
        user_agent: of the current request.
        service: name of the service where OpenTelemetry has none.
        hash_key: secret of hashed addresses; empty means the database's own.
        environ: for a database of our own, if `url` asks for one.

    Raises:
        DatabaseError: `url` cannot be understood.
    """

    def __init__(  # noqa: PLR0913 - the place where these are joined
        self,
        url: Secret,
        policy: AnalyticsPolicy,
        worker: BackgroundWorker,
        meter: Meter,
        *,
        clock: Clock,
        user_agent: Callable[[], str | None],
        service: Callable[[], str],
        hash_key: Secret,
        environ: Mapping[str, str],
    ) -> None:
        self._embedded = EmbeddedDatabase(url, upgrade, environ) if is_embedded(url) else None
        self._worker = worker
        self._user_agent = user_agent
        where = url if self._embedded is None else self._embedded.url
        self._database = Database(where, statement_seconds=READ_SECONDS)
        self._writing = Database(where)
        self.reader = PostgresAnalytics(self._database)
        self.cache_reports = PostgresCacheReports(self._database)

        def recorded_as() -> str:
            """The name that rows have; OpenTelemetry may learn it after this."""
            return service_name(service())

        self.service = recorded_as
        key = SecretKey(hash_key.reveal().encode())
        writer = PostgresBatchWriter(self._writing, recorded_as, policy.client_addresses, key, clock)
        self.recorder = Recorder(
            writer,
            RecorderTelemetry(meter),
            lambda: worker.wake(_TASK),
            batch_size=policy.batch_size,
            flush_interval=policy.flush_interval,
        )
        self._queue = QueueTelemetry(meter, "violations", lambda: self.recorder.waiting, MAX_TOLD_APART)
        upkeep = Upkeep(
            self._writing, timedelta(seconds=policy.retention), lambda: service_name(service()), clock
        )
        worker.every(min(TICK_SECONDS, policy.flush_interval), _TASK, self.recorder.tick, start=False)
        worker.every(MAINTENANCE_SECONDS, _MAINTENANCE_TASK, upkeep.run, start=False)
        worker.wake(_MAINTENANCE_TASK)
        at_fork(in_child=self.reset_after_fork)
        at_exit(self.close)

    def __call__(self, decision: Decision) -> None:
        """Take note of `decision`; on the request's thread, within the request."""
        if decision.kind in _REFUSED:
            self.recorder.decided(decision, self._user_agent(), current_trace_id())
        else:
            self.recorder.decided(decision, None, None)

    @property
    def database(self) -> Database:
        """Where the background thread writes."""
        return self._writing

    def close(self) -> bool:
        """Write what is left, and let go of the database; whether all was written."""
        self._worker.cancel(_TASK)
        self._worker.cancel(_MAINTENANCE_TASK)
        is_written = self.recorder.close()
        self._database.close()
        if self._embedded is not None:
            self._embedded.close()
        return is_written

    def reset_after_fork(self) -> None:
        """Leave to the parent what is the parent's."""
        self.recorder.reset_after_fork()
        self._database.reset_after_fork()
        self._writing.reset_after_fork()
        if self._embedded is not None:
            self._embedded.reset_after_fork()
        # The worker, made before this, has forgotten what it was woken for.
        self._worker.wake(_MAINTENANCE_TASK)


@contextmanager
def named_url(given: str | Secret | None) -> Iterator[Secret]:
    """Where the database `given`, or that of the environment, is; an embedded one runs meanwhile.

    Raises:
        ConfigurationError: none is named.
        DatabaseError: an embedded one cannot be started.
    """
    url = settings_from(os.environ, {"database_url": given}).database_url
    if not url:
        what = "no database is named"
        instead = "set it, or pass database_url=postgresql://user:password@host/db"
        raise ConfigurationError([Problem(f"{PREFIX}DATABASE_URL", what, instead)])
    if not is_embedded(url):
        yield url
        return
    embedded = EmbeddedDatabase(url, lambda _: None, os.environ)
    try:
        yield Secret(embedded.url())
    finally:
        embedded.close()


@contextmanager
def named_database(given: str | Secret | None) -> Iterator[Database]:
    """The database `given`, or that of the environment; closed afterwards.

    Raises:
        ConfigurationError: none is named.
        DatabaseError: it cannot be used.
    """
    with named_url(given) as url:
        database = Database(url)
        try:
            yield database
        finally:
            database.close()


def open_analytics(
    settings: Settings,
    policy: AnalyticsPolicy,
    worker: BackgroundWorker,
    meter: Meter,
    *,
    clock: Clock,
    user_agent: Callable[[], str | None],
    service: Callable[[], str],
    environ: Mapping[str, str],
) -> Analytics | None:
    """What records decisions; None where no database is named, or the name makes no sense."""
    variable = f"{PREFIX}DATABASE_URL"
    if not settings.database_url:
        START.info("analytics are off: %s is not set", variable)
        return None
    try:
        analytics = Analytics(
            settings.database_url,
            policy,
            worker,
            meter,
            clock=clock,
            user_agent=user_agent,
            service=service,
            hash_key=settings.hash_key,
            environ=environ,
        )
    except DatabaseError as error:
        # Limits must not depend on analytics.
        _log.error("analytics are off: %s: %s", variable, error)
        return None
    START.info("analytics are on: refusals and requests are recorded in the database of %s", variable)
    return analytics
