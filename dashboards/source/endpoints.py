"""Endpoints and limits: decisions, headroom, and limited clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from grafana_foundation_sdk.builders import bargauge, heatmap, table, timeseries
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.source import links, promql, tables, traffic
from dashboards.source.asked import Prom, Sql, at_end, by_quantile
from dashboards.source.layout import Row, line, row
from dashboards.source.panels import GREEN, ORANGE, RED, bars, course, density, steps
from dashboards.source.postgres import Format
from otel_ratelimit.core import names, thresholds

UID: Final = links.ENDPOINTS
DESCRIPTION: Final = "Decisions about requests, headroom of each limit, and the clients that are limited."
TIME: Final = "now-24h"
"""Violations are shown for a day: for fewer hours most tables would be empty."""

_USED: Final = promql.buckets(names.UTILIZATION)
_MEASURED: Final = promql.count(names.UTILIZATION)
_HIGH: Final = f'le="{thresholds.UTILIZATION_HIGH}"'
_ROOM: Final = ((0.1, ORANGE), (1 - thresholds.UTILIZATION_HIGH, GREEN))
"""Headroom of a limit: below the first figure, refusals are near."""
_HIGH_SHARE: Final = ((thresholds.UTILIZATION_HIGH_SHARE, ORANGE), (0.25, RED))
"""Share of requests above `UTILIZATION_HIGH`: any is worth a look; a quarter will be refused soon."""


def rows() -> list[Row]:
    """Rows from all requests down to single clients."""
    return [
        row(
            "Decisions",
            line(9, (12, traffic.decisions()), (12, traffic.refused_by_route())),
            line(9, (24, _routes())),
        ),
        row(
            "Room that is left",
            line(9, (12, _heat()), (12, _quantiles())),
            line(9, (12, _approaching()), (12, _room())),
            line(10, (24, _room_by_limit())),
        ),
        row(
            "Who is limited",
            line(9, (12, _limited_routes()), (12, _limited_clients())),
            line(8, (24, _refusals_by_limit())),
            line(10, (24, traffic.last_violations())),
        ),
    ]


def _over_high(counted: Callable[[str, str], str]) -> str:
    """Share of the requests, by route, whose client was close to a limit; counted as `promql.rate` does."""
    below = counted(promql.buckets(names.UTILIZATION, _HIGH), names.HTTP_ROUTE)
    return f"1 - {below} / ({counted(_MEASURED, names.HTTP_ROUTE)} > 0)"


def _routes() -> table.Panel:
    def counted(selector: str) -> str:
        # Refusals of one process, client after client, are a series that begins with many of them.
        return promql.happened(selector, names.HTTP_ROUTE)

    limited = counted(traffic.LIMITED)
    quantile = promql.quantile_of_all(0.95, _USED, names.HTTP_ROUTE)
    share = tables.SHARE
    return tables.side_by_side(
        "Routes",
        "Each route over the time shown. Start where the refused share is high. If a route has many"
        " requests over 80 % and none refused, its limit will soon refuse some.",
        names.HTTP_ROUTE,
        [
            (tables.Column("Requests", "locale", 0, 110), counted(traffic.REQUESTS)),
            (
                tables.Column(
                    "Refused", share, 1, 110, colors=((0.001, ORANGE), (thresholds.BLOCKED_SHARE_BUDGET, RED))
                ),
                promql.share(counted(traffic.BLOCKED), limited),
            ),
            (
                tables.Column("In shadow", share, 1, 110, colors=((0.001, "yellow"),)),
                promql.share(counted(traffic.IN_SHADOW), limited),
            ),
            (
                tables.Column("Over 80 %", share, 1, 110, colors=_HIGH_SHARE),
                _over_high(promql.increase),
            ),
            (
                tables.Column(
                    "Share used, 95 %",
                    share,
                    0,
                    colors=((thresholds.UTILIZATION_HIGH, ORANGE), (0.95, RED)),
                    is_bar=True,
                ),
                quantile,
            ),
        ],
        first=tables.Column("Route", width=320),
        sort_by="Requests",
        empty="no requests",
    )


def _heat() -> heatmap.Panel:
    return density(
        "Share of the limit used",
        "How much of their tightest limit clients had used, request by request. Dark at the bottom means"
        " headroom; dark at the top are clients at their limit.",
        Prom(
            promql.increase(_USED, "le", window="$__rate_interval"),
            "{{le}}",
            format=PromQueryFormat.HEATMAP,
            exemplars=True,
        ),
        unit="percentunit",
    )


def _quantiles() -> timeseries.Panel:
    return course(
        "Share used by quantile",
        "The median client, and those that use most. If the median nears the line, the limit is too low for"
        " ordinary use; if only the top does, it is one client.",
        *by_quantile(lambda quantile: promql.quantile(quantile, _USED), exemplars=True),
        unit="percentunit",
        most=1,
        lines_at=steps((thresholds.UTILIZATION_HIGH, RED), base="transparent"),
        empty="no requests",
    )


def _approaching() -> timeseries.Panel:
    return course(
        "Approaching limits",
        "Share of the requests whose client had used over 80 % of a limit, by route. A route that rises"
        " here is refused next: raise the limit, or find out whose requests they are.",
        Prom(f"topk(10, {_over_high(promql.rate)})", "{{http_route}}"),
        unit="percentunit",
        legend="table beside",
        most=1,
        lines_at=steps((thresholds.UTILIZATION_HIGH_SHARE, RED), base="transparent"),
        empty="no requests",
    )


def _room() -> bargauge.Panel:
    quantile = promql.quantile_of_all(0.95, _USED, names.HTTP_ROUTE)
    return bars(
        "Breathing room",
        "Headroom that 95 of 100 requests leave, for the ten routes with the least. Below a fifth, a little"
        " more traffic is refused; always above four fifths, the limit protects nothing.",
        at_end(f"sort(bottomk(10, 1 - {quantile}))", "{{http_route}}"),
        unit="percentunit",
        colors=steps(*_ROOM, base=RED),
        most=1,
        empty="no requests",
    )


def _room_by_limit() -> table.Panel:
    def share(name: str) -> tables.Column:
        return tables.Column(name, tables.SHARE, 0, 90)

    return tables.rows(
        "Room by limit",
        "Each limit of each route, the tightest first, exact to one percent, from the database. Room is the"
        " headroom that 95 of 100 requests leave; otel-ratelimit policy suggest turns this into limits.",
        Sql("endpoints", "room_by_limit"),
        [
            tables.Column("Service", width=130),
            tables.Column("Route", width=300),
            tables.Column("Method", width=80),
            tables.Column("Tier", width=130),
            tables.Column("Limit", width=150),
            tables.Column("Requests", "locale", 0, 100),
            tables.Column("Refused", "locale", 0, 90, colors=((1, ORANGE),)),
            *map(share, ("Half use", "95 % use", "99 % use", "Highest")),
            tables.Column("Room", tables.SHARE, 0, colors=_ROOM, base=RED, is_bar=True),
            tables.Column("Units left", "locale", 0, 100),
        ],
        empty="nothing recorded",
    )


def _counts() -> list[tables.Column]:
    return [
        tables.Column("Refused", "locale", 0, 90, colors=((1, ORANGE),)),
        tables.Column("In shadow", "locale", 0, 90),
    ]


def _limited_routes() -> table.Panel:
    return tables.rows(
        "Most limited routes",
        "As recorded in the database. If many clients are refused, the limit is too low, or the route is"
        " expensive and needs a limit of its own. If few are, find out who they are.",
        Sql("endpoints", "limited_routes"),
        [
            tables.Column("Service", width=130),
            tables.Column("Tier", width=120),
            *_counts(),
            tables.Column("Clients", "locale", 0, 80),
            tables.Column("Last", width=180),
        ],
        empty="no violations",
    )


def _limited_clients() -> table.Panel:
    return tables.rows(
        "Most limited clients",
        "The clients that were refused most; addresses are whole, masked or hashed as the policy says."
        " Write to a known user, multiply the limits of a trusted one, block a stranger in front of the"
        " application.",
        Sql("endpoints", "limited_clients"),
        [
            tables.Column("Service", width=130),
            tables.Column("User", width=130),
            *_counts(),
            tables.Column("Routes", "locale", 0, 80),
            tables.Column("Last", width=180),
        ],
        empty="no violations",
    )


def _refusals_by_limit() -> timeseries.Panel:
    panel = course(
        "Violations by limit",
        "Refusals by limit, those in shadow included, from the database. A peak at every full minute comes"
        " from clients that retry at once.",
        Sql("endpoints", "refusals_by_limit", Format.TIME_SERIES),
        unit="locale",
        legend="table beside",
        stacked=True,
        empty="no violations",
    )
    return traffic.as_columns(panel).display_name("${__field.labels.metric}").interval("1m")
