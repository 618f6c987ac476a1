"""From the queries of a period to the report on them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, tzinfo

from otel_ratelimit.cache_advice.analyse import analyze_cache_potential
from otel_ratelimit.cache_advice.daily_report import DailyCacheReport, conclude
from otel_ratelimit.core.periods import Period
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.core.services import OF_ALL_QUERIES, QueriesRead
from otel_ratelimit.policy import Cache
from otel_ratelimit.postgres.cache_day import postgres_day
from otel_ratelimit.reports.assumptions import assumptions_of, pricing_of


def analysed(
    url: str | Secret,
    period: Period,
    *,
    day: date,
    zone: tzinfo,
    cache: Cache,
    whose: QueriesRead = OF_ALL_QUERIES,
    tell: Callable[[str], None] = lambda _: None,
) -> DailyCacheReport:
    """The report on `period`, which is kept nowhere.

    Args:
        url: of the database.
        period: a day, or a part of one.
        day: of which the report is called to be.
        zone: in which it is that day.
        cache: the policy's `[cache]`.
        whose: queries are read.
        tell: told what is being done.

    Raises:
        DatabaseError: its queries cannot be read.
    """
    assumptions = assumptions_of(cache)
    with postgres_day(url, period, service=whose.service) as queries:
        analysis = analyze_cache_potential(queries, assumptions, report=tell)
    return conclude(analysis, assumptions, pricing_of(cache), day=day, zone=zone, whose=whose)
