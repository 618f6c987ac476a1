"""The hourly maintenance of each process, and its log lines."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.postgres.connection import Database
from otel_ratelimit.postgres.deletion_hold import Hold
from otel_ratelimit.postgres.maintenance import MaintenanceReport, maintain
from otel_ratelimit.postgres.retention import RetentionRequest
from otel_ratelimit.postgres.server_clock import apart

_logger = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 10.0
"""How long a silent server may block the background thread, which has other work too."""


class HourlyMaintenance:
    """Runs maintenance; a failure is logged when it begins, and not every hour.

    Args:
        database: the analytics database.
        retention: how long rows of this process's service are kept.
        service: its name.
        clock: Unix time of this host, seconds.
    """

    def __init__(
        self,
        database: Database,
        retention: timedelta,
        service: Callable[[], str],
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._retention = retention
        self._service = service
        self._clock = clock
        self._failure = ""
        self._held: tuple[str, str] = ("", "")

    def run(self) -> None:
        """Run maintenance once."""
        try:
            report = maintain(
                self._database,
                RetentionRequest(self._retention, self._service()),
                now=datetime.fromtimestamp(self._clock(), UTC),
                announce=True,
                patience_seconds=PATIENCE_SECONDS,
            )
        except DatabaseError as error:
            self._say_failure(f"the analytics tables could not be maintained: {error}")
            return
        if not report.skipped:
            self._say(report)

    def _say(self, report: MaintenanceReport) -> None:
        failed = "; ".join(report.failures)
        self._say_failure(f"part of the analytics tables could not be maintained: {failed}" if failed else "")
        self._say_hold(report.hold)
        if report.clock_set_back and report.hold.kind != "clocks":  # else logged when they agree again
            _logger.warning(
                "the clock of the analytics database is %s behind its time at the last maintenance; rows that"
                " were written in between may have times in the future",
                apart(report.clock_set_back),
            )

    def _say_failure(self, sentence: str) -> None:
        # Once and not hourly, for instance if the role may not create partitions.
        if sentence and sentence != self._failure:
            _logger.warning("%s", sentence)
        self._failure = sentence

    def _say_hold(self, hold: Hold) -> None:
        # Once for each notice, whichever process gave it; a hold without notices once a day.
        today = datetime.fromtimestamp(self._clock(), UTC).date()
        held = (hold.kind, str(hold.notices or today))
        if hold and held != self._held:
            _logger.warning("no old rows are deleted from the analytics tables: %s", hold.sentence)
        elif self._held[0] and not hold:
            _logger.warning("old rows are deleted from the analytics tables again")
        self._held = held
