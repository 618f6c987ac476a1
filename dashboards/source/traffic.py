"""Panels of requests and what was decided, which more than one dashboard has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from grafana_foundation_sdk.builders import table, timeseries
from grafana_foundation_sdk.models.common import GraphDrawStyle
from grafana_foundation_sdk.models.dashboard import DashboardRegexMapOptions, RegexMap, ValueMappingResult

from dashboards.source import promql
from dashboards.source.asked import Prom, Sql
from dashboards.source.links import trace_url
from dashboards.source.panels import GREEN, ORANGE, RED, course
from dashboards.source.tables import Column, rows
from otel_ratelimit.core import names
from otel_ratelimit.core.decision import DecisionKind

DECISION_COLORS: Final[Mapping[str, str]] = {
    DecisionKind.ALLOWED: GREEN,
    DecisionKind.EXEMPT: "blue",
    DecisionKind.SHADOW_BLOCKED: "yellow",
    DecisionKind.BLOCKED: ORANGE,
    DecisionKind.ERROR: RED,
}
REQUESTS: Final = promql.ours(names.REQUESTS)
LIMITED: Final = promql.ours(names.REQUESTS, promql.differs(names.DECISION, DecisionKind.EXEMPT))
"""Those that a limit was asked about; shares are of these, as those of the alerts are."""
BLOCKED: Final = promql.ours(names.REQUESTS, promql.equals(names.DECISION, DecisionKind.BLOCKED))
IN_SHADOW: Final = promql.ours(names.REQUESTS, promql.equals(names.DECISION, DecisionKind.SHADOW_BLOCKED))


def decisions() -> timeseries.Panel:
    """What became of requests."""
    return course(
        "Requests by decision",
        "Orange was refused with 429; yellow would have been, were its limit not in shadow; red found the"
        " store failed. If orange grows, see which route and whose requests in Endpoints and limits.",
        Prom(
            promql.rate(promql.ours(names.REQUESTS), names.DECISION),
            "{{otel_ratelimit_decision}}",
        ),
        unit="reqps",
        stacked=True,
        colors=DECISION_COLORS,
        empty="no requests",
    )


def refused_by_route() -> timeseries.Panel:
    """Which routes refuse."""
    return course(
        "Refused by route",
        "The ten routes that refuse most. A route that refuses many clients has a limit that is too low; one"
        " that refuses one client has that client to talk to. A dot leads to the trace of a refused request.",
        Prom(
            f"topk(10, {promql.rate(BLOCKED, names.HTTP_ROUTE)})",
            "{{http_route}}",
            exemplars=True,
        ),
        unit="reqps",
        legend="table beside",
        empty="nothing refused",
    )


def as_columns(panel: timeseries.Panel) -> timeseries.Panel:
    """Of what is counted by minute or day, and nothing between."""
    return panel.draw_style(GraphDrawStyle.BARS).fill_opacity(70).line_width(0)


def trace_column() -> Column:
    """Ids of traces, each a link to its trace and shown by the first digits."""
    digits = RegexMap(
        DashboardRegexMapOptions(pattern="^([0-9a-f]{8}).*$", result=ValueMappingResult(text="$1", index=0))
    )
    return Column("Trace", mapping=digits, width=100, url=trace_url(), url_title="Open the trace")


def last_violations() -> table.Panel:
    """The newest of those that were recorded."""
    return rows(
        "Last violations",
        "Whom a limit refused, or would have in shadow; equal ones of a minute share a row. Follow the trace"
        " to see what the request was; ask the client to wait for Retry-After, or give it a rule of its own"
        " in the policy.",
        Sql("endpoints", "last_violations"),
        [
            Column("Last", width=180),
            Column("Service", width=130),
            Column("Method", width=80),
            Column("Client", width=200),
            Column("User", width=130),
            Column("Tier", width=120),
            Column("Limit", width=140),
            Column("Used", "locale", 0, 80),
            Column("Times", "locale", 0, 80),
            Column("Outcome", width=90),
            trace_column(),
        ],
        empty="no violations",
    )
