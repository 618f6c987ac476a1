"""Maintenance as each process does it once an hour, and what the log says of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.postgres.connection import Database
from otel_ratelimit.postgres.maintenance import MaintenanceReport, maintain
from otel_ratelimit.postgres.retention import Hold
from otel_ratelimit.postgres.server_clock import apart

_log = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 10.0
"""How long a silent server may hold up the background thread, which has other work too."""


class HourlyMaintenance:
    """Keeps the tables in order; whatever cannot be done is said when it begins, and not every hour.

    Args:
        database: where.
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
        """Maintain once."""
        try:
            report = maintain(
                self._database,
                now=datetime.fromtimestamp(self._clock(), UTC),
                retention=self._retention,
                service=self._service(),
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
        if report.clock_set_back and report.hold.kind != "clocks":  # then it is said when they agree again
            _log.warning(
                "the clock of the analytics database is %s behind what it was at the last maintenance; rows"
                " that were written in between may lie in the future",
                apart(report.clock_set_back),
            )

    def _say_failure(self, sentence: str) -> None:
        # Hourly: a role without the right to make partitions is told so once.
        if sentence and sentence != self._failure:
            _log.warning("%s", sentence)
        self._failure = sentence

    def _say_hold(self, hold: Hold) -> None:
        # Once for each notice, whichever process has given it; where there are none, once a day.
        today = datetime.fromtimestamp(self._clock(), UTC).date()
        held = (hold.kind, str(hold.notices or today))
        if hold and held != self._held:
            _log.warning("no old rows are deleted from the analytics tables: %s", hold.sentence)
        elif self._held[0] and not hold:
            _log.warning("old rows are deleted from the analytics tables again")
        self._held = held
