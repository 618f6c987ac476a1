"""`GET /analytics`: who was limited, how often, and how much headroom the limits leave."""

from __future__ import annotations

from http import HTTPStatus
from math import ceil
from typing import Final

from flask import current_app

from otel_ratelimit.analytics.headroom import headroom
from otel_ratelimit.analytics.hit_rate import hit_rates, overall_hit_rate
from otel_ratelimit.analytics.reader import AnalyticsReader, GroupBy, Scope, group_named
from otel_ratelimit.analytics.recommended_limits import recommend_limits
from otel_ratelimit.core.periods import Period
from otel_ratelimit.core.services import ServicesRead, UnknownServiceError, services_read
from otel_ratelimit.web.api.analytics_models import (
    AnalyticsAnswer,
    AnalyticsParameters,
    BreathingRoomAnswer,
    HitRateAnswer,
    HitRatesAnswer,
    PeriodAnswer,
    RecommendationAnswer,
    ViolationGroupAnswer,
    ViolationsAnswer,
)
from otel_ratelimit.web.api.parameter_types import period_asked
from otel_ratelimit.web.api.problems import ProblemError, analytics_are_off
from otel_ratelimit.web.api.services import ApiServices
from otel_ratelimit.web.route_names import routes_named

TOP: Final = 10


def analytics(services: ApiServices, asked: AnalyticsParameters) -> AnalyticsAnswer:
    """The period's violations, hit rates, breathing room and recommended limits.

    Raises:
        ProblemError: the period is not valid, nothing is recorded of the service, or analytics are off.
        DatabaseError: the figures cannot be read now.
    """
    period = period_asked(asked.date_range, services.clock())
    reader = services.reader
    if reader is None:
        raise analytics_are_off()
    named = None if asked.endpoint is None else routes_named(current_app, asked.endpoint)
    of = _services(services, reader, period, asked.service)
    scope = Scope(None if named is None else named.routes, of.service)
    totals = reader.requests(period, scope)
    uses = reader.limits(period, scope)
    # A limit is for one service: a limit that fits the sum of several services fits none of them.
    excess = [] if of.is_mixed else reader.excess(period, scope)
    recommendations = recommend_limits([] if of.is_mixed else uses, excess, asked.max_rejected_share)
    return AnalyticsAnswer(
        period=PeriodAnswer.model_validate(period),
        endpoint=asked.endpoint,
        endpoint_matched=None if named is None else named.matched,
        routes=None if named is None else list(named.routes),
        service=of.service,
        services=list(of.services),
        violations=_violations(reader, period, scope, asked),
        top_clients=_top(reader, period, scope, "client"),
        top_endpoints=_top(reader, period, scope, "endpoint"),
        hit_rates=HitRatesAnswer(
            overall=HitRateAnswer.model_validate(overall_hit_rate(totals)),
            by_endpoint=[HitRateAnswer.model_validate(rate) for rate in hit_rates(totals)],
        ),
        breathing_room=[BreathingRoomAnswer.model_validate(room) for room in headroom(uses)],
        recommendations=[RecommendationAnswer.model_validate(found) for found in recommendations],
    )


def _services(
    services: ApiServices, reader: AnalyticsReader, period: Period, asked: str | None
) -> ServicesRead:
    try:
        return services_read(reader, period, asked, services.own_service())
    except UnknownServiceError as unknown:
        message = str(unknown)
        raise ProblemError(HTTPStatus.NOT_FOUND, f"{message[:1].upper()}{message[1:]}.") from None


def _violations(
    reader: AnalyticsReader, period: Period, scope: Scope, asked: AnalyticsParameters
) -> ViolationsAnswer:
    size, group_by = asked.page_size, group_named(asked.group_by)
    found = reader.violations(period, group_by, scope, limit=size, offset=(asked.page - 1) * size)
    return ViolationsAnswer(
        group_by=group_by,
        groups=[ViolationGroupAnswer.model_validate(group) for group in found.groups],
        total_violations=found.total_violations,
        total_groups=found.total_groups,
        page=asked.page,
        page_size=size,
        pages=ceil(found.total_groups / size),
    )


def _top(reader: AnalyticsReader, period: Period, scope: Scope, by: GroupBy) -> list[ViolationGroupAnswer]:
    found = reader.violations(period, by, scope, limit=TOP)
    return [ViolationGroupAnswer.model_validate(group) for group in found.groups]
