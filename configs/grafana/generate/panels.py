"""The kinds of panels, each with its common appearance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import (
    barchart,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from configs.grafana.generate.board import DATASOURCE

GREEN, YELLOW, RED = "green", "yellow", "red"
FPS = "suffix: fps"
PER_SECOND = "suffix: /s"
STATES = {
    "starting": "blue",
    "running": GREEN,
    "reconnecting": "orange",
    "idle": "gray",
    "ended": "dark-gray",
    "failed": RED,
    "stopping": "light-blue",
}


@dataclass(frozen=True)
class Query:
    """``legend`` is Grafana's: {{label}} stands for a label's value."""

    expr: str
    legend: str = ""


def at_most(warning: float, bad: float) -> dict[float | None, str]:
    """Thresholds: green below ``warning``, red from ``bad`` on."""
    return {None: GREEN, warning: YELLOW, bad: RED}


def at_least(warning: float, good: float) -> dict[float | None, str]:
    return {None: RED, warning: YELLOW, good: GREEN}


def or_zero(expr: str) -> str:
    """0 as long as a counter has never counted."""
    return f"{expr} or on () vector(0)"


def _target(query: Query, index: int, *, instant: bool = False, format: PromQueryFormat | None = None) -> Any:
    target = prometheus.Dataquery().datasource(DATASOURCE).expr(query.expr).ref_id(chr(ord("A") + index))
    target = target.instant() if instant else target.range()
    if query.legend:
        target.legend_format(query.legend)
    return target.format(format) if format else target


def _common(panel: Any, title: str, description: str, unit: str, thresholds: Mapping[float | None, str] | None) -> Any:
    steps = [models.Threshold(value=value, color=color) for value, color in (thresholds or {None: GREEN}).items()]
    panel.title(title).description(description).datasource(DATASOURCE).unit(unit)
    return panel.thresholds(builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    thresholds: Mapping[float | None, str] | None = None,
    stacked: bool = False,
    max_value: float | None = None,
) -> timeseries.Panel:
    """Over time. Thresholds are dashed lines; ``max_value`` is the top of the axis."""
    panel: timeseries.Panel = _common(timeseries.Panel(), title, description, unit, thresholds)
    panel.min(0).fill_opacity(30 if stacked else 8).line_width(1).show_points(kinds.VisibilityMode.NEVER)
    panel.tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING))
    panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(kinds.LegendDisplayMode.TABLE)
        .placement(kinds.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull", "max"])
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL))
    if thresholds:
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED))
    if max_value is not None:
        panel.max(max_value)
    for index, query in enumerate(queries):
        panel.with_target(_target(query, index))
    return panel


def number(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    thresholds: Mapping[float | None, str] | None = None,
    name: bool = False,
) -> stat.Panel:
    """The newest value; or with ``name`` the legend's text, for a value that is a label."""
    panel: stat.Panel = _common(stat.Panel(), title, description, unit, thresholds)
    panel.reduce_options(common.ReduceDataOptions().values(False).calcs(["lastNotNull"]))
    panel.text_mode(kinds.BigValueTextMode.NAME if name else kinds.BigValueTextMode.VALUE)
    panel.graph_mode(kinds.BigValueGraphMode.NONE if name else kinds.BigValueGraphMode.AREA)
    panel.color_mode(kinds.BigValueColorMode.NONE if name else kinds.BigValueColorMode.VALUE)
    return panel.with_target(_target(query, 0, instant=name))


def heat_map(title: str, description: str, unit: str, query: Query) -> heatmap.Panel:
    """Of a histogram's buckets: ``query`` gives frames a second by ``le``."""
    panel: heatmap.Panel = _common(heatmap.Panel(), title, description, unit, None)
    panel.calculate(False).rows_frame(heatmap.RowsHeatmapOptions().layout(kinds.HeatmapCellLayout.AUTO))
    panel.y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(kinds.AxisPlacement.LEFT))
    panel.color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Inferno").steps(64))
    panel.cell_values(heatmap.CellValues().unit(FPS)).filter_values(heatmap.FilterValueRange().le(1e-9))
    panel.mode(kinds.TooltipDisplayMode.SINGLE).show_y_histogram().show_legend()
    return panel.with_target(_target(query, 0, format=PromQueryFormat.HEATMAP))


def states(title: str, description: str, query: Query) -> statetimeline.Panel:
    """Which state when; ``query`` numbers them from 1 on in the order of ``STATES``."""
    options = {
        str(number): models.ValueMappingResult(text=state, color=color, index=number)
        for number, (state, color) in enumerate(STATES.items(), 1)
    }
    panel: statetimeline.Panel = _common(statetimeline.Panel(), title, description, "none", None)
    panel.mappings([models.ValueMap(options=options)]).show_value(kinds.VisibilityMode.AUTO).row_height(0.8)
    panel.merge_values(True).fill_opacity(80)
    return panel.with_target(_target(query, 0))


@dataclass(frozen=True)
class Column:
    """Of a table: a query whose value is shown, or with ``label`` only a label of its result."""

    title: str
    expr: str
    unit: str = "none"
    label: str = ""
    thresholds: Mapping[float | None, str] | None = None


def rows(title: str, description: str, keys: Sequence[str], columns: Sequence[Column], link: str = "") -> table.Panel:
    """A line for each set of values of the labels ``keys``, a cell for each column; ``link`` is the first key's."""
    panel: table.Panel = _common(table.Panel(), title, description, "none", None)
    hidden, names = {"Time": True}, {key: key.capitalize() for key in keys}
    order = {key: index for index, key in enumerate(keys)}
    for index, column in enumerate(columns):
        target = _target(Query(column.expr), index, instant=True, format=PromQueryFormat.TABLE)
        panel.with_target(target)
        value = f"Value #{chr(ord('A') + index)}" if len(columns) > 1 else "Value"
        shown = column.label or value
        names[shown], order[shown] = column.title, len(order)
        if column.label:
            hidden[value] = True
        panel.override_by_name(column.title, _cell(column))
    if link:
        target_link = {"title": "In depth", "url": link}
        panel.override_by_name(keys[0].capitalize(), [models.DynamicConfigValue(id_val="links", value=[target_link])])
    panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    options = {"excludeByName": hidden, "renameByName": names, "indexByName": order}
    return panel.with_transformation(models.DataTransformerConfig(id_val="organize", options=options))


def _cell(column: Column) -> list[models.DynamicConfigValue]:
    properties = [models.DynamicConfigValue(id_val="unit", value=column.unit)]
    if column.thresholds:
        steps = [{"value": value, "color": color} for value, color in column.thresholds.items()]
        properties.append(models.DynamicConfigValue(id_val="thresholds", value={"mode": "absolute", "steps": steps}))
        properties.append(models.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}))
    if column.label == "state":
        mapping = {state: {"text": state, "color": color} for state, color in STATES.items()}
        value = [{"type": "value", "options": mapping}]
        properties.append(models.DynamicConfigValue(id_val="mappings", value=value))
        properties.append(models.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}))
    return properties


def bars(
    title: str, description: str, unit: str, query: Query, *, row: str, column: str, order: Sequence[str]
) -> barchart.Panel:
    """A bar for each value of the label ``row``, made of pieces by the label ``column`` in this order."""
    panel: barchart.Panel = _common(barchart.Panel(), title, description, unit, None)
    panel.orientation(kinds.VizOrientation.HORIZONTAL).stacking(kinds.StackingMode.NORMAL).fill_opacity(80)
    panel.show_value(kinds.VisibilityMode.AUTO).min(0)
    panel.legend(common.VizLegendOptions().show_legend(True).placement(kinds.LegendPlacement.BOTTOM))
    panel.tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI))
    matrix = {"rowField": row, "columnField": column, "valueField": "Value"}
    places = {name: index for index, name in enumerate((f"{row}\\{column}", *order))}
    for kind, options in (
        ("sortBy", {"sort": [{"field": row}]}),
        ("groupingToMatrix", matrix),
        ("organize", {"indexByName": places}),
    ):
        panel.with_transformation(models.DataTransformerConfig(id_val=kind, options=options))
    return panel.with_target(_target(query, 0, instant=True, format=PromQueryFormat.TABLE))
