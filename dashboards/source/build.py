"""The four dashboards, put together, and their JSON."""

from __future__ import annotations

from types import ModuleType
from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

from dashboards.source import cache_advisor, endpoints, links, overview, plugin_health, postgres
from dashboards.source.annotations import changes
from dashboards.source.layout import place
from dashboards.source.variables import variables

_MODULES: Final[dict[str, ModuleType]] = {
    "overview.json": overview,
    "endpoints-and-limits.json": endpoints,
    "query-cache-advisor.json": cache_advisor,
    "plugin-health.json": plugin_health,
}
FILES: Final = tuple(_MODULES)


def build(file: str) -> dashboard.Dashboard:
    """The dashboard that `file` keeps."""
    module = _MODULES[file]
    built = (
        Dashboard(links.TITLES[module.UID])
        .uid(module.UID)
        .description(module.DESCRIPTION)
        .tags(["otel-ratelimit"])
        .readonly()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .time(module.TIME, "now")
        .refresh("1m")
        .variables(variables())
        .build()
    )
    built.annotations = dashboard.AnnotationContainer(changes())
    built.links = links.links(module.UID)
    built.panels = place(module.rows())
    return built


def as_json(built: dashboard.Dashboard) -> str:
    """The JSON in the file: the same for the same dashboard, and easy to compare line by line."""
    return JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(built) + "\n"


postgres.register()
