"""Panels in one style. Each says in a sentence what to do about what it shows, and has a unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Protocol, Self, TypeAlias, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, gauge, heatmap, stat, timeseries
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as models
from grafana_foundation_sdk.models.dashboard import (
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode, HeatmapColorScale

from dashboards.source.asked import EXPORT_INTERVAL, Asked, Prom, datasource, targets

GREEN: Final = "green"
ORANGE: Final = "orange"
RED: Final = "red"
NEUTRAL: Final = "text"
SOME: Final = 0.5
"""The threshold for "any". An increase estimated from samples is not a whole number."""


Legend: TypeAlias = Literal["below", "table below", "table beside"]


class Dressable(Protocol):
    """The settings that all panel builders of the SDK have."""

    def title(self, title: str) -> Self:
        """See the SDK."""

    def description(self, description: str) -> Self:
        """See the SDK."""

    def unit(self, unit: str) -> Self:
        """See the SDK."""

    def datasource(self, datasource: models.DataSourceRef) -> Self:
        """See the SDK."""

    def targets(self, targets: list[Builder[Dataquery]]) -> Self:
        """See the SDK."""


AnyPanel = TypeVar("AnyPanel", bound=Dressable)


def dressed(panel: AnyPanel, title: str, description: str, unit: str, asked: Sequence[Asked]) -> AnyPanel:
    """A panel with the settings that each needs."""
    return (
        panel.title(title)
        .description(description)
        .unit(unit)
        .datasource(datasource(asked))
        .targets(targets(asked))
    )


def steps(*more: tuple[float, str], base: str = GREEN) -> ThresholdsConfig:
    """Colours by value: `base`, and another from each figure on."""
    return (
        ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(None, base), *(Threshold(value, color) for value, color in more)])
    )


def mapped(texts: Mapping[str, tuple[str, str]]) -> ValueMap:
    """Texts in colours, shown instead of values."""
    return ValueMap(
        {
            value: ValueMappingResult(text=text, color=color, index=index)
            for index, (value, (text, color)) in enumerate(texts.items())
        }
    )


def figure(
    title: str,
    description: str,
    asked: Asked,
    *,
    unit: str,
    colors: ThresholdsConfig,
    decimals: int | None = None,
    empty: str = "no data",
) -> stat.Panel:
    """One number, with its graph behind it if the query has one; `empty` if there is no value."""
    has_course = isinstance(asked, Prom) and not asked.at_end
    panel = dressed(stat.Panel(), title, description, unit, [asked])
    panel.thresholds(colors).no_value(empty).color_mode(models.BigValueColorMode.VALUE)
    panel.graph_mode(models.BigValueGraphMode.AREA if has_course else models.BigValueGraphMode.NONE)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    if has_course:
        panel.interval(EXPORT_INTERVAL)
    return panel if decimals is None else panel.decimals(decimals)


def words(title: str, description: str, asked: Asked, *, empty: str = "no data") -> stat.Panel:
    """Names instead of numbers: those of the series, or the text of the first column."""
    panel = dressed(stat.Panel(), title, description, "none", [asked])
    panel.thresholds(steps(base=NEUTRAL)).no_value(empty).graph_mode(models.BigValueGraphMode.NONE)
    panel.text_mode(models.BigValueTextMode.NAME)
    return panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))


def dial(
    title: str, description: str, asked: Asked, *, unit: str, colors: ThresholdsConfig, most: float
) -> gauge.Panel:
    """A value on a scale up to a figure that it should not reach."""
    panel = dressed(gauge.Panel(), title, description, unit, [asked])
    panel.thresholds(colors).min(0).max(most).no_value("no data")
    panel.show_threshold_labels(False).show_threshold_markers(True)
    return panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))


def bars(
    title: str,
    description: str,
    asked: Asked,
    *,
    unit: str,
    colors: ThresholdsConfig,
    most: float | None = None,
    empty: str = "no data",
) -> bargauge.Panel:
    """Values of one kind side by side, each a bar with its name above."""
    panel = dressed(bargauge.Panel(), title, description, unit, [asked])
    panel.thresholds(colors).min(0).no_value(empty)
    panel.orientation(models.VizOrientation.HORIZONTAL).display_mode(models.BarGaugeDisplayMode.GRADIENT)
    panel.value_mode(models.BarGaugeValueMode.COLOR).show_unfilled(True)
    panel.name_placement(models.BarGaugeNamePlacement.TOP)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return panel if most is None else panel.max(most)


def course(  # noqa: PLR0913 - the parts of a panel, by name
    title: str,
    description: str,
    *asked: Asked,
    unit: str,
    legend: Legend = "below",
    stacked: bool = False,
    colors: Mapping[str, str] | None = None,
    lines_at: ThresholdsConfig | None = None,
    most: float | None = None,
    empty: str = "no data",
) -> timeseries.Panel:
    """Values over time; `empty` if there are none.

    `legend` is a list below the graph, or a table for many series: beside it, or below if names are long.
    `colors` are the colours of series, by their names. There are lines at the figures of `lines_at`; the
    axis ends at `most`.
    """
    panel = dressed(timeseries.Panel(), title, description, unit, asked)
    panel.min(0).no_value(empty).line_width(1).fill_opacity(40 if stacked else 8)
    panel.show_points(models.VisibilityMode.AUTO).line_interpolation(models.LineInterpolation.LINEAR)
    panel.color_scheme(FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    panel.tooltip(
        common.VizTooltipOptions().mode(models.TooltipDisplayMode.MULTI).sort(models.SortOrder.DESCENDING)
    )
    panel.legend(_LEGENDS[legend]())
    if all(isinstance(each, Prom) for each in asked):
        panel.interval(EXPORT_INTERVAL)
    if stacked:
        panel.stacking(common.StackingConfig().mode(models.StackingMode.NORMAL))
    if lines_at is not None:
        panel.thresholds(lines_at).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(models.GraphThresholdsStyleMode.DASHED)
        )
    for name, color in (colors or {}).items():
        panel.override_by_name(name, [fixed(color)])
    return panel if most is None else panel.max(most)


def fixed(color: str) -> DynamicConfigValue:
    """A property of a series: its colour."""
    return DynamicConfigValue("color", {"mode": FieldColorModeId.FIXED, "fixedColor": color})


def dashed() -> DynamicConfigValue:
    """A property of a series: a dashed line, for a bound that is not a measurement."""
    return DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 8]})


def density(title: str, description: str, asked: Prom, *, unit: str) -> heatmap.Panel:
    """A histogram over time: the darker, the more. `unit` is that of the axis, on which the buckets are."""
    panel = dressed(heatmap.Panel(), title, description, "short", [asked])
    panel.interval(EXPORT_INTERVAL).no_value("no data").calculate(False)
    panel.color(
        _heat()
        .mode(HeatmapColorMode.SCHEME)
        .scheme("Oranges")
        .scale(HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)
    )
    panel.y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(models.AxisPlacement.LEFT))
    panel.cell_values(heatmap.CellValues().unit("short"))
    panel.tooltip(heatmap.HeatmapTooltip().mode(models.TooltipDisplayMode.SINGLE).y_histogram(True))
    return panel.show_legend().cell_gap(1)


def _heat() -> heatmap.HeatmapColorOptions:
    return heatmap.HeatmapColorOptions().steps(64).reverse(False).fill(ORANGE)


def legend_below() -> common.VizLegendOptions:
    """A list, for few series."""
    legend = common.VizLegendOptions().show_legend(True)
    return legend.display_mode(models.LegendDisplayMode.LIST).placement(models.LegendPlacement.BOTTOM)


def _table_below() -> common.VizLegendOptions:
    legend = legend_below().display_mode(models.LegendDisplayMode.TABLE)
    return legend.calcs(["lastNotNull", "max"]).sort_by("Last *").sort_desc(True)


def _table_beside() -> common.VizLegendOptions:
    return _table_below().placement(models.LegendPlacement.RIGHT).width(340)


_LEGENDS: Final[Mapping[Legend, Callable[[], common.VizLegendOptions]]] = {
    "below": legend_below,
    "table below": _table_below,
    "table beside": _table_beside,
}
