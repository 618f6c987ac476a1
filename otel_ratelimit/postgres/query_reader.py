"""Reads from the query log."""

from __future__ import annotations

from otel_ratelimit.analytics.reader import Endpoints
from otel_ratelimit.core.periods import Period
from otel_ratelimit.postgres.connection import Database
from otel_ratelimit.postgres.statements import statements
from otel_ratelimit.postgres.text import storable, storable_names
from otel_ratelimit.queries.repeats import RepeatsInRequests, RepeatsInTime


class PostgresQueries:
    """Questions to the query log, of a service or of all; `DatabaseError` where it cannot be read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = statements("queries")

    def repeats_in_requests(
        self, period: Period, *, endpoint: Endpoints = None, service: str | None = None, limit: int = 100
    ) -> tuple[RepeatsInRequests, ...]:
        """Templates that ran again and again within requests, those with the most to save first."""
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
        """Templates whose executions asked what had been asked at most `seconds` before, most repeats first.

        Only reads count that were answered, and whose answers hold for others: no `now()`, and nothing that
        its own transaction had written before.
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
