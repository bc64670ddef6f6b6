"""What Home Assistant shows of a stream, as MQTT messages: its discovery, and the states that it reads.

https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery. Every message is retained: it says how something is,
and the newest replaces those before. Topics:

    NAME/status                              online | offline, of streamd itself: the last will
    NAME/STREAM/state | fps | model          text
    NAME/STREAM/available                    online | offline: whether the stream has pictures
    NAME/STREAM/picture                      JPEG of the depth
    NAME/STREAM/recording                    ON | OFF; .../recording/set takes them
    NAME/STREAM/zones/ZONE                   ON | OFF: whether something is near; .../details: JSON, .../available
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from streamd import __version__
from streamd.config.outgoing import MqttConfig
from streamd.states import StreamState
from streamd.streams.status import StreamStatus
from streamd.streams.zone import ZoneState
from streamd.streams.zones import ZoneStatus

ONLINE, OFFLINE = b"online", b"offline"
ON, OFF = b"ON", b"OFF"

Messages = dict[str, bytes]
"""By topic."""


def slug(name: str) -> str:
    """For topics and ids, where fewer characters may be: another for each name."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return plain if plain == name else f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"


class Entities:
    """The messages of one daemon."""

    def __init__(self, config: MqttConfig, *, records: bool) -> None:
        """``records``: whether there is somewhere to record to."""
        self._config = config
        self._records = records
        self.status_topic = f"{config.name}/status"
        self.command_topic = f"{config.name}/+/recording/set"
        self.discovery_topic = f"{config.prefix}/+/{config.name}/+/config"
        """Matches that of every entity of ours, now or before."""

    @property
    def takes_commands(self) -> bool:
        return self._records and self._config.commands

    def picture_topic(self, stream: str) -> str:
        return f"{self._config.name}/{slug(stream)}/picture"

    def states(self, status: StreamStatus, model: str | None, fps: float) -> Messages:
        """Of one stream, without its picture."""
        top = f"{self._config.name}/{slug(status.name)}"
        has_pictures = status.state is StreamState.RUNNING
        found = {
            f"{top}/state": str(status.state).encode(),
            f"{top}/fps": f"{fps:.1f}".encode(),
            f"{top}/model": (model or "").encode(),
            f"{top}/available": ONLINE if has_pictures else OFFLINE,
        }
        if self._records:
            found[f"{top}/recording"] = ON if status.recording_wanted else OFF
        for zone in status.zones:
            place = f"{top}/zones/{slug(zone.config.name)}"
            found[place] = ON if zone.state is ZoneState.NEAR else OFF
            found[f"{place}/available"] = ONLINE if has_pictures and zone.problem is None else OFFLINE
            found[f"{place}/details"] = _details(zone)
        return found

    def discovery(self, status: StreamStatus) -> Messages:
        """Of one stream."""
        if not self._config.discovery:
            return {}
        return {
            f"{self._config.prefix}/{component}/{self._config.name}/{slug(status.name)}_{what}/config": json.dumps(
                self._common(status.name, what) | special
            ).encode()
            for component, what, special in self._kinds(status)
        }

    def _kinds(self, status: StreamStatus) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Component, id and what is special of each entity."""
        top = f"{self._config.name}/{slug(status.name)}"
        daemon, stream = {"topic": self.status_topic}, {"topic": f"{top}/available"}
        with_pictures = {"availability": [daemon, stream], "availability_mode": "all"}
        always = {"availability": [daemon]}
        yield "camera", "depth", {"name": "Depth", "topic": f"{top}/picture", **with_pictures}
        for zone in status.zones:
            place = f"{top}/zones/{slug(zone.config.name)}"
            yield (
                "binary_sensor",
                f"zone_{slug(zone.config.name)}",
                {
                    "name": zone.config.name,
                    "device_class": "occupancy",
                    "state_topic": place,
                    "json_attributes_topic": f"{place}/details",
                    "availability": [daemon, {"topic": f"{place}/available"}],
                    "availability_mode": "all",
                },
            )
        states = {"device_class": "enum", "options": [str(state) for state in StreamState]}
        yield "sensor", "state", {"name": "State", "state_topic": f"{top}/state", **states, **always}
        rate = {"unit_of_measurement": "fps", "state_class": "measurement", "entity_category": "diagnostic"}
        yield "sensor", "fps", {"name": "Frame rate", "state_topic": f"{top}/fps", **rate, **always}
        model = {"entity_category": "diagnostic", **always}
        yield "sensor", "model", {"name": "Model", "state_topic": f"{top}/model", **model}
        if self.takes_commands:
            topics = {"state_topic": f"{top}/recording", "command_topic": f"{top}/recording/set"}
            yield "switch", "recording", {"name": "Recording", **topics, **always}
        elif self._records:
            yield "binary_sensor", "recording", {"name": "Recording", "state_topic": f"{top}/recording", **always}

    def _common(self, stream: str, what: str) -> dict[str, Any]:
        device = f"{self._config.name}_{slug(stream)}"
        return {
            "unique_id": f"{device}_{what}",
            "device": {
                "identifiers": [device],
                "name": stream,
                "manufacturer": "streamd",
                "model": "Depth camera",
                "sw_version": __version__,
            },
            "origin": {"name": "streamd", "sw_version": __version__},
        }


def _details(zone: ZoneStatus) -> bytes:
    """Only what does not change with each frame: Home Assistant would keep all of it."""
    given = {"near": zone.config.near, "metres": zone.config.metres, "problem": zone.problem}
    return json.dumps({name: value for name, value in given.items() if value is not None}).encode()
