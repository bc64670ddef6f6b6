from __future__ import annotations

import json
from dataclasses import replace

import pytest

from streamd.config.outgoing import MqttConfig
from streamd.config.zones import ZoneConfig
from streamd.notify.entities import Entities, slug
from streamd.states import StreamState
from streamd.streams.zone import ZoneState
from streamd.streams.zones import ZoneStatus
from tests.unit.streams.test_status import STATUS

DOOR = ZoneConfig(name="door", polygon=((0, 0), (1, 0), (1, 1)), near=0.7)
NEAR = replace(STATUS, zones=(ZoneStatus(DOOR, ZoneState.NEAR, None, None),))


def entities(*, records: bool = True, **config: object) -> Entities:
    return Entities(MqttConfig.model_validate({"url": "mqtt://h", **config}), records=records)


def test_states_are_text() -> None:
    states = entities().states(NEAR, "midas_small", 9.96)
    assert states["streamd/porch/state"] == b"running"
    assert (states["streamd/porch/fps"], states["streamd/porch/model"]) == (b"10.0", b"midas_small")
    assert (states["streamd/porch/zones/door"], states["streamd/porch/recording"]) == (b"ON", b"ON")
    assert states["streamd/porch/zones/door/available"] == states["streamd/porch/available"] == b"online"


def test_a_zone_that_does_not_work_is_unavailable() -> None:
    broken = replace(STATUS, zones=(ZoneStatus(DOOR, ZoneState.CLEAR, None, "lies outside"),))
    states = entities().states(broken, None, 0)
    assert (states["streamd/porch/zones/door"], states["streamd/porch/zones/door/available"]) == (b"OFF", b"offline")
    assert json.loads(states["streamd/porch/zones/door/details"]) == {"near": 0.7, "problem": "lies outside"}
    away = entities().states(replace(NEAR, state=StreamState.RECONNECTING), None, 0)
    assert away["streamd/porch/zones/door/available"] == away["streamd/porch/available"] == b"offline"


def test_discovery_has_what_home_assistant_asks_for() -> None:
    found = entities(prefix="ha", name="box").discovery(NEAR)
    assert set(found) == {
        "ha/camera/box/porch_depth/config",
        "ha/binary_sensor/box/porch_zone_door/config",
        "ha/sensor/box/porch_state/config",
        "ha/sensor/box/porch_fps/config",
        "ha/sensor/box/porch_model/config",
        "ha/switch/box/porch_recording/config",
    }
    configs = [json.loads(text) for text in found.values()]
    assert len({config["unique_id"] for config in configs}) == len(configs)
    assert {config["device"]["identifiers"][0] for config in configs} == {"box_porch"}
    assert all(config["availability"][0] == {"topic": "box/status"} for config in configs)
    assert "hunter2" not in str(configs)
    states = entities(name="box").states(NEAR, None, 0)
    assert {config["state_topic"] for config in configs if "state_topic" in config} <= states.keys()


def test_no_switch_without_leave_or_place() -> None:
    assert not any("switch" in topic for topic in entities(commands=False).discovery(NEAR))
    assert not any("recording" in topic for topic in entities(records=False).discovery(NEAR))
    assert entities(discovery=False).discovery(NEAR) == {}


@pytest.mark.parametrize("name", ["front door", "front.door", "front_door", "Tür", "a/b#+"])
def test_slugs_are_safe_and_tell_names_apart(name: str) -> None:
    assert slug(name).replace("_", "").replace("-", "").isascii()
    assert not set(slug(name)) & set("/#+ .")
    assert len({slug(other) for other in ("front door", "front.door", "front_door", name)}) >= 3
