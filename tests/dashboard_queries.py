"""Every query of the dashboards, and what Grafana makes of it before it asks.

    for query in panel_queries():
        text = Shown(start, end).of(query)      # PromQL or SQL, without variables and macros

Variables stand on All unless others are given. Macros of SQL are put in as the PostgreSQL plugin does; only
those are known that the dashboards use.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "dashboards" / "generated"
FILES = tuple(sorted(path.name for path in FOLDER.glob("*.json")))
PROMETHEUS, POSTGRES = "prometheus", "grafana-postgresql-datasource"

_VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(\w+)")
_MACRO = re.compile(r"\$(__[_a-zA-Z0-9]+)\(([^)]*)\)")
_PROMETHEUS_SPECIAL = re.compile(r"([$^*{}\[\]'+?.()|])")
_REGEX_SPECIAL = re.compile(r"([\\^$*+?.()|\[\]{}/])")


@dataclass(frozen=True)
class PanelQuery:
    """One query of one panel. `at_end`: it is asked for the end of the time shown only."""

    file: str
    panel: str
    panel_id: int
    panel_type: str
    ref_id: str
    plugin: str
    text: str
    at_end: bool
    format: str
    time_from: str
    """Such as `30d`, where the panel shows that whatever the dashboard shows."""

    def __str__(self) -> str:
        return f"{self.file}: {self.panel} ({self.ref_id})"


def dashboards() -> dict[str, dict[str, Any]]:
    """The generated dashboards, by file."""
    return {file: json.loads((FOLDER / file).read_text(encoding="utf-8")) for file in FILES}


def panels(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those that show something; the titles of rows left out."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def panel_queries(plugin: str = "") -> list[PanelQuery]:
    """All queries of all panels, or those for one plugin."""
    return [query for query in _queries() if plugin in {"", query.plugin}]


def _queries() -> Iterator[PanelQuery]:
    for file, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                plugin = target["datasource"]["type"]
                yield PanelQuery(
                    file=file,
                    panel=panel["title"],
                    panel_id=panel["id"],
                    panel_type=panel["type"],
                    ref_id=target["refId"],
                    plugin=plugin,
                    text=target["expr"] if plugin == PROMETHEUS else target["rawSql"],
                    at_end=bool(target.get("instant")) or plugin == POSTGRES,
                    format=target["format"],
                    time_from=panel.get("timeFrom", ""),
                )


@dataclass(frozen=True)
class Shown:
    """The view of a dashboard.

    Attributes:
        start: of the time shown.
        end: of it.
        chosen: of variables that do not stand on All, the values.
        step: seconds between two points of a graph.
        rate_interval: seconds; at least four scrapes.
    """

    start: datetime
    end: datetime
    chosen: Mapping[str, Sequence[str]] = field(default_factory=dict)
    step: int = 60
    rate_interval: int = 60

    def of(self, query: PanelQuery) -> str:
        """The text that is sent to Prometheus or PostgreSQL."""
        shown = self
        if query.time_from:
            shown = replace(self, start=self.end - timedelta(days=int(query.time_from.removesuffix("d"))))
        return shown.promql(query.text) if query.plugin == PROMETHEUS else shown.sql(query.text)

    def promql(self, text: str) -> str:
        """PromQL with values in place of variables."""
        return self._filled(text, _prometheus_regex)

    def sql(self, text: str) -> str:
        """SQL with values in place of variables, and what macros stand for."""
        return _MACRO.sub(self._macro, self._filled(text, _regex))

    def _filled(self, text: str, usual: Callable[[Sequence[str]], str]) -> str:
        def value(found: re.Match[str]) -> str:
            name = found[1] or found[3]
            if name in self._builtin():
                return self._builtin()[name]
            if name not in ALL_VALUES:
                return found[0]  # as Grafana leaves what it does not know
            if name not in self.chosen:
                return ALL_VALUES[name]
            formatter = {"regex": _regex}.get(found[2] or "", usual)
            return formatter(self.chosen[name])

        return _VARIABLE.sub(value, text)

    def _builtin(self) -> dict[str, str]:
        return {
            "__rate_interval": f"{self.rate_interval}s",
            "__interval": f"{self.step}s",
            "__range": f"{int((self.end - self.start).total_seconds())}s",
        }

    def _macro(self, found: re.Match[str]) -> str:
        arguments = [argument.strip() for argument in found[2].split(",")]
        start, end = (
            moment.astimezone(UTC).isoformat().replace("+00:00", "Z") for moment in (self.start, self.end)
        )
        match found[1]:
            case "__timeFilter":
                return f"{arguments[0]} BETWEEN '{start}' AND '{end}'"
            case "__timeGroupAlias":
                seconds = int(arguments[1].strip("'").removesuffix("s"))
                return f'floor(extract(epoch from {arguments[0]})/{seconds})*{seconds} AS "time"'
            case other:
                raise ValueError(f"the macro {other} is new; say here what the plugin makes of it")


def _regex(values: Sequence[str]) -> str:
    escaped = [_REGEX_SPECIAL.sub(r"\\\1", value) for value in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def _prometheus_regex(values: Sequence[str]) -> str:
    """Escape like the Prometheus plugin: twice, since the regular expression stands in a quoted string."""
    escaped = [_PROMETHEUS_SPECIAL.sub(r"\\\\\1", value.replace("\\", "\\" * 4)) for value in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def _all_values() -> dict[str, str]:
    return {
        variable["name"]: variable["allValue"]
        for dashboard in dashboards().values()
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query"
    }


ALL_VALUES = _all_values()
"""The value of each variable that is set to All."""
