"""The parameters and the answers of `/status`; the OpenAPI document describes them from here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from pydantic import Field

from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.core.route_plan import KeyKind, Strategy
from otel_ratelimit.web.api.answer_types import Answer, Count, Seconds
from otel_ratelimit.web.api.parameter_types import NO_CONTROL, Address, Method
from otel_ratelimit.web.api.parameters import Mismatch, Parameters
from otel_ratelimit.web.route_plans import KNOWN_METHODS


class StatusParameters(Parameters):
    """The request whose limits are asked for."""

    mismatches: ClassVar[Mapping[str, Mismatch]] = {
        "method": Mismatch("is not a known method", f"one of {', '.join(sorted(KNOWN_METHODS))}"),
        "path": Mismatch(
            "is not a path", "begin with / and leave out ? and #, for instance path=/api/jobs/7"
        ),
    }

    path: str = Field(
        description="Its path, as the application sees it, without a query.",
        max_length=500,
        pattern=r"^/[^\x00-\x1f\x7f?#]*$",
        examples=["/api/jobs/7"],
    )
    method: Method = Field(default="GET", description="Its method.", examples=["POST"])
    ip: Address | None = Field(
        default=None,
        description=(
            "The client's address. Needed unless the route counts by a user, header or function alone, and"
            " `user` or `key` gives it."
        ),
        examples=["192.0.2.7"],
    )
    user: str | None = Field(
        default=None,
        description="The verified user; without it the request is anonymous.",
        max_length=256,
        pattern=NO_CONTROL,
        examples=["alice"],
    )
    key: str | None = Field(
        default=None,
        description=(
            "For a route that counts by a header or a function: the header's value, or what the function"
            " answers."
        ),
        max_length=256,
        pattern=NO_CONTROL,
        examples=["4f1c"],
    )


class RouteAnswer(Answer):
    """The route of the described request."""

    route: str = Field(description="Template of the route; `<unmatched>` if none matches.")
    endpoint: str = Field(description="Flask's endpoint name; empty if no route matches.")
    method: str
    tier: str = Field(description="Empty for an exempt route.")
    rule: str = Field(
        description="The rule of the policy that applies.", examples=["routes[2] (ratelimit.toml:31)"]
    )
    key: str = Field(description="The key that the route counts by.", examples=["ip", "header:X-Api-Key"])
    cost: Count = Field(description="Units that one request takes.")
    exempt: bool


class ClientAnswer(Answer):
    """The described client."""

    counted_by: KeyKind = Field(description="The key by which its counters are kept.")
    address: str = Field(description="`unknown` if none was given.")
    user: str | None = Field(description="Null if the counters do not depend on it.")
    override: str | None = Field(description="The rule of `[[clients]]` that applies to it, if one does.")
    unused_parameters: list[str] = Field(
        description="Those of `user` and `key` that were given and have no effect here."
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
    reset_after: Seconds = Field(description="Until the window is empty again.")
    retry_after: Seconds = Field(description="Until this limit allows such a request; 0 if it does now.")


class StatusAnswer(Answer):
    """Whether the next such request of that client would be limited. This query counts nothing."""

    at: datetime
    limited: bool = Field(description="Whether it would be refused.")
    decision: DecisionKind = Field(description="The decision on such a request.")
    retry_after: Seconds = Field(description="Until it would be allowed; 0 if it is allowed now.")
    route: RouteAnswer
    client: ClientAnswer | None = Field(description="Null where the route is exempt.")
    limits: list[WindowAnswer] = Field(description="Shortest window first; empty where exempt.")


class ResetAnswer(Answer):
    """The counters that were cleared."""

    cleared: Count = Field(description="Number of counters that were cleared.")
    route: RouteAnswer
    client: ClientAnswer | None = Field(description="Null where the route is exempt.")
