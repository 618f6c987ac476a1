"""Would a Redis cache pay? The report of a day, for a Python shell, a job or a notebook.

    from otel_ratelimit.reports import generate_daily_cache_report

    report = generate_daily_cache_report()
    report.worthwhile, report.reason

It needs the extra `report`: `pip install "otel-ratelimit[report]"`. These are its steps, for other queries or
other prices:

    recorded_day                    reads a day of the query log
    analyze_cache_potential         from a day of queries to hit ratios, memory and latency
    calculate_redis_cost_benefit    from these, and prices, to a yes or no
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path

from opentelemetry.metrics import get_meter
from opentelemetry.trace import get_tracer

from otel_ratelimit.cache_advice.analyse import analyze_cache_potential
from otel_ratelimit.cache_advice.cost_benefit import CostBenefit, calculate_redis_cost_benefit
from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.cache_advice.needs import Needs
from otel_ratelimit.cache_advice.prices import Price
from otel_ratelimit.cache_advice.query_day import QueryDay
from otel_ratelimit.cache_advice.result import CacheAnalysis
from otel_ratelimit.core import names
from otel_ratelimit.core.cache_assumptions import Assumptions
from otel_ratelimit.core.clock import unix_time
from otel_ratelimit.core.days import last_full_day, local_day
from otel_ratelimit.core.errors import DatabaseBusyError
from otel_ratelimit.core.periods import Period
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.core.services import ALL_SERVICES, queries_read, warnings_of
from otel_ratelimit.policy import Policy
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.cache_reports import PostgresCacheReports
from otel_ratelimit.postgres.query_day import postgres_query_day
from otel_ratelimit.postgres.query_services import PostgresQueryServices
from otel_ratelimit.reports.job import ReportJob
from otel_ratelimit.reports.recorded_period import since_recording_began, why_unknown
from otel_ratelimit.runtime.application_here import database_url_here
from otel_ratelimit.runtime.which_database import named_url
from otel_ratelimit.runtime.which_policy import named_policy
from otel_ratelimit.telemetry.reports import report_telemetry

__all__ = [
    "Assumptions",
    "CacheAnalysis",
    "CostBenefit",
    "DailyCacheReport",
    "Needs",
    "Price",
    "analyze_cache_potential",
    "calculate_redis_cost_benefit",
    "generate_daily_cache_report",
    "recorded_day",
]


def generate_daily_cache_report(
    day: date | str | None = None,
    *,
    policy: Policy | Path | str | None = None,
    service: str | None = None,
    database_url: str | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> DailyCacheReport:
    """Analyse a day's queries, keep the report in `cache_analysis_daily`, and return it; sends no e-mail.

    Where several services record to the database, the report covers all of them, because one cache can serve
    all; `services` names them. With `service` the report covers one of them, and is not kept.

    Args:
        day: a day in the policy's time zone, as a date or `2026-01-31`; the last full day if not given.
        policy: a policy or its file; if not given, that of the environment, then `./ratelimit.toml`, then the
            built-in one.
        service: the service whose queries are analysed; None or `"*"` for all services.
        database_url: another database than that of the application, or of `OTEL_RATELIMIT_DATABASE_URL`.
        report: called with a sentence about each step.

    Raises:
        ConfigurationError: no database is configured, or the policy is not valid.
        DatabaseBusyError: another process is making reports.
        DatabaseError: the database cannot be used.
        TypeError, ValueError: `day` is not a day or has not ended, or no query of that day, or of the
            service, is recorded.
    """
    wanted = _day(day)
    with named_url(database_url or database_url_here()) as url:
        job = ReportJob(
            url,
            named_policy(policy),
            mailer=None,
            telemetry=report_telemetry(get_meter(names.METER), get_tracer(names.METER)),
            clock=unix_time,
            tell=report,
        )
        try:
            if service is not None and service != ALL_SERVICES:
                return job.of_service(service, wanted)
            outcome = job.run(wanted, mail="never")
            for _, error in outcome.failed:
                raise error
            if outcome.skipped:
                raise DatabaseBusyError("another process is making reports; try again when it is done")
            for unknown in outcome.unknown:
                raise ValueError(unknown)
            if outcome.kept:
                [kept] = outcome.kept
                raise ValueError(
                    f"some queries of {kept} have been deleted, so its report was not made again"
                )
        finally:
            job.close()
    [made] = outcome.made
    return made


@contextmanager
def recorded_day(
    day: date | str | None = None,
    *,
    zone: tzinfo = UTC,
    service: str | None = None,
    database_url: str | None = None,
) -> Iterator[QueryDay]:
    """A day of the query log, for `analyze_cache_potential`; keeps two connections open until it is left.

    Without `service` it covers all services, because one cache can serve all, and warns with a
    `SeveralServicesWarning` if there are several. Writes are always those of all services, because they make
    results stale for every service. The day on which recording began starts with the minute of its first
    query.

    Args:
        day: a day in `zone`, as a date or `2026-01-31`; the last full day if not given.
        zone: the time zone of the day.
        service: the service whose queries count; `"*"` for all services, without a warning.
        database_url: another database than that of the application, or of `OTEL_RATELIMIT_DATABASE_URL`.

    Raises:
        ConfigurationError: no database is configured.
        DatabaseError: the database cannot be read, now or during the analysis.
        TypeError, ValueError: `day` is not a day, or no query of that day, or of the service, is recorded.
    """
    wanted = _day(day) or last_full_day(datetime.fromtimestamp(unix_time(), UTC), zone)
    with named_url(database_url or database_url_here()) as url:
        period = _recorded(url, wanted, zone)
        with closing(Database(url)) as database:
            of = queries_read(PostgresQueryServices(database), period, service)
        # The caller is two frames up: contextlib has one in between.
        for warning in warnings_of(of, service):
            warnings.warn(warning, stacklevel=3)
        with postgres_query_day(url, period, service=of.service) as found:
            yield found


def _recorded(url: str | Secret, day: date, zone: tzinfo) -> Period:
    period = local_day(day, zone)
    with closing(Database(url)) as database:
        reports = PostgresCacheReports(database)
        if unknown := why_unknown(day, zone, reports.first_query()):
            raise ValueError(unknown)
        return since_recording_began(period, reports.recording_began())


def _day(given: object) -> date | None:
    if given is None or type(given) is date:
        return given
    if not isinstance(given, str):
        raise TypeError(f"day has the type {type(given).__name__}; give a date, or text such as 2026-01-31")
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise ValueError(f"{given[:40]!r} is not a day; give for instance 2026-01-31") from None
