"""The queries that the demo's application repeated, from the query log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from otel_ratelimit.core.periods import Period
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.query_reader import PostgresQueries
from otel_ratelimit.queries.duplicates import RepeatsInRequests, RepeatsInTime

WITHIN_SECONDS: Final = 60.0
_MOST: Final = 5
_TOTALS: Final = """
SELECT coalesce(sum(n), 0)::bigint, count(DISTINCT template_hash)::bigint, coalesce(sum(dropped), 0)::bigint
FROM otel_ratelimit.query_totals WHERE minute >= %(start)s
"""


@dataclass(frozen=True, slots=True)
class QueriesFound:
    """The recorded queries of one run."""

    executions: int
    templates: int
    dropped: int
    in_time: tuple[RepeatsInTime, ...]
    """Most repeats first."""
    in_requests: tuple[RepeatsInRequests, ...]
    """N+1 patterns, the worst first."""


def look(database_url: str, since: datetime) -> QueriesFound:
    """The queries since `since`.

    Raises:
        DatabaseError: the query log cannot be read.
    """
    database = Database(database_url)
    try:
        queries = PostgresQueries(database)
        period = Period(since, datetime.now(UTC) + timedelta(minutes=1))
        [(executions, templates, dropped)] = database.rows(_TOTALS, {"start": since})
        return QueriesFound(
            executions,
            templates,
            dropped,
            queries.repeats_in_time(period, seconds=WITHIN_SECONDS, limit=_MOST),
            queries.repeats_in_requests(period, limit=_MOST),
        )
    finally:
        database.close()
