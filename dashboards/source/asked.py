"""The questions of panels: a query of Prometheus or a statement for PostgreSQL, before it gets its letter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Final, TypeAlias

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.source.postgres import Format, PostgresQuery, PostgresQueryBuilder, statement
from dashboards.source.variables import POSTGRES, PROMETHEUS

EXPORT_INTERVAL: Final = "1m"
"""OpenTelemetry's default pause between two exports of metrics: a finer step would draw a saw-tooth."""


@dataclass(frozen=True, slots=True)
class Prom:
    """PromQL. With `at_end` it gives one value, at the end of the time shown, and not a graph."""

    expr: str
    legend: str = ""
    at_end: bool = False
    format: PromQueryFormat = PromQueryFormat.TIME_SERIES
    exemplars: bool = False

    datasource = PROMETHEUS

    def build(self, ref_id: str) -> Builder[Dataquery]:
        """The query, by that letter."""
        query = (
            prometheus.Dataquery()
            .datasource(PROMETHEUS)
            .ref_id(ref_id)
            .expr(self.expr)
            .format(self.format)
            .legend_format(self.legend or "__auto")
        )
        if self.exemplars:
            query.exemplar(True)
        return query.instant() if self.at_end else query.range().interval(EXPORT_INTERVAL)


@dataclass(frozen=True, slots=True)
class Sql:
    """The statement `name` of `sql/<file>.sql`."""

    file: str
    name: str
    format: Format = Format.TABLE

    datasource = POSTGRES

    def build(self, ref_id: str) -> Builder[Dataquery]:
        """The query, by that letter."""
        return PostgresQueryBuilder(
            PostgresQuery(ref_id, POSTGRES, statement(self.file, self.name), self.format)
        )


Asked: TypeAlias = Prom | Sql


def at_end(expr: str, legend: str = "") -> Prom:
    """A query for one value, or one for each series."""
    return Prom(expr, legend, at_end=True)


def table(expr: str) -> Prom:
    """A query for a table with a row for each series and its labels as columns."""
    return Prom(expr, at_end=True, format=PromQueryFormat.TABLE)


def by_quantile(of: Callable[[float], str], *, exemplars: bool = False) -> list[Prom]:
    """The median and the upper end of a distribution; one query has exemplars, because all have the same."""
    return [
        Prom(of(0.5), "median"),
        Prom(of(0.95), "95 %"),
        Prom(of(0.99), "99 %", exemplars=exemplars),
    ]


def targets(asked: Sequence[Asked]) -> list[Builder[Dataquery]]:
    """The queries of a panel, by letter."""
    return [each.build(letter) for letter, each in zip(ascii_uppercase, asked, strict=False)]


def datasource(asked: Sequence[Asked]) -> DataSourceRef:
    """The data source of a panel, which all of its queries share."""
    [only] = {each.datasource.uid: each.datasource for each in asked}.values()
    return only
