"""From each dashboard to the others, and from a trace's id to the trace."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from grafana_foundation_sdk.models import dashboard

from dashboards.source.variables import TEMPO_UID

OVERVIEW: Final = "otel-ratelimit-overview"
ENDPOINTS: Final = "otel-ratelimit-endpoints"
CACHE: Final = "otel-ratelimit-cache"
HEALTH: Final = "otel-ratelimit-health"
TITLES: Final = {
    OVERVIEW: "Rate limits: overview",
    ENDPOINTS: "Rate limits: endpoints and limits",
    CACHE: "Rate limits: query cache advisor",
    HEALTH: "Rate limits: plugin health",
}
_SHORT: Final = {
    OVERVIEW: ("Overview", "Is anyone hurt, is the limiter healthy?"),
    ENDPOINTS: ("Endpoints and limits", "Decisions, remaining room and limited clients"),
    CACHE: ("Query cache advisor", "Would a cache of query results pay?"),
    HEALTH: ("Plugin health", "Memory, queues, policy, collector"),
}


def links(here: str) -> list[dashboard.DashboardLink]:
    """Links to the other dashboards, which keep the time and the variables."""
    return [_to(uid, *_SHORT[uid]) for uid in TITLES if uid != here]


def trace_url() -> str:
    """The address of the trace whose id is in a cell."""
    panes = (
        f'{{"trace":{{"datasource":"{TEMPO_UID}","queries":[{{"refId":"A","queryType":"traceql",'
        f'"datasource":{{"type":"tempo","uid":"{TEMPO_UID}"}},"query":"${{__value.raw}}"}}],'
        '"range":{"from":"${__from}","to":"${__to}"}}}'
    )
    return f"/explore?schemaVersion=1&panes={quote(panes, safe='${}_.')}"


class _ShownLink(dashboard.DashboardLink):
    """A link at the top of the dashboard; the SDK's own class puts it in a menu."""

    def to_json(self) -> dict[str, object]:
        return {name: value for name, value in super().to_json().items() if name != "placement"}


def _to(uid: str, title: str, tooltip: str) -> dashboard.DashboardLink:
    return _ShownLink(
        title=title,
        type_val=dashboard.DashboardLinkType.LINK,
        icon="dashboard",
        tooltip=tooltip,
        url=f"/d/{uid}",
        include_vars=True,
        keep_time=True,
    )
