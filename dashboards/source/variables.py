"""Variables that all dashboards have: data sources, and what to show.

The matcher of a variable that is set to All must also accept series that lack the label, hence `.*`. Each
process has a service and an instance, so theirs is `.+`.
"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders.dashboard import DatasourceVariable, QueryVariable
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.dashboard import (
    VariableHide,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from dashboards.source import postgres, promql
from dashboards.source.instruments import ENVIRONMENT, INSTRUMENTS, label, prometheus_name
from otel_ratelimit.core import names

PROMETHEUS: Final = DataSourceRef(type_val="prometheus", uid="${prometheus_datasource}")
POSTGRES: Final = DataSourceRef(type_val=postgres.PLUGIN, uid="${postgres_datasource}")
TEMPO_UID: Final = "${tempo_datasource}"

_ALL: Final = VariableOption(selected=True, text="All", value="$__all")
_IN_FORCE: Final = prometheus_name(INSTRUMENTS[names.POLICY_INFO])
"""Every process that limits has it from its start, before its first request."""
_REQUESTS: Final = prometheus_name(INSTRUMENTS[names.REQUESTS])


def variables() -> list[Builder[VariableModel]]:
    """The variables, in the order in which each narrows the next."""
    return [
        DatasourceVariable("prometheus_datasource").label("Prometheus data source").type("prometheus"),
        # The plugin's former name, by which Grafana still finds it.
        DatasourceVariable("postgres_datasource").label("Postgres data source").type("postgres"),
        # Only for links from a trace's id; hidden, because not everybody has Tempo.
        DatasourceVariable("tempo_datasource")
        .label("Tempo data source")
        .type("tempo")
        .hide(VariableHide.HIDE_VARIABLE),
        _asked("environment", "Environment", _IN_FORCE, ENVIRONMENT),
        _asked("job", "Job", f"{_IN_FORCE}{{{promql.OF_ENVIRONMENT}}}", "job", all_value=".+").description(
            "The service: service.name of the application"
        ),
        _asked(
            "instance", "Instance", f"{_IN_FORCE}{{{promql.OF_SERVICES}}}", "instance", all_value=".+"
        ).description("One worker process; its name changes when it restarts"),
        _asked("tier", "Tier", f"{_REQUESTS}{{{promql.OF_SERVICES}}}", label(names.TIER)).description(
            "Tier of the policy; rate-limit-api is the plugin's own API"
        ),
        _asked(
            "route",
            "Route",
            f'{_REQUESTS}{{{promql.OF_SERVICES},{label(names.TIER)}=~"$tier"}}',
            label(names.HTTP_ROUTE),
        ),
    ]


def _asked(name: str, title: str, series: str, of: str, all_value: str = ".*") -> QueryVariable:
    return (
        QueryVariable(name)
        .label(title)
        .datasource(PROMETHEUS)
        .query(f"label_values({series}, {of})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(all_value)
        .current(_ALL)
    )
