"""The answers of the API; the OpenAPI document describes them from here.

Shares are 0 to 1, percentages 0 to 100, sizes bytes (a megabyte is 10^6 of them), times ISO 8601 in UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from otel_ratelimit.analytics.reader import GroupBy
from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.core.route_plan import KeyKind, Strategy
from otel_ratelimit.storage.health import Status
from otel_ratelimit.web.route_names import Matched

Count: TypeAlias = Annotated[int, Field(ge=0)]
Share: TypeAlias = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds: TypeAlias = Annotated[float, BeforeValidator(lambda seconds: max(seconds, 0.0)), Field(ge=0.0)]
"""Counted from now; a store elsewhere has a clock of its own."""


class Answer(BaseModel):
    """What all answers have in common: made once, from the core's own objects where they fit."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


# --- metrics ---


class MemoryAnswer(Answer):
    """How much memory the counters take."""

    used_bytes: Count = Field(description="What the counters take.")
    used_megabytes: float = Field(description="The same in megabytes of 10^6 bytes.", ge=0.0)
    capacity_bytes: Count | None = Field(description="The limit; null if there is none.")
    used_percent: float | None = Field(description="Percent of the limit; null if there is none.", ge=0.0)
    status: Status = Field(description="Against the two thresholds.")
    warning_bytes: Count = Field(description="`warning` from here on.")
    critical_bytes: Count = Field(description="`critical` from here on.")
    message: str = Field(description="The same in words.")


class KeysAnswer(Answer):
    """The counters there are."""

    active: Count = Field(description="Counters; an expired one counts until it is removed.")
    overflows: Count = Field(description="Hits counted in a shared bucket because the store was full.")
    by_endpoint: dict[str, Count] = Field(
        description=(
            "Counters by the name of the Flask endpoint (`jobs.detail`, not its route), the most first; `*`"
            " for those that several endpoints share."
        )
    )
    routes: dict[str, list[str]] = Field(
        default={},
        description="The route templates of each endpoint in `by_endpoint`; empty where it is none.",
    )
    by_client_kind: dict[str, Count] = Field(
        description="Counters by what clients are told apart by, the most first."
    )
    by_user: dict[str, Count] = Field(
        default={},
        description=(
            "Counters by user, the hundred with the most; empty text for those without a user, `<other>` for"
            " other users and those whose names are not remembered."
        ),
    )


class CleanupAnswer(Answer):
    """Removal of expired counters since the process began."""

    runs: Count
    removed_keys: Count
    freed_bytes: int
    last_at: datetime | None = Field(description="When the last run ended; null before the first.")
    last_duration_seconds: Seconds
    longest_pause_seconds: Seconds = Field(description="The longest that a run held requests up.")


class StorageAnswer(Answer):
    """The counter store."""

    name: str = Field(description="Its scheme.", examples=["bounded-memory"])
    healthy: bool = Field(description="Whether it answered when last asked.")
    tells_contents: bool = Field(
        description="False for a store elsewhere: `memory`, `keys` and `cleanup` are null then."
    )


class RecorderAnswer(Answer):
    """The recorder of violations, since the process began."""

    recorded: Count = Field(description="Violations written.")
    dropped: Count = Field(description="Violations lost.")
    pending: Count = Field(description="Violations not written yet.")
    healthy: bool = Field(description="Whether the last write succeeded.")


class MetricsAnswer(Answer):
    """What the limiter holds now: of the worker process that answers, where each has its own store."""

    at: datetime
    process_id: Count = Field(description="The worker process that answers.")
    storage: StorageAnswer
    memory: MemoryAnswer | None
    keys: KeysAnswer | None
    cleanup: CleanupAnswer | None
    recorder: RecorderAnswer | None = Field(description="Null where analytics are off.")


# --- analytics ---


class PeriodAnswer(Answer):
    """From `start` to just before `end`."""

    start: datetime
    end: datetime


class ViolationGroupAnswer(Answer):
    """Violations that have the same endpoint, client, user, tier, hour or day."""

    key: str = Field(
        description="Which: an endpoint is a route template. Empty for requests without a user; `<other>` for"
        " clients that were not told apart."
    )
    violations: Count = Field(description="Requests refused, and those that would have been in shadow.")
    shadow: Count = Field(description="Of those, how many were let through.")
    clients: Count = Field(description="How many different clients.")
    endpoints: Count = Field(description="At how many endpoints.")
    first_at: datetime
    last_at: datetime


class ViolationsAnswer(Answer):
    """One page of the groups, those with the most violations first; hours and days in order of time."""

    group_by: GroupBy
    groups: list[ViolationGroupAnswer]
    total_violations: Count = Field(description="Of all groups, not of this page only.")
    total_groups: Count
    page: int = Field(ge=1)
    page_size: int = Field(ge=1)
    pages: Count


class HitRateAnswer(Answer):
    """The requests of one endpoint, or of all, by what was decided of them."""

    endpoint: str = Field(description="Route template; empty for all of them together.")
    requests: Count = Field(description="All of them.")
    limited: Count = Field(description="Those that a limit was asked about.")
    refused: Count = Field(description="Those that a limit refused, or would have in shadow.")
    allowed: Count
    blocked: Count
    shadow_blocked: Count
    exempt: Count
    errors: Count
    hit_rate: Share = Field(description="Share of `limited` that was refused.")


class HitRatesAnswer(Answer):
    """What share of requests ran into a limit."""

    overall: HitRateAnswer
    by_endpoint: list[HitRateAnswer] = Field(description="Those with the most refusals first.")


class LimitAnswer(Answer):
    """One limit of one endpoint."""

    endpoint: str = Field(description="Route template.")
    method: str
    tier: str
    limit_text: str = Field(examples=["10 per 1 minute"])
    limit_value: Count
    limit_seconds: Count


class BreathingRoomAnswer(LimitAnswer):
    """How far use stays from a limit. Shares are of the limit used after a request; refused counts as 1."""

    requests: Count = Field(description="Measured against this limit.")
    refused: Count = Field(description="Of those, refused by it.")
    p50: Share
    p95: Share
    p99: Share
    highest: Share
    room: Share = Field(description="1 less the share used at `p95`.")
    units_left: Count = Field(description="The room in units of the limit.")


class CandidateAnswer(Answer):
    """A limit, and what it would have refused."""

    limit_value: Count
    limit_text: str
    rejected_requests: Count
    rejected_requests_share: Share
    rejected_clients: Count = Field(
        description="Windows of one client in which it would have refused anything."
    )
    rejected_clients_share: Share


class RecommendationAnswer(LimitAnswer):
    """What limit the evidence speaks for in place of the present one."""

    requests: Count = Field(description="Evidence: requests measured against the present limit.")
    client_windows: Count = Field(
        description="Evidence: clients, each counted once in each window of the limit."
    )
    recommended: CandidateAnswer | None = Field(
        description="The lowest that refuses no more than the chosen share; null where even the highest does."
    )
    enough_evidence: bool
    reason: str
    candidates: list[CandidateAnswer] = Field(description="From the lowest to the highest.")


class AnalyticsAnswer(Answer):
    """Who was limited in a period, how often, and how much room the limits leave."""

    period: PeriodAnswer
    endpoint: str | None = Field(description="The only one asked for, as it was asked for; null for all.")
    endpoint_matched: Matched | None = Field(
        default=None,
        description="What `endpoint` was taken for: a route template or a Flask endpoint; null for all.",
    )
    routes: list[str] | None = Field(
        default=None,
        description="The route templates that the figures are of; null for all. All else that is called"
        " `endpoint` here is a route template.",
    )
    service: str | None = Field(
        description="The service that all figures are of; null where they are of all `services` together."
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
        description="By limit; empty where several services are read together: a limit is for one of them."
    )


# --- status ---


class RouteAnswer(Answer):
    """What governs the request asked about."""

    route: str = Field(description="Template of the route; `<unmatched>` if none matches.")
    endpoint: str = Field(description="Flask's endpoint name; empty if no route matches.")
    method: str
    tier: str = Field(description="Empty for an exempt route.")
    rule: str = Field(description="What in the policy says so.", examples=["routes[2] (ratelimit.toml:31)"])
    key: str = Field(description="How the route tells clients apart.", examples=["ip", "header:X-Api-Key"])
    cost: Count = Field(description="Units that one request takes.")
    exempt: bool


class ClientAnswer(Answer):
    """The client asked about."""

    counted_by: KeyKind = Field(description="What its counters are really kept by.")
    address: str = Field(description="`unknown` if none was given.")
    user: str | None = Field(description="Null where the counters do not depend on it.")
    override: str | None = Field(description="The rule of `[[clients]]` that applies to it, if one does.")
    unused_parameters: list[str] = Field(
        description="Those of `user` and `key` that were given and make no difference here."
    )


class WindowAnswer(Answer):
    """One limit as it stands for the client now. Times are seconds from `at`."""

    limit: str = Field(examples=["10 per 1 minute"])
    name: str = Field(description="As in `RateLimit` headers.", examples=["10-per-minute"])
    amount: Count = Field(description="Units; scaled if the client has an override.")
    window_seconds: Count
    strategy: Strategy
    shadow: bool = Field(description="Only observed.")
    used: Count
    remaining: Count
    reset_after: Seconds = Field(description="Until the window is as good as new.")
    retry_after: Seconds = Field(description="Until this limit takes such a request; 0 where it does now.")


class StatusAnswer(Answer):
    """Whether the next such request of that client would be limited. Asking counts nothing."""

    at: datetime
    limited: bool = Field(description="Whether it would be refused.")
    decision: DecisionKind = Field(description="What would be decided of it.")
    retry_after: Seconds = Field(description="Until it would not be refused; 0 where it is not.")
    route: RouteAnswer
    client: ClientAnswer | None = Field(description="Null where the route is exempt.")
    limits: list[WindowAnswer] = Field(description="Shortest window first; empty where exempt.")


class ResetAnswer(Answer):
    """What was forgotten."""

    cleared: Count = Field(description="Counters that there were.")
    route: RouteAnswer
    client: ClientAnswer | None = Field(description="Null where the route is exempt.")
