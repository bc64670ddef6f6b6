"""A real Home Assistant finds streamd at a real broker: entities appear, flip within a second, and become unavailable
when streamd dies. Runs where HASS names the program `hass` (Home Assistant 2025.4 needs Python 3.13 and 600 MB):

    python3.13 -m venv hass && hass/bin/pip install homeassistant==2025.4.4 paho-mqtt==2.1.0
    HASS=hass/bin/hass pytest tests/e2e/test_home_assistant.py
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import StartDaemon
from tests.support.mosquitto import Mosquitto, broker, listening
from tests.support.ports import free_port
from tests.support.settings import write_settings

pytestmark = pytest.mark.timeout(300)

HASS = os.environ.get("HASS")
ENTRY: dict[str, Any] = {
    "domain": "mqtt",
    "entry_id": "01JSTREAMDSTREAMDSTREAMDST",
    "title": "broker",
    "source": "user",
    "version": 1,
    "minor_version": 1,
    "unique_id": None,
    "options": {},
    "disabled_by": None,
    "discovery_keys": {},
    "subentries": [],
    "pref_disable_new_entities": False,
    "pref_disable_polling": False,
    "created_at": "2026-01-01T00:00:00+00:00",
    "modified_at": "2026-01-01T00:00:00+00:00",
}
NEAR = "homes/binary_sensor/porch_front_door/state"
STATES = {
    "homes/sensor/porch_state/state": b"running",
    "homes/sensor/porch_model/state": b"embedded",
    NEAR: b"on",
    "homes/switch/porch_recording/state": b"off",
}
EVERYWHERE = [[0, 0], [1, 0], [1, 1], [0, 1]]


@contextmanager
def home_assistant(folder: Path, running: Mosquitto) -> Iterator[Path]:
    assert HASS
    storage = folder / ".storage"
    storage.mkdir(parents=True)
    entry = ENTRY | {"data": {"broker": "127.0.0.1", "port": running.port, "discovery": True}}
    entries = {"version": 1, "minor_version": 5, "key": "core.config_entries", "data": {"entries": [entry]}}
    (storage / "core.config_entries").write_text(json.dumps(entries))
    (folder / "configuration.yaml").write_text(
        f"http:\n  server_port: {free_port()}\n  server_host: 127.0.0.1\n"
        "mqtt_statestream:\n  base_topic: homes\n  publish_attributes: false\n  publish_timestamps: false\n"
    )
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen([HASS, "--config", str(folder)], stdout=file, stderr=file, env=_environment())
        try:
            yield log
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "STREAMD", "COV"))}


@pytest.mark.skipif(HASS is None, reason="HASS does not name a Home Assistant: see the top of this file")
def test_entities_appear_flip_and_become_unavailable(daemon: StartDaemon, tmp_path: Path) -> None:
    with broker(tmp_path) as running, listening(running) as listener:
        porch = {"source": "lavfi:testsrc2=size=640x360:rate=10", "record": []}
        config = write_settings(
            tmp_path / "streamd.toml",
            {"porch": porch},
            mqtt={"url": running.url},
            recording={"directory": str(tmp_path / "recordings"), "min_free_gb": 0},
        )
        zone = {"name": "Front door", "polygon": EVERYWHERE, "near": 0.1, "hold_s": 0}
        streamd = daemon("--config", config)
        assert streamd.request("PATCH", "/api/v1/streams/porch", json.dumps({"zones": [zone]}).encode()).status == 200
        with home_assistant(tmp_path / "homes", running) as log:
            for topic, state in STATES.items():
                listener.wait_for(topic, lambda topics: topics.get(topic) == state, 120)  # noqa: B023
            listener.wait_for("a picture", lambda topics: "homes/camera/porch_depth/state" in topics)

            far = zone | {"near": 0.99, "min_area": 1}
            for wanted, state in ((far, b"off"), (zone, b"on")):
                streamd.request("PATCH", "/api/v1/streams/porch", json.dumps({"zones": [wanted]}).encode())
                own = listener.topics  # of streamd, then of Home Assistant
                place = next(
                    topic for topic in own if topic.startswith("streamd/porch/zones/") and topic.count("/") == 3
                )
                listener.wait_for(f"streamd says {state!r}", lambda topics: topics.get(place) == state.upper())  # noqa: B023
                began = time.monotonic()
                listener.wait_for(f"it is {state!r}", lambda topics: topics.get(NEAR) == state)  # noqa: B023
                assert time.monotonic() - began < 1

            listener.publish("streamd/porch/recording/set", "ON")
            switch = "homes/switch/porch_recording/state"
            listener.wait_for("it records", lambda topics: topics.get(switch) == b"on")

            streamd.kill()
            for topic in STATES:
                listener.wait_for(topic, lambda topics: topics.get(topic) == b"unavailable")  # noqa: B023
            complaints = [line for line in log.read_text().splitlines() if "mqtt" in line and " ERROR " in line]
            assert not complaints, "Home Assistant does not like what it was told"
