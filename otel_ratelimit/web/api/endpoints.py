"""The table of all endpoints: the routes and the OpenAPI document are made from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel

from otel_ratelimit.web.api.analytics import analytics
from otel_ratelimit.web.api.analytics_models import AnalyticsAnswer, AnalyticsParameters
from otel_ratelimit.web.api.cache_analysis import cache_analysis
from otel_ratelimit.web.api.cache_analysis_models import CacheAnalysisAnswer, CacheAnalysisParameters
from otel_ratelimit.web.api.metrics import metrics
from otel_ratelimit.web.api.metrics_models import MetricsAnswer
from otel_ratelimit.web.api.parameters import NoParameters, Parameters
from otel_ratelimit.web.api.services import Access, ApiServices
from otel_ratelimit.web.api.status import reset, status
from otel_ratelimit.web.api.status_models import ResetAnswer, StatusAnswer, StatusParameters


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path."""

    name: str
    """Flask's endpoint name within the blueprint, and the operation's id."""
    method: Literal["GET", "DELETE"]
    path: str
    """Below the API's prefix."""
    access: Access
    summary: str
    description: str
    parameters: type[Parameters]
    answer: type[BaseModel]
    handle: Callable[[ApiServices, Any], BaseModel]
    """Called with an instance of `parameters`; returns an instance of `answer`."""
    unavailable: str = ""
    """Further reasons for a 503, beyond those of all endpoints."""


ENDPOINTS: Final = (
    Endpoint(
        name="metrics",
        method="GET",
        path="/metrics",
        access="read",
        summary="The limiter's counters and memory now",
        description=(
            "Memory against its limit and thresholds, counters by endpoint and kind of client, cleanup,"
            " health of the store, and the recorder of violations. If each worker process has its own store,"
            " the figures are of the process that answers."
        ),
        parameters=NoParameters,
        answer=MetricsAnswer,
        handle=metrics,
    ),
    Endpoint(
        name="analytics",
        method="GET",
        path="/analytics",
        access="read",
        summary="Who was limited, and how much headroom the limits leave",
        description=(
            "Violations grouped and paged, the clients and endpoints with most of them, the share of"
            " requests that a limit refused, the headroom of each limit, and recommended limits with their"
            " evidence."
        ),
        parameters=AnalyticsParameters,
        answer=AnalyticsAnswer,
        handle=analytics,
        unavailable="Analytics are off, or their database cannot be used now.",
    ),
    Endpoint(
        name="cache_analysis",
        method="GET",
        path="/cache-analysis",
        access="read",
        summary="Would a cache before the database pay?",
        description=(
            "The latest analysis of a day's queries within the period: which repeat, what a cache would have"
            " answered by time to live, how much memory it takes, its costs and benefits, and for which"
            " queries; the trend over the days; and both as series for charts."
        ),
        parameters=CacheAnalysisParameters,
        answer=CacheAnalysisAnswer,
        handle=cache_analysis,
        unavailable="Analytics are off, or their database cannot be used now.",
    ),
    Endpoint(
        name="status",
        method="GET",
        path="/status",
        access="read",
        summary="Would this client be limited on this route now?",
        description="Asks the policy and the counters as a request would, and counts nothing.",
        parameters=StatusParameters,
        answer=StatusAnswer,
        handle=status,
        unavailable="The counter store did not answer.",
    ),
    Endpoint(
        name="reset",
        method="DELETE",
        path="/status",
        access="admin",
        summary="Forget a client's counters on a route",
        description="The described client may use the limits of the described route in full again.",
        parameters=StatusParameters,
        answer=ResetAnswer,
        handle=reset,
        unavailable="The counter store did not answer.",
    ),
)
