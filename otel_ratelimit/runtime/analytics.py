"""Records decisions: takes note of them on the request's thread, writes them on the background thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from otel_ratelimit.analytics.recorder import Recorder
from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.decision import REFUSING, Decision
from otel_ratelimit.core.lifecycle import at_exit, at_fork
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.analytics_reader import PostgresAnalytics
from otel_ratelimit.postgres.cache_reports import PostgresCacheReports
from otel_ratelimit.postgres.hourly_maintenance import HourlyMaintenance
from otel_ratelimit.runtime.analytics_database import AnalyticsDatabase
from otel_ratelimit.telemetry import QueueTelemetry, current_trace_id

MAINTENANCE_SECONDS: Final = 3600.0
RECORDER_TASK: Final = "analytics"
MAINTENANCE_TASK: Final = "analytics maintenance"


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """Facts recorded about a refused request, besides the decision."""

    user_agent: Callable[[], str | None]
    """Answers the user agent of the current request."""
    service: Callable[[], str]
    """The name that rows have; OpenTelemetry may learn it after the start."""


class Analytics:
    """Records decisions and reads the records; a sink for decisions.

    Args:
        database: where decisions are recorded.
        recorder: sums them up, and writes them.
        upkeep: keeps the tables in order.
        worker: the process's background thread.
        facts: of requests.
        tick_seconds: how often the recorder looks whether there is something to write.
        queue: the recorder's queue as metrics, until this is closed.
    """

    def __init__(
        self,
        database: AnalyticsDatabase,
        recorder: Recorder,
        upkeep: HourlyMaintenance,
        worker: BackgroundWorker,
        *,
        facts: RequestFacts,
        tick_seconds: float,
        queue: QueueTelemetry,
    ) -> None:
        self._database = database
        self._worker = worker
        self._user_agent = facts.user_agent
        self._queue = queue
        self.service = facts.service
        self.recorder = recorder
        self.reader = PostgresAnalytics(database.reading)
        self.cache_reports = PostgresCacheReports(database.reading)
        worker.every(tick_seconds, RECORDER_TASK, recorder.tick, start=False)
        worker.every(MAINTENANCE_SECONDS, MAINTENANCE_TASK, upkeep.run, start=False)
        worker.wake(MAINTENANCE_TASK)
        at_fork(in_child=self.reset_after_fork)
        at_exit(self.close)

    def __call__(self, decision: Decision) -> None:
        """Take note of `decision`; on the request's thread, within the request."""
        if decision.kind in REFUSING:
            self.recorder.decided(decision, self._user_agent(), current_trace_id())
        else:
            self.recorder.decided(decision, None, None)

    @property
    def database(self) -> Database:
        """Where the background thread writes."""
        return self._database.writing

    def close(self) -> bool:
        """Write what is left, and close the database; whether all was written."""
        self._worker.cancel(RECORDER_TASK)
        self._worker.cancel(MAINTENANCE_TASK)
        try:
            return self.recorder.close()
        finally:
            self._queue.retire()
            self._database.close()

    def reset_after_fork(self) -> None:
        """Leave to the parent what is the parent's."""
        self.recorder.reset_after_fork()
        self._database.reset_after_fork()
        # The worker, made before this, has forgotten what it was woken for.
        self._worker.wake(MAINTENANCE_TASK)
