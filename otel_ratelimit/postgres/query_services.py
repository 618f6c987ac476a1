"""The services that ran the recorded queries."""

from __future__ import annotations

from typing import Final

from otel_ratelimit.core.periods import Period
from otel_ratelimit.postgres.analytics_reader import PostgresAnalytics
from otel_ratelimit.postgres.connection import Database
from otel_ratelimit.postgres.sql_files import statements

_NONE: Final = ""
"""The service in rows of a version that did not record it."""


class PostgresQueryServices:
    """A `QueryServiceReader` over `query_totals`; it counts each period once.

    A query that was recorded without its service may belong to any service that answered requests at that
    time, so those services are included.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._requests = PostgresAnalytics(database)
        self._sql = statements("queries")["services"]
        self._counted: dict[Period | None, dict[str, int]] = {}

    def services(self, period: Period | None = None) -> list[str]:
        """The services with queries in the period, or with any queries; by name.

        Raises:
            DatabaseError: it cannot be read.
        """
        found = {name for name in self._executions(period) if name != _NONE}
        if self._executions(period).get(_NONE):
            found.update(name for name in self._requests.services(period) if name != _NONE)
        return sorted(found)

    def without_service(self, period: Period) -> int:
        """Executions of the period that were recorded without their service.

        Raises:
            DatabaseError: it cannot be read.
        """
        return self._executions(period).get(_NONE, 0)

    def _executions(self, period: Period | None) -> dict[str, int]:
        if period not in self._counted:
            start, end = period if period is not None else (None, None)
            self._counted[period] = dict(self._database.rows(self._sql, {"start": start, "end": end}))
        return self._counted[period]
