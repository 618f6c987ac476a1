"""The application's queries: what they are, which repeat, and recording one by hand.

    from otel_ratelimit.queries import detect_duplicates, hash_query, log_query

    detect_duplicates("2026-01-01", "2026-01-31").in_requests

Periods and errors are those of `otel_ratelimit.analytics`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime

from flask import current_app

from otel_ratelimit.analysis.periods import period
from otel_ratelimit.analysis.query_rows import Duplicates, RepeatsInRequests, RepeatsInTime
from otel_ratelimit.analytics_wiring import named_database
from otel_ratelimit.fingerprint import hash_query
from otel_ratelimit.postgres.query_reader import PostgresQueries
from otel_ratelimit.query_records import QueryTemplate
from otel_ratelimit.querylog.execution import OK, Asked
from otel_ratelimit.wiring import EXTENSION, RateLimit

__all__ = [
    "Duplicates",
    "QueryTemplate",
    "RepeatsInRequests",
    "RepeatsInTime",
    "detect_duplicates",
    "hash_query",
    "log_query",
]

WITHIN_SECONDS = 60.0
MOST_TEMPLATES = 1_000
"""As many are answered at most, those with the most to save."""

Moment = date | datetime | str
Parameters = Sequence[object] | Mapping[str, object]


def log_query(  # noqa: PLR0913 - what is known of an execution, by name
    sql: str,
    *,
    duration_seconds: float,
    parameters: Parameters = (),
    database: str = "",
    rows: int | None = None,
    result_bytes: int | None = None,
    status: str = OK,
    in_transaction: bool = False,
    context: str = "",
    started_at: float | None = None,
) -> bool:
    """Record a query that was not run through psycopg2; as quick as the plugin's own, and as safe.

    Args:
        sql: the statement; its values are not stored.
        duration_seconds: how long it took.
        parameters: what a cache would tell executions apart by, hashed and not stored; equal ones must have
            equal `repr`.
        database: name of the database.
        rows: returned or touched.
        result_bytes: size of the result.
        status: `ok`, or the SQLSTATE of the error.
        in_transaction: whether the transaction it stood in had written before.
        context: anything else that makes equal questions have unequal answers: the role, `search_path`.
        started_at: Unix time, seconds; if not given, now less the duration.

    Returns:
        Whether it is being recorded: False where queries are not.

    Raises:
        RuntimeError: outside of an application that has its rate limits.
    """
    rate_limit: RateLimit | None = current_app.extensions.get(EXTENSION) if current_app else None
    if rate_limit is None:
        raise RuntimeError(
            "no application with rate limits here; call this within a request or `with app.app_context()`"
        )
    queries = rate_limit.queries
    if queries is None:
        return False
    given = sorted(parameters.items()) if isinstance(parameters, Mapping) else tuple(parameters)
    queries.log.intake.executed(
        sql,
        b"\0".join((sql.encode(errors="replace"), repr(given).encode(errors="replace"))),
        Asked(b"\0".join((b"log_query", database.encode(), context.encode())), database),
        max(int(duration_seconds * 1e9), 0),
        in_transaction,
        lambda answer, _: answer,
        (rows, result_bytes),
        status,
        started_at,
    )
    return True


def detect_duplicates(
    start_date: Moment,
    end_date: Moment,
    *,
    within_seconds: float = WITHIN_SECONDS,
    endpoint: str | None = None,
    database_url: str | None = None,
) -> Duplicates:
    """Queries that ran again and again, in one request (N+1) and in a short time, the worst first.

    Args:
        start_date: the period's beginning.
        end_date: its end; a date is included whole.
        within_seconds: how soon the same question has to come again to count as repeated.
        endpoint: of this route template only.
        database_url: instead of `OTEL_RATELIMIT_DATABASE_URL`.

    Raises:
        ConfigurationError: no database is named.
        DatabaseError: it cannot be read.
        ValueError: the period or `within_seconds` makes no sense.
    """
    if within_seconds < 0:
        raise ValueError(f"within_seconds is {within_seconds}; give a time of 0 or more, in seconds")
    asked = period(start_date, end_date)
    with named_database(database_url) as database:
        queries = PostgresQueries(database)
        return Duplicates(
            queries.repeats_in_requests(asked, endpoint=endpoint, limit=MOST_TEMPLATES),
            queries.repeats_in_time(asked, seconds=within_seconds, endpoint=endpoint, limit=MOST_TEMPLATES),
        )
