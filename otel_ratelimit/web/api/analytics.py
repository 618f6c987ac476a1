"""`GET /analytics`: who was limited, how often, and how much room the limits leave."""

from __future__ import annotations

from math import ceil
from typing import Final

from flask import current_app

from otel_ratelimit.analysis.hits import hit_rates, overall_hit_rate
from otel_ratelimit.analysis.recommend import recommend_limits
from otel_ratelimit.analysis.room import breathing_room
from otel_ratelimit.analysis.rows import AnalyticsReader, GroupBy, Period, Scope, group_named
from otel_ratelimit.web.api.models import (
    AnalyticsAnswer,
    BreathingRoomAnswer,
    HitRateAnswer,
    HitRatesAnswer,
    PeriodAnswer,
    RecommendationAnswer,
    ViolationGroupAnswer,
    ViolationsAnswer,
)
from otel_ratelimit.web.api.parameters import AnalyticsParameters, period_asked
from otel_ratelimit.web.api.problems import analytics_are_off
from otel_ratelimit.web.api.services import ApiServices
from otel_ratelimit.web.route_names import routes_named

TOP: Final = 10


def analytics(services: ApiServices, asked: AnalyticsParameters) -> AnalyticsAnswer:
    """The period's violations, hit rates, breathing room and recommended limits.

    Raises:
        ProblemError: the period is none, or analytics are off.
        DatabaseError: the figures cannot be read now.
    """
    period = period_asked(asked.date_range, services.clock())
    reader = services.reader
    if reader is None:
        raise analytics_are_off()
    named = None if asked.endpoint is None else routes_named(current_app, asked.endpoint)
    scope = Scope(None if named is None else named.routes, asked.service)
    totals = reader.requests(period, scope)
    uses = reader.limits(period, scope)
    recommendations = recommend_limits(uses, reader.excess(period, scope), asked.max_rejected_share)
    return AnalyticsAnswer(
        period=PeriodAnswer.model_validate(period),
        endpoint=asked.endpoint,
        endpoint_matched=None if named is None else named.matched,
        routes=None if named is None else list(named.routes),
        service=asked.service,
        violations=_violations(reader, period, scope, asked),
        top_clients=_top(reader, period, scope, "client"),
        top_endpoints=_top(reader, period, scope, "endpoint"),
        hit_rates=HitRatesAnswer(
            overall=HitRateAnswer.model_validate(overall_hit_rate(totals)),
            by_endpoint=[HitRateAnswer.model_validate(rate) for rate in hit_rates(totals)],
        ),
        breathing_room=[BreathingRoomAnswer.model_validate(room) for room in breathing_room(uses)],
        recommendations=[RecommendationAnswer.model_validate(found) for found in recommendations],
    )


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
