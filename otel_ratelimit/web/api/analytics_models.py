"""The parameters and the answer of `GET /analytics`; the OpenAPI document describes them from here."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pydantic import Field

from otel_ratelimit.analytics.reader import GroupBy, GroupName
from otel_ratelimit.analytics.recommended_limits import MAX_REJECTED_SHARE
from otel_ratelimit.web.api.answer_types import Answer, Count, Share
from otel_ratelimit.web.api.parameter_types import NO_CONTROL, DateRange, Decimal, WholeNumber
from otel_ratelimit.web.api.parameters import Parameters
from otel_ratelimit.web.route_names import Matched

MAX_PAGES: Final = 10_000
MAX_PAGE_SIZE: Final = 200
PAGE_SIZE: Final = 50


class AnalyticsParameters(Parameters):
    """The parameters of `GET /analytics`."""

    date_range: DateRange = "24h"
    endpoint: str | None = Field(
        default=None,
        description=(
            "Only this route, as in `violations.groups`: its template, or the name of its Flask endpoint"
            " (`jobs.detail`), which stands for all of its routes. `endpoint_matched` says which it was."
        ),
        max_length=300,
        pattern=NO_CONTROL,
        examples=["/api/jobs/<int:job_id>"],
    )
    group_by: GroupName = Field(
        default="endpoint",
        description="How violations are grouped: `endpoint` is the route template, `ip` means `client`.",
        examples=["client"],
    )
    page: WholeNumber = Field(
        default=1, ge=1, le=MAX_PAGES, description="The page of the groups.", examples=[1]
    )
    page_size: WholeNumber = Field(
        default=PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE, description="Groups on a page.", examples=[PAGE_SIZE]
    )
    max_rejected_share: Decimal = Field(
        default=MAX_REJECTED_SHARE,
        ge=0.0,
        le=1.0,
        description="The share of clients that a recommended limit may refuse.",
        examples=[MAX_REJECTED_SHARE],
    )
    service: str | None = Field(
        default=None,
        description=(
            "Only the service of this `service.name`; `*` for all together. Default: the only one that"
            " recorded anything in the period, else the application that answers."
        ),
        max_length=300,
        pattern=NO_CONTROL,
        examples=["jobs-api"],
    )


class PeriodAnswer(Answer):
    """From `start` to just before `end`."""

    start: datetime
    end: datetime


class ViolationGroupAnswer(Answer):
    """Violations that have the same endpoint, client, user, tier, hour or day."""

    key: str = Field(
        description="The name of the group; an endpoint is a route template. Empty for requests without a"
        " user; `<other>` for clients that were counted together."
    )
    violations: Count = Field(description="Requests that were refused, or would have been in shadow.")
    shadow: Count = Field(description="How many of those were let through in shadow.")
    clients: Count = Field(description="The number of different clients.")
    endpoints: Count = Field(description="The number of different endpoints.")
    first_at: datetime
    last_at: datetime


class ViolationsAnswer(Answer):
    """One page of the groups, those with the most violations first; hours and days in order of time."""

    group_by: GroupBy
    groups: list[ViolationGroupAnswer]
    total_violations: Count = Field(description="The sum over all groups, not only over this page.")
    total_groups: Count
    page: int = Field(ge=1)
    page_size: int = Field(ge=1)
    pages: Count


class HitRateAnswer(Answer):
    """The requests of one endpoint, or of all, by decision."""

    endpoint: str = Field(description="Route template; empty for all endpoints together.")
    requests: Count = Field(description="All requests.")
    limited: Count = Field(description="Requests that were checked against a limit.")
    refused: Count = Field(description="Requests that a limit refused, or would have refused in shadow.")
    allowed: Count
    blocked: Count
    shadow_blocked: Count
    exempt: Count
    errors: Count
    hit_rate: Share = Field(description="Share of `limited` that was refused.")


class HitRatesAnswer(Answer):
    """The share of requests that ran into a limit."""

    overall: HitRateAnswer
    by_endpoint: list[HitRateAnswer] = Field(description="The endpoints with the most refusals first.")


class LimitAnswer(Answer):
    """One limit of one endpoint."""

    endpoint: str = Field(description="Route template.")
    method: str
    tier: str
    limit_text: str = Field(examples=["10 per 1 minute"])
    limit_value: Count
    limit_seconds: Count


class BreathingRoomAnswer(LimitAnswer):
    """The headroom of a limit. A share is the part of the limit used after a request; refused counts as 1."""

    requests: Count = Field(description="Requests that were checked against this limit.")
    refused: Count = Field(description="Requests that this limit refused.")
    p50: Share
    p95: Share
    p99: Share
    highest: Share
    room: Share = Field(description="1 minus `p95`.")
    units_left: Count = Field(description="`room` in units of the limit.")


class CandidateAnswer(Answer):
    """A limit, and what it would have refused."""

    limit_value: Count
    limit_text: str
    rejected_requests: Count
    rejected_requests_share: Share
    rejected_clients: Count = Field(
        description="Windows of one client in which it would have refused at least one request."
    )
    rejected_clients_share: Share


class RecommendationAnswer(LimitAnswer):
    """The limit that the recorded requests suggest in place of the present one."""

    requests: Count = Field(description="Evidence: requests measured against the present limit.")
    client_windows: Count = Field(
        description="Evidence: clients, each counted once in each window of the limit."
    )
    recommended: CandidateAnswer | None = Field(
        description="The lowest that refuses at most the chosen share; null if even the highest refuses more."
    )
    enough_evidence: bool
    reason: str
    candidates: list[CandidateAnswer] = Field(description="From the lowest to the highest.")


class AnalyticsAnswer(Answer):
    """The limited clients of a period, how often they were limited, and how much room the limits leave."""

    period: PeriodAnswer
    endpoint: str | None = Field(description="The endpoint as it was asked for; null for all.")
    endpoint_matched: Matched | None = Field(
        default=None,
        description="Whether `endpoint` is a route template or a Flask endpoint; null for all.",
    )
    routes: list[str] | None = Field(
        default=None,
        description="The route templates that the figures are of; null for all. Every other field named"
        " `endpoint` here is a route template.",
    )
    service: str | None = Field(
        description="The service that all figures are of; null if they are of all `services` together."
    )
    services: list[str] = Field(
        default_factory=list, description="All services that recorded anything in the period, by name."
    )
    violations: ViolationsAnswer
    top_clients: list[ViolationGroupAnswer] = Field(description="The ten clients with the most violations.")
    top_endpoints: list[ViolationGroupAnswer] = Field(
        description="The ten endpoints with the most violations."
    )
    hit_rates: HitRatesAnswer
    breathing_room: list[BreathingRoomAnswer] = Field(description="By limit, the tightest first.")
    recommendations: list[RecommendationAnswer] = Field(
        description="By limit; empty if several services are read together: a limit is for one of them."
    )
