from __future__ import annotations

from typing import Any

import pytest

from streamd.config.load import parse
from streamd.config.zones import ZoneConfig
from streamd.errors import ConfigError

SQUARE = [[0, 0], [1, 0], [1, 1]]
GOOD: dict[str, Any] = {"name": "door", "polygon": SQUARE, "near": 0.7}
NAME = "a name has letters, digits, spaces, . _ and -, and begins with a letter or digit"
MEASURE = "takes either near (a share of the range) or metres, and one of them"


def problems(*zones: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse({"streams": {"cam": {"source": "demo:", "zones": zones}}})
    return [str(problem).removeprefix("streams.cam.zones") for problem in caught.value.problems]


@pytest.mark.parametrize("name", ["door", "Front door", "Tür 2", "a.b-c_d", "9"])
def test_it_needs_a_name_an_area_and_a_measure(name: str) -> None:
    zone = ZoneConfig.model_validate(GOOD | {"name": name})
    assert (zone.near, zone.metres, zone.min_area, zone.hold_s) == (0.7, None, 0.02, 1.0)
    assert ZoneConfig(name=name, polygon=zone.polygon, metres=1.5).near is None


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"name": ""}, f".0.name: {NAME}"),
        ({"name": "a\nb"}, f".0.name: a b: {NAME}"),
        ({"name": "a/b"}, f".0.name: a/b: {NAME}"),
        ({"name": "x" * 65}, ".0.name: is too long"),
        ({"name": None}, ".0.name: None: should be text in quotes"),
        ({"polygon": SQUARE[:2]}, ".0.polygon: [[0, 0], [1, 0]]: an area needs at least three different points"),
        (
            {"polygon": [[0, 0]] * 3},
            ".0.polygon: [[0, 0], [0, 0], [0, 0]]: an area needs at least three different points",
        ),
        ({"polygon": [[-1, 0], *SQUARE]}, ".0.polygon.0.0: -1: should be greater than or equal to 0"),
        ({"near": 1.5}, ".0.near: 1.5: should be less than 1"),
        ({"near": 0}, ".0.near: 0: should be greater than 0"),
        ({"near": None}, f".0: {MEASURE}"),
        ({"metres": 2}, f".0: {MEASURE}"),
        ({"near": None, "metres": -2}, ".0.metres: -2: should be greater than 0"),
        ({"min_area": 0}, ".0.min_area: 0: should be greater than 0"),
        ({"hold_s": -1}, ".0.hold_s: -1: should be greater than or equal to 0"),
        ({"colour": "red"}, ".0.colour: unknown key; `streamd schema` lists those that exist"),
    ],
)
def test_each_bad_value_has_its_line(change: dict[str, Any], line: str) -> None:
    assert problems(GOOD | change) == [line]


def test_names_are_unique_and_few() -> None:
    (twice,) = problems(GOOD, GOOD)
    assert twice.endswith(": there are two zones named 'door': events name the zone")
    (many,) = problems(*(GOOD | {"name": str(number)} for number in range(17)))
    assert many.endswith(": has too many items")
