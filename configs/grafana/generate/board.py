"""A dashboard: its variables, its rows, and panels from left to right."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "streamd"
ALL = models.VariableOption(selected=True, text=["All"], value=["$__all"])


def _datasource() -> builders.DatasourceVariable:
    return builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus")


def _query(name: str, label: str, query: str, several: bool) -> builders.QueryVariable:
    variable = (
        builders.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
    return variable.multi(True).include_all(True).all_value(".*").current(ALL) if several else variable


class Board:
    """Panels are numbered and placed in the order of ``add``; 24 columns make a line."""

    def __init__(self, uid: str, title: str, description: str, *, several: bool = True, streams: bool = True) -> None:
        """``several`` boxes and streams at a time, or one; without ``streams`` only boxes are chosen."""
        self.uid = uid
        self._ids = count(1)
        matches = '{instance=~"$instance"}'
        self._builder = (
            builders.Dashboard(title)
            .uid(uid)
            .description(description)
            .tags([TAG])
            .editable()
            .timezone("browser")
            .time("now-1h", "now")
            .refresh("10s")
            .tooltip(models.DashboardCursorSync.CROSSHAIR)
            .link(
                builders.DashboardLink("streamd")
                .type(models.DashboardLinkType.DASHBOARDS)
                .tags([TAG])
                .keep_time(True)
                .include_vars(True)
            )
            .with_variable(_datasource())
            .with_variable(_query("instance", "Box", "label_values(streamd_build_info, instance)", several))
        )
        if streams:
            query = f"label_values(streamd_source_up{matches}, stream)"
            self._builder.with_variable(_query("stream", "Stream", query, several))

    def row(self, title: str) -> None:
        self._builder.with_row(builders.Row(title).id(next(self._ids)))

    def add(self, panel: Any, width: int, height: int = 8) -> None:
        """``panel`` is one of ``panels.py``."""
        self._builder.with_panel(panel.id(next(self._ids)).span(width).height(height))

    def json(self) -> str:
        return json.dumps(self._builder.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
