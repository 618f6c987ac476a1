"""Violations, hit rates, headroom and recommended limits: for a Python shell, a job or a notebook.

    from otel_ratelimit.analytics import get_violations_by_endpoint

    get_violations_by_endpoint("2026-01-01", "2026-01-31")

Periods are dates, datetimes (UTC if they have no time zone), or ISO 8601 text of either. An end date is
included. The end is now if it is not given, and the start is 24 hours before the end.

An endpoint is a route template (`/api/jobs/<int:id>`), and so it is in all results. Within an application,
functions also accept the name of a Flask endpoint (`jobs.detail`).

All functions that read use the database of the current application, or of `OTEL_RATELIMIT_DATABASE_URL`,
unless `database_url` names another one. They raise

    ConfigurationError   no database is configured
    DatabaseError        the database cannot be read
    ValueError           the period is not valid, or the service has recorded nothing

Where several services record to one database, `service` selects one of them, and `"*"` selects all. Without
it, the figures are those of the only service of the period; if there are several, of the one that runs here
(`OTEL_SERVICE_NAME`), or otherwise of all services, with a `SeveralServicesWarning` that names them.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from uuid import UUID

from flask import has_request_context

from otel_ratelimit.analytics.headroom import BreathingRoom, headroom
from otel_ratelimit.analytics.hit_rate import HitRate, hit_rates
from otel_ratelimit.analytics.reader import Scope, ViolationGroup
from otel_ratelimit.analytics.recommended_limits import MAX_REJECTED_SHARE, By, Recommendation
from otel_ratelimit.analytics.recommended_limits import recommend_limits as _recommend
from otel_ratelimit.analytics.records import Violation
from otel_ratelimit.core.clock import unix_time
from otel_ratelimit.core.periods import Period, period_or_last_day
from otel_ratelimit.core.services import (
    ServicesRead,
    SeveralServicesError,
    SeveralServicesWarning,
    UnknownServiceError,
    services_read,
)
from otel_ratelimit.postgres.analytics_reader import PostgresAnalytics
from otel_ratelimit.runtime.application_here import (
    application_here,
    database_url_here,
    recording_here,
    service_here,
)
from otel_ratelimit.runtime.functions import reported_violations
from otel_ratelimit.runtime.which_database import named_database
from otel_ratelimit.telemetry import current_trace_id
from otel_ratelimit.web.client_source import current_user_agent
from otel_ratelimit.web.route_names import route_template, routes_named

__all__ = [
    "SeveralServicesError",
    "SeveralServicesWarning",
    "UnknownServiceError",
    "calculate_breathing_room",
    "calculate_hit_rate_by_endpoint",
    "get_violations_by_endpoint",
    "get_violations_by_ip",
    "log_rate_limit_violation",
    "recommend_limits",
]

MAX_GROUPS = 10_000
"""The largest number of endpoints or clients that a function returns: those with the most violations."""

Moment = date | datetime | str


def log_rate_limit_violation(  # noqa: PLR0913 - a public function: the columns of a row, by name
    *,
    endpoint: str,
    client: str | None,
    limit_text: str,
    limit_value: int,
    limit_seconds: int,
    current_count: int,
    method: str = "GET",
    tier: str = "application",
    user_id: str | int | UUID | None = None,
    shadow: bool = False,
    occurred_at: float | None = None,
) -> bool:
    """Record a refusal that the application decided itself; as quick and as safe as the plugin's own.

    The refusal is also in the application log, even if analytics are off. Within a request, its user agent
    and trace are recorded, too. Refusals of the plugin and of Flask-Limiter are recorded without this call.

    Args:
        endpoint: a route template (`/api/jobs/<int:id>`), not a path; or the name of a Flask endpoint, whose
            template is recorded; or any other name.
        client: address of the client; None is recorded as `unknown`.
        limit_text: the limit as `limits` prints it: `10 per 1 minute`.
        limit_value: amount of the limit, units.
        limit_seconds: window of the limit.
        current_count: units used.
        method: method of the request.
        tier: any name for the group of limits.
        user_id: the user, if known: text, a number or a UUID.
        shadow: whether the request was allowed nevertheless.
        occurred_at: Unix time, seconds; now if not given.

    Returns:
        Whether the refusal is recorded: False if analytics are off.

    Raises:
        RuntimeError: there is no current application, or it has no rate limits.
        TypeError: an argument has a type that cannot be recorded; nothing is recorded.
        ValueError: a number is out of range; nothing is recorded.
    """
    app, rate_limit = recording_here()
    at = reported_violations.time_of("occurred_at", time.time() if occurred_at is None else occurred_at)
    violation = Violation(
        occurred_at=at,
        last_at=at,
        endpoint=route_template(app, reported_violations.text_of("endpoint", endpoint)),
        method=reported_violations.text_of("method", method),
        client=reported_violations.client_of(client),
        user_id=reported_violations.user_of(user_id),
        tier=reported_violations.text_of("tier", tier),
        limit_text=reported_violations.text_of("limit_text", limit_text),
        limit_value=reported_violations.count_of("limit_value", limit_value),
        limit_seconds=reported_violations.count_of("limit_seconds", limit_seconds),
        current_count=reported_violations.count_of("current_count", current_count),
        user_agent=current_user_agent() if has_request_context() else None,
        trace_id=current_trace_id(),
        shadow=reported_violations.flag_of("shadow", shadow),
    )
    if rate_limit.refusal_log is not None:
        rate_limit.refusal_log.violated(violation)
    analytics = rate_limit.analytics
    if analytics is not None:
        analytics.recorder.violated(violation)
    return analytics is not None


def get_violations_by_endpoint(
    start_date: Moment | None = None,
    end_date: Moment | None = None,
    *,
    service: str | None = None,
    database_url: str | None = None,
) -> list[ViolationGroup]:
    """Violations of the period by endpoint, most violations first; `key` is the route template."""
    asked = _period(start_date, end_date)
    with _reader(database_url) as reader:
        scope = _scope(reader, asked, service)
        page = reader.violations(asked, "endpoint", scope, limit=MAX_GROUPS)
    return list(page.groups)


def get_violations_by_ip(
    start_date: Moment | None = None,
    end_date: Moment | None = None,
    *,
    service: str | None = None,
    database_url: str | None = None,
) -> list[ViolationGroup]:
    """Violations of the period by client address, most violations first.

    `key` is the address as it is stored: whole, masked or hashed. It is `<other>` for clients that were
    summed up, because there were too many at once.
    """
    asked = _period(start_date, end_date)
    with _reader(database_url) as reader:
        scope = _scope(reader, asked, service)
        page = reader.violations(asked, "client", scope, limit=MAX_GROUPS)
    return list(page.groups)


def calculate_hit_rate_by_endpoint(
    start_date: Moment | None = None,
    end_date: Moment | None = None,
    *,
    endpoint: str | None = None,
    service: str | None = None,
    database_url: str | None = None,
) -> list[HitRate]:
    """The share of the period's requests that ran into a limit, by endpoint; most refusals first.

    Args:
        start_date: start of the period; 24 hours before its end if not given.
        end_date: end of the period; now if not given.
        endpoint: a route template, or a Flask endpoint of the current application; all if not given.
        service: the service whose requests count.
        database_url: another database than that of the application or the environment.
    """
    asked = _period(start_date, end_date)
    with _reader(database_url) as reader:
        return hit_rates(reader.requests(asked, _scope(reader, asked, service, endpoint)))


def calculate_breathing_room(
    start_date: Moment | None = None,
    end_date: Moment | None = None,
    *,
    endpoint: str | None = None,
    service: str | None = None,
    quantile: float = 0.95,
    database_url: str | None = None,
) -> list[BreathingRoom]:
    """How far use stays from each limit of each endpoint, the tightest first.

    Args:
        start_date: start of the period; 24 hours before its end if not given.
        end_date: end of the period; now if not given.
        endpoint: a route template, or a Flask endpoint of the current application; all if not given.
        service: the service whose requests count.
        quantile: quantile of the requests, by the share of the limit that they found used.
        database_url: another database than that of the application or the environment.
    """
    asked = _period(start_date, end_date)
    with _reader(database_url) as reader:
        return headroom(reader.limits(asked, _scope(reader, asked, service, endpoint)), quantile)


def recommend_limits(
    start_date: Moment | None = None,
    end_date: Moment | None = None,
    *,
    endpoint: str | None = None,
    service: str | None = None,
    max_rejected_share: float = MAX_REJECTED_SHARE,
    by: By = "clients",
    database_url: str | None = None,
) -> list[Recommendation]:
    """For each endpoint and limit: what others would have refused, and the lowest that refuses few enough.

    A limit is for one service, so one of several services must be named.

    Args:
        start_date: start of the period; 24 hours before its end if not given.
        end_date: end of the period; now if not given.
        endpoint: a route template, or a Flask endpoint of the current application; all if not given.
        service: the service whose requests count.
        max_rejected_share: share that the recommended limit may refuse, 0 to 1.
        by: share of `clients` (in windows of the limit), or of `requests`.
        database_url: another database than that of the application or the environment.

    Raises:
        SeveralServicesError: there are several services, none is named, and none of them runs here; it is a
            `ValueError`.
    """
    asked = _period(start_date, end_date)
    with _reader(database_url) as reader:
        of = _services(reader, asked, service)
        if of.is_mixed:
            raise SeveralServicesError(of.services, "a limit is for one of them", "name it with service=NAME")
        scope = Scope(_routes(endpoint), of.service)
        return _recommend(reader.limits(asked, scope), reader.excess(asked, scope), max_rejected_share, by)


def _period(start: Moment | None, end: Moment | None) -> Period:
    return period_or_last_day(start, end, datetime.fromtimestamp(unix_time(), UTC))


def _routes(endpoint: str | None) -> tuple[str, ...] | None:
    return None if endpoint is None else routes_named(application_here(), endpoint).routes


@contextmanager
def _reader(given: str | None) -> Iterator[PostgresAnalytics]:
    with named_database(given or database_url_here()) as database:
        yield PostgresAnalytics(database)


def _services(reader: PostgresAnalytics, asked: Period, service: str | None) -> ServicesRead:
    return services_read(reader, asked, service, service_here())


def _scope(
    reader: PostgresAnalytics, asked: Period, service: str | None, endpoint: str | None = None
) -> Scope:
    """The scope to read; warns if it has several services and the caller did not ask for all of them."""
    of = _services(reader, asked, service)
    if of.is_mixed and service is None:
        warnings.warn(of.sentence("service=NAME"), SeveralServicesWarning, stacklevel=3)
    return Scope(_routes(endpoint), of.service)
