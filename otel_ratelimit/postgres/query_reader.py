"""Reads repeated queries from the query log."""

from __future__ import annotations

from otel_ratelimit.analytics.reader import Endpoints
from otel_ratelimit.core.periods import Period
from otel_ratelimit.postgres.connection import Database
from otel_ratelimit.postgres.sql_files import statements
from otel_ratelimit.postgres.storable_text import storable, storable_names
from otel_ratelimit.queries.duplicates import RepeatsInRequests, RepeatsInTime


class PostgresQueries:
    """Reads the queries of one service or of all; methods raise `DatabaseError` if that fails."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = statements("queries")

    def repeats_in_requests(
        self, period: Period, *, endpoint: Endpoints = None, service: str | None = None, limit: int = 100
    ) -> tuple[RepeatsInRequests, ...]:
        """Templates that ran repeatedly within requests, the largest saving first."""
        asked = {**_asked(period, endpoint, service), "limit": limit}
        rows = self._database.rows(self._sql["repeats_in_requests"], asked)
        return tuple(RepeatsInRequests(*row) for row in rows)

    def repeats_in_time(
        self,
        period: Period,
        *,
        seconds: float,
        endpoint: Endpoints = None,
        service: str | None = None,
        limit: int = 100,
    ) -> tuple[RepeatsInTime, ...]:
        """Templates whose executions repeated a query from at most `seconds` before, most repeats first.

        Only successful reads count whose results are valid for others: no `now()`, and no reads in a
        transaction that had written before.
        """
        asked = {**_asked(period, endpoint, service), "seconds": seconds, "limit": limit}
        rows = self._database.rows(self._sql["repeats_in_time"], asked)
        return tuple(RepeatsInTime(*row) for row in rows)


def _asked(period: Period, endpoint: Endpoints, service: str | None) -> dict[str, object]:
    return {
        "start": period.start,
        "end": period.end,
        "endpoint": storable_names(endpoint),
        "service": None if service is None else storable(service),
    }
