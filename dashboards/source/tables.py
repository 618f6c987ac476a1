"""Tables: their columns, and tables made of several PromQL queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from grafana_foundation_sdk.builders import common
from grafana_foundation_sdk.builders import table as builder
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    RegexMap,
    ValueMap,
)

from dashboards.source.asked import Asked
from dashboards.source.asked import table as as_table
from dashboards.source.instruments import label
from dashboards.source.panels import GREEN, dressed, steps

SHARE: Final = "percentunit"


@dataclass(frozen=True, slots=True)
class Column:
    """A column with a format of its own.

    Attributes:
        name: the name of the column, as shown.
        colors: figures, each with the colour that cells have from there on.
        base: the colour below the first of these figures.
        is_bar: a bar from 0 to 1 instead of the bare number.
        wraps: long text continues on the next line.
        opens: a click opens text that is too long.
        url: where its cells lead.
    """

    name: str
    unit: str = ""
    decimals: int | None = None
    width: int | None = None
    colors: tuple[tuple[float, str], ...] = ()
    base: str = GREEN
    is_bar: bool = False
    wraps: bool = False
    opens: bool = False
    mapping: ValueMap | RegexMap | None = None
    url: str = ""
    url_title: str = field(default="Open", kw_only=True)

    def properties(self) -> list[DynamicConfigValue]:
        """Overrides of the column's cells."""
        found: list[tuple[str, object]] = []
        if self.unit:
            found.append(("unit", self.unit))
        if self.decimals is not None:
            found.append(("decimals", self.decimals))
        if self.width is not None:
            found.append(("custom.width", self.width))
        if self.colors:
            found.append(("thresholds", steps(*self.colors, base=self.base).build()))
        if self.opens:
            found.append(("custom.inspect", True))
        found += self._cell()
        if self.mapping is not None:
            found.append(("mappings", [self.mapping]))
        if self.url:
            found.append(("links", [{"title": self.url_title, "url": self.url, "targetBlank": True}]))
        return [DynamicConfigValue(name, value) for name, value in found]

    def _cell(self) -> list[tuple[str, object]]:
        if self.is_bar:
            bar = {"type": "gauge", "mode": "gradient", "valueDisplayMode": "text"}
            return [("custom.cellOptions", bar), ("min", 0), ("max", 1)]
        if self.colors or isinstance(self.mapping, ValueMap):
            return [("custom.cellOptions", {"type": "color-text"})]
        if self.wraps:
            return [("custom.cellOptions", {"type": "auto", "wrapText": True})]
        return []


def rows(
    title: str,
    description: str,
    asked: Asked,
    columns: Sequence[Column],
    *,
    unit: str = "none",
    empty: str = "no data",
) -> builder.Panel:
    """A table of one query."""
    return _table(title, description, [asked], columns, unit, empty)


def side_by_side(
    title: str,
    description: str,
    by: str,
    columns: Sequence[tuple[Column, str]],
    *,
    sort_by: str,
    first: Column,
    empty: str = "no data",
) -> builder.Panel:
    """A row for each value of the attribute `by`, which is in the `first` column.

    Each of the other columns has the expression whose values it shows. The row with the highest value in the
    column `sort_by` is the first.
    """
    asked: list[Asked] = [as_table(expr) for _, expr in columns]
    panel = _table(title, description, asked, [first, *(column for column, _ in columns)], "none", empty)
    values = {
        f"Value #{letter}": column.name for letter, (column, _) in zip("ABCDEFG", columns, strict=False)
    }
    named = {label(by): first.name, **values}
    panel.with_transformation(DataTransformerConfig("merge", options={}))
    organized(panel, named)
    return panel.sort_by([common.TableSortByFieldState().display_name(sort_by).desc(True)])


def _table(
    title: str,
    description: str,
    asked: Sequence[Asked],
    columns: Sequence[Column],
    unit: str,
    empty: str,
) -> builder.Panel:
    panel = dressed(builder.Panel(), title, description, unit, asked)
    panel.no_value(empty).thresholds(steps()).filterable(False)
    for column in columns:
        properties = column.properties()
        if properties:
            panel.override_by_name(column.name, properties)
    return panel


def organized(panel: builder.Panel, named: dict[str, str], without: Sequence[str] = ()) -> builder.Panel:
    """A PromQL table with these fields, in this order and by these names, and without the others."""
    options = {
        "excludeByName": dict.fromkeys(("Time", *without), True),
        "includeByName": {},
        "indexByName": {name: place for place, name in enumerate(named)},
        "renameByName": named,
    }
    return panel.with_transformation(DataTransformerConfig("organize", options=options))
