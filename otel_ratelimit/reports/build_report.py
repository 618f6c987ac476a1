"""Builds the report on the queries of a period."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, tzinfo

from otel_ratelimit.cache_advice.analyse import analyze_cache_potential
from otel_ratelimit.cache_advice.daily_report import DailyCacheReport, conclude
from otel_ratelimit.core.periods import Period
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.core.services import OF_ALL_QUERIES, QueriesRead
from otel_ratelimit.policy import Cache
from otel_ratelimit.postgres.query_day import postgres_query_day
from otel_ratelimit.reports.assumptions import assumptions_of, pricing_of


def build_report(
    url: str | Secret,
    period: Period,
    *,
    day: date,
    zone: tzinfo,
    cache: Cache,
    whose: QueriesRead = OF_ALL_QUERIES,
    tell: Callable[[str], None] = lambda _: None,
) -> DailyCacheReport:
    """Build the report on `period`; it is not saved.

    Args:
        url: of the database.
        period: a day, or a part of one.
        day: the date of the report.
        zone: of that date.
        cache: the policy's `[cache]`.
        whose: the services whose queries are read.
        tell: called with sentences about the progress.

    Raises:
        DatabaseError: its queries cannot be read.
    """
    assumptions = assumptions_of(cache)
    with postgres_query_day(url, period, service=whose.service) as queries:
        analysis = analyze_cache_potential(queries, assumptions, report=tell)
    return conclude(analysis, assumptions, pricing_of(cache), day=day, zone=zone, whose=whose)
