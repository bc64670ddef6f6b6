"""Streams at a real MQTT broker: what Home Assistant is told and may ask for, and a broker that is away or hangs."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from streamd.concurrency import threads
from streamd.concurrency.backoff import Backoff
from streamd.config.outgoing import MqttConfig
from streamd.config.sections import RecordingConfig, StreamConfig
from streamd.notify import broker as broker_module
from streamd.notify import mqtt
from streamd.notify.entities import slug
from streamd.notify.mqtt import Mqtt
from tests.integration.web_site import Site, served
from tests.support.mosquitto import Listener, Mosquitto, broker, listening

pytestmark = pytest.mark.timeout(60)

SQUARE = [[0, 0], [1, 0], [1, 1], [0, 1]]
STREAMS = {"porch": {"zones": [{"name": "Front door", "polygon": SQUARE, "near": 0.01, "hold_s": 0}]}}
DOOR = f"streamd/porch/zones/{slug('Front door')}"


@asynccontextmanager
async def shown(running: Mosquitto, site: Site, **config: Any) -> AsyncIterator[Mqtt]:
    given = MqttConfig(url=running.url, **config)
    made = Mqtt(given, site.fleet, lambda: "midas_small", records=site.recording.directory is not None)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await made.close()


async def hears(
    listener: Listener, what: str, check: Callable[[dict[str, bytes]], object], within_s: float = 10
) -> None:
    await threads.call("listener", partial(listener.wait_for, what, check, within_s))


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = (Backoff(first_s=0.1, cap_s=0.2),)
    monkeypatch.setattr(broker_module.Broker.__init__, "__defaults__", defaults)


async def test_entities_appear_flip_and_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "PICTURE_EVERY_S", 0.1)
    with broker(tmp_path) as running, listening(running) as listener:
        recording = RecordingConfig(directory=tmp_path / "recordings", min_free_gb=0)
        async with served(streams=STREAMS, recording=recording) as site:
            async with shown(running, site):
                await hears(listener, "it is there", lambda topics: topics.get("streamd/status") == b"online")
                entities = {
                    "homeassistant/camera/streamd/porch_depth/config",
                    "homeassistant/sensor/streamd/porch_state/config",
                    "homeassistant/sensor/streamd/porch_fps/config",
                    "homeassistant/sensor/streamd/porch_model/config",
                    "homeassistant/switch/streamd/porch_recording/config",
                }
                await hears(listener, "entities", lambda topics: entities <= topics.keys())
                near = DOOR
                await hears(listener, "clear", lambda topics: topics.get(near) == b"OFF")
                assert listener.topics[f"{near}/available"] == b"offline", "there are no pictures yet"
                await site.film(count=5)
                began = time.monotonic()
                await hears(listener, "near", lambda topics: topics.get(near) == b"ON")
                assert time.monotonic() - began < 1
                await hears(listener, "pictures", lambda topics: topics.get(f"{near}/available") == b"online")
                await hears(listener, "a picture", lambda topics: "streamd/porch/picture" in topics)
                jpeg = np.frombuffer(listener.topics["streamd/porch/picture"], np.uint8)
                picture = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
                assert picture is not None
                assert picture.shape == (112, 192, 3)
                assert listener.topics["streamd/porch/model"] == b"midas_small"
                await site.fleet.put("porch", StreamConfig(source="rtsp://h/live", record=()))
                await hears(listener, "no zone any more", lambda topics: near not in topics)
                await site.fleet.remove("porch")
                await hears(listener, "nothing of it stays", lambda topics: topics.keys() == {"streamd/status"})
            await hears(listener, "goodbye", lambda topics: topics["streamd/status"] == b"offline")


async def test_recordings_start_and_stop_by_command(tmp_path: Path) -> None:
    with broker(tmp_path) as running, listening(running) as listener:
        recording = RecordingConfig(directory=tmp_path / "recordings", min_free_gb=0)
        async with served(streams={"porch": {"record": []}}, recording=recording) as site, shown(running, site):
            await hears(listener, "off", lambda topics: topics.get("streamd/porch/recording") == b"OFF")
            listener.publish("streamd/porch/recording/set", "ON", retain=True)
            listener.publish("streamd/porch/recording/set", "nonsense")
            await hears(listener, "on", lambda topics: topics.get("streamd/porch/recording") == b"ON")
            assert site.stream().status.recording_wanted == ("depth",)
            listener.publish("streamd/porch/recording/set", "OFF")
            await hears(listener, "off", lambda topics: topics.get("streamd/porch/recording") == b"OFF")


async def test_without_leave_no_command_is_taken(tmp_path: Path) -> None:
    with broker(tmp_path) as running, listening(running) as listener:
        recording = RecordingConfig(directory=tmp_path / "recordings", min_free_gb=0)
        async with served(streams={"porch": {"record": []}}, recording=recording) as site:
            async with shown(running, site, commands=False):
                sensor = "homeassistant/binary_sensor/streamd/porch_recording/config"
                await hears(listener, "a sensor", lambda topics: sensor in topics)
                listener.publish("streamd/porch/recording/set", "ON")
                await asyncio.sleep(0.3)
            assert not site.stream().status.recording_wanted


async def test_what_an_earlier_life_left_is_forgotten(tmp_path: Path) -> None:
    with broker(tmp_path) as running, listening(running) as listener:
        listener.publish("homeassistant/camera/streamd/gone_depth/config", "{}", retain=True)
        listener.publish("homeassistant/camera/other/gone_depth/config", "{}", retain=True)
        async with served(streams=STREAMS) as site, shown(running, site):
            mine = "homeassistant/camera/streamd/gone_depth/config"
            await hears(listener, "it came", lambda topics: "homeassistant/camera/streamd/porch_depth/config" in topics)
            await hears(listener, "forgotten", lambda topics: mine not in topics)
            assert "homeassistant/camera/other/gone_depth/config" in listener.topics


async def test_no_stream_is_forgotten_for_coming_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Home Assistant would lose what its user has changed of the entity."""
    known: list[set[str]] = []
    monkeypatch.setattr(broker_module.Broker, "start", lambda self: known.append(set(self._wanted)))
    names = [f"porch{number}" for number in range(20)]
    async with served(streams={name: {} for name in names}) as site:
        made = Mqtt(MqttConfig(url="mqtt://127.0.0.1:1"), site.fleet, lambda: None, records=False)
        task = asyncio.create_task(made.run())
        await site.until(lambda: known)
        assert known[0] >= {f"homeassistant/camera/streamd/{name}_depth/config" for name in names}
        task.cancel()
        await made.close()


async def test_a_broker_that_is_away_or_hangs_delays_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "KEEPALIVE_S", 1)
    with broker(tmp_path) as running:
        async with served(streams=STREAMS) as site, shown(running, site):
            with listening(running) as listener:
                await hears(listener, "it is there", lambda topics: topics.get("streamd/status") == b"online")
            running.stop()
            began = time.monotonic()
            await site.film(count=20)
            assert time.monotonic() - began < 5
            running.start()
            with listening(running) as listener:  # of an empty broker: all is said again
                await hears(listener, "back", lambda topics: topics.get(DOOR) == b"ON", 20)
                assert listener.topics["streamd/status"] == b"online"
            running.send(signal.SIGSTOP)
            began = time.monotonic()
            await site.film(count=20)
            await site.fleet.remove("porch")
            assert time.monotonic() - began < 5
            running.send(signal.SIGCONT)
            with listening(running) as listener:
                await hears(listener, "removed meanwhile", lambda topics: topics == {"streamd/status": b"online"}, 20)


async def test_it_logs_in_and_no_password_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("DEBUG")
    with broker(tmp_path, ("camera", "hunter2")) as running:
        async with served(streams=STREAMS) as site:
            good, running.login = running.login, ("camera", "hunter3")
            async with shown(running, site):
                async with asyncio.timeout(10):
                    while "the broker refuses us" not in caplog.text:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
            monkeypatch.setenv("MQTT_PASSWORD", "hunter2")
            running.login = ("camera", "env:MQTT_PASSWORD")
            async with shown(running, site):
                running.login = good
                with listening(running) as listener:
                    await hears(listener, "it is there", lambda topics: topics.get("streamd/status") == b"online")
    assert "hunter" not in caplog.text
