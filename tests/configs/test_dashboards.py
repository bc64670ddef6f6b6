"""The dashboards as they lie in configs/grafana: fresh, complete, and about metrics that exist."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import pytest

from configs.grafana import generate
from configs.grafana.generate.panels import STATES as SHOWN_STATES
from configs.grafana.generate.stream import STAGES
from streamd.states import StreamState
from streamd.telemetry.metrics import Metrics
from tests.support.monitoring import DASHBOARDS, dashboards, panel_queries, panels

BOARDS = dashboards()
OURS = re.compile(r"\b(?:streamd|process)_\w+")
OF_PROMETHEUS = {"ALERTS", "up", "scrape_duration_seconds", "scrape_samples_scraped"}


@pytest.fixture(params=BOARDS)
def board(request: pytest.FixtureRequest) -> dict[str, Any]:
    return BOARDS[request.param]


def exported() -> set[str]:
    """The names of all series that there can be."""
    names = set()
    for family in Metrics().registry.collect():
        ends = {"counter": ["_total"], "info": ["_info"], "histogram": ["_bucket", "_count", "_sum"]}
        names |= {family.name + end for end in ends.get(family.type, [""])}
    return names


def test_they_are_what_the_code_makes() -> None:
    made = generate.dashboards()
    assert made == {path.name: path.read_text() for path in DASHBOARDS.glob("*")}, "run `make dashboards`"


def test_they_have_names_of_their_own() -> None:
    assert len({board["uid"] for board in BOARDS.values()}) == len({board["title"] for board in BOARDS.values()}) == 3
    for name, board in BOARDS.items():
        assert name == f"{board['uid']}.json"
        assert board["description"]


def test_panels_are_numbered_once(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in panels(board)]
    assert all(ids)
    assert len(set(ids)) == len(ids)


def test_panels_do_not_overlap(board: dict[str, Any]) -> None:
    places = [panel["gridPos"] for panel in panels(board)]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for a, b in combinations(places, 2):
        apart_x = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        apart_y = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart_x or apart_y, (a, b)


def test_panels_explain_themselves(board: dict[str, Any]) -> None:
    for panel in panels(board):
        assert panel["title"]
        if panel["type"] == "row":
            continue
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        if panel["type"] == "timeseries":
            assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]


def test_the_source_of_data_is_chosen_by_a_variable(board: dict[str, Any]) -> None:
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert list(variables)[:2] == ["datasource", "instance"]
    assert set(variables) <= {"datasource", "instance", "stream"}
    assert variables["datasource"]["type"] == "datasource"
    asking = [*list(variables.values())[1:], *(panel for panel in panels(board) if panel["type"] != "row")]
    asking += [target for panel in panels(board) for target in panel.get("targets", ())]
    for each in asking:
        assert each["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, each


@pytest.mark.parametrize("query", panel_queries(), ids=lambda query: query.panel)
def test_a_query_is_about_metrics_that_exist(query: Any) -> None:
    found = set(OURS.findall(query.expr))
    assert found <= exported()
    assert found or any(name in query.expr for name in OF_PROMETHEUS)
    assert "$__rate_interval" in query.expr or "rate(" not in query.expr


def test_stages_and_states_are_those_of_the_code() -> None:
    assert list(STAGES) == list(Metrics().of_stream("porch").stages)
    assert tuple(SHOWN_STATES) == tuple(StreamState)
