"""Functions for the application's queries: their templates, their repeats, and recording one by hand.

    from otel_ratelimit.queries import detect_duplicates, hash_query, log_query

    detect_duplicates("2026-01-01", "2026-01-31").in_requests

Periods and errors are those of `otel_ratelimit.analytics`.
"""

from __future__ import annotations

import math
import operator
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

from otel_ratelimit.core.clock import unix_time
from otel_ratelimit.core.periods import period_or_last_day
from otel_ratelimit.core.services import QueriesWithoutServiceWarning, queries_read, warnings_of
from otel_ratelimit.postgres.query_reader import PostgresQueries
from otel_ratelimit.postgres.query_services import PostgresQueryServices
from otel_ratelimit.queries.duplicates import Duplicates, RepeatsInRequests, RepeatsInTime
from otel_ratelimit.queries.execution import OK, FixedContext
from otel_ratelimit.queries.failed_statements import recordable_text
from otel_ratelimit.queries.fingerprint import hash_query, is_statement, statement_text
from otel_ratelimit.queries.records import QueryTemplate
from otel_ratelimit.runtime.application_here import (
    application_here,
    database_url_here,
    recording_here,
    service_here,
)
from otel_ratelimit.runtime.which_database import named_database
from otel_ratelimit.web.route_names import routes_named

__all__ = [
    "Duplicates",
    "QueriesWithoutServiceWarning",
    "QueryTemplate",
    "RepeatsInRequests",
    "RepeatsInTime",
    "detect_duplicates",
    "hash_query",
    "log_query",
]

WITHIN_SECONDS = 60.0
DAY_SECONDS = 86_400.0
MAX_SECONDS = 366 * DAY_SECONDS
"""Longest duration, and longest time between two executions."""
MAX_NUMBER = 2**63 - 1
_SQLSTATE = re.compile(r"[0-9A-Z]{5}")
MAX_TEMPLATES = 1_000
"""At most this many are returned, those with the most to save."""

Moment = date | datetime | str
Parameters = Sequence[object] | Mapping[str, object]


def log_query(  # noqa: PLR0913 - public: everything known of an execution, by name
    sql: object,
    *,
    duration_seconds: float,
    parameters: Parameters | None = (),
    database: str = "",
    rows: int | None = None,
    result_bytes: int | None = None,
    status: str = OK,
    in_transaction: bool = False,
    context: str = "",
    started_at: float | None = None,
) -> bool:
    """Record a query that was not run through psycopg2, as quickly and safely as the capture does.

    Args:
        sql: the statement, as text, bytes or an object of psycopg2.sql; its values are not stored.
        duration_seconds: how long it took.
        parameters: the values by which a cache would distinguish executions; hashed, not stored. Equal ones
            must have equal `repr`.
        database: name of the database.
        rows: returned or touched.
        result_bytes: size of the result.
        status: `ok`, or the SQLSTATE of the error.
        in_transaction: whether its transaction had written before.
        context: anything else that makes equal queries have different results: the role, `search_path`.
        started_at: Unix time, seconds; if not given, now less the duration. The execution is recorded and
            counted in that minute, and deleted when it is older than the retention.

    Returns:
        Whether it is recorded: False if the application's queries are not recorded.

    Raises:
        RuntimeError: there is no current application, or it has no rate limits.
        TypeError, ValueError: an argument is invalid; nothing was recorded.
    """
    took = _seconds("duration_seconds", duration_seconds, MAX_SECONDS)
    latest = time.time() + DAY_SECONDS
    started = None if started_at is None else _seconds("started_at", started_at, latest)
    answer = _number("rows", rows), _number("result_bytes", result_bytes)
    for name, value in (("database", database), ("status", status), ("context", context)):
        if not isinstance(value, str):
            raise TypeError(f"{name} is {type(value).__name__}; give a str")
    if status != OK and not _SQLSTATE.fullmatch(status):
        raise ValueError(f"status is {status[:20]!r}; give 'ok', or the five characters of the SQLSTATE")
    statement, given = _statement(sql), _parameters(parameters)
    _, rate_limit = recording_here()
    queries = rate_limit.queries
    if queries is None:
        return False
    text = recordable_text(statement, status)
    if started is not None:
        queries.log.started_at(text, database, started, has_failed=status != OK)
    queries.log.intake.executed(
        text,
        b"\0".join((statement.encode(errors="replace"), repr(given).encode(errors="replace"))),
        FixedContext(b"\0".join((b"log_query", database.encode(), context.encode())), database),
        int(took * 1e9),
        bool(in_transaction),
        lambda known, _: known,
        answer,
        status,
        started,
    )
    return True


def _statement(sql: object) -> str:
    if not is_statement(sql):
        raise TypeError(f"sql is {type(sql).__name__}; give text, bytes or an object of psycopg2.sql")
    text = statement_text(sql)
    if not text.strip():
        raise ValueError("sql is empty; give the statement")
    return text


def _parameters(parameters: object) -> object:
    if parameters is None:
        return ()
    if isinstance(parameters, Mapping):
        return sorted(parameters.items(), key=str)
    if isinstance(parameters, Sequence) and not isinstance(parameters, str | bytes | bytearray):
        return tuple(parameters)
    raise TypeError(f"parameters is {type(parameters).__name__}; give a sequence, such as (7,), or a mapping")


def _seconds(name: str, value: object, most: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} is {type(value).__name__}; give a number of seconds")
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} is {value}; give a time of 0 or more, in seconds")
    if value > most:
        raise ValueError(f"{name} is {value:.15g}, too much for seconds; is it in milliseconds?")
    return float(value)


def _number(name: str, value: int | None) -> int | None:
    try:
        found = None if value is None else operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {type(value).__name__}; give an int, or None where unknown") from None
    if found is not None and not 0 <= found <= MAX_NUMBER:
        raise ValueError(f"{name} is {found}; give 0 to {MAX_NUMBER}, or None where unknown")
    return found


def detect_duplicates(
    start_date: Moment | None = None,
    end_date: Moment | None = None,
    *,
    within_seconds: float = WITHIN_SECONDS,
    endpoint: str | None = None,
    service: str | None = None,
    database_url: str | None = None,
) -> Duplicates:
    """Find queries that ran again and again in one request (N+1), or within a short time; the worst first.

    Where several services record to the database, the answer is about one of them, chosen as in
    `otel_ratelimit.analytics`; otherwise it is about all of them, and a `SeveralServicesWarning` names them.
    Queries that an earlier version recorded have no service: they are left out of the answer for a single
    service, and a `QueriesWithoutServiceWarning` tells how many there are.

    Args:
        start_date: start of the period; 24 hours before its end if not given.
        end_date: end of the period; a date is included whole; now if not given.
        within_seconds: the longest time between two equal queries that counts as a repeat.
        endpoint: only queries of this route template, or Flask endpoint of the current application.
        service: only queries of this service; `"*"` for all services together, without a warning.
        database_url: used instead of the current application's, or `OTEL_RATELIMIT_DATABASE_URL`.

    Raises:
        ConfigurationError: no database is named.
        DatabaseError: it cannot be read.
        TypeError, ValueError: the period or `within_seconds` is invalid, or nothing is recorded of the
            service.
    """
    _seconds("within_seconds", within_seconds, MAX_SECONDS)
    if endpoint is not None and not isinstance(endpoint, str):
        raise TypeError(f"endpoint is {type(endpoint).__name__}; give a route template, or None for all")
    routes = None if endpoint is None else routes_named(application_here(), endpoint).routes
    asked = period_or_last_day(start_date, end_date, datetime.fromtimestamp(unix_time(), UTC))
    with named_database(database_url or database_url_here()) as database:
        of = queries_read(PostgresQueryServices(database), asked, service, service_here())
        for warning in warnings_of(of, service):
            warnings.warn(warning, stacklevel=2)
        queries = PostgresQueries(database)
        return Duplicates(
            queries.repeats_in_requests(asked, endpoint=routes, service=of.service, limit=MAX_TEMPLATES),
            queries.repeats_in_time(
                asked, seconds=within_seconds, endpoint=routes, service=of.service, limit=MAX_TEMPLATES
            ),
            services=of.services,
            service=of.service,
            without_service=of.without_service,
        )
