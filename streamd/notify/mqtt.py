"""Shows all streams at an MQTT broker, and takes from it whether to record."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import cv2
import numpy as np

from streamd.concurrency.threads import SerialExecutor
from streamd.config.outgoing import MqttConfig
from streamd.config.zones import ZoneConfig
from streamd.errors import Busy
from streamd.media.frames import NormalisedFrame
from streamd.notify.broker import Broker
from streamd.notify.entities import OFF, ON, Entities, Messages, slug
from streamd.render.views import draw_still
from streamd.states import StreamState
from streamd.streams.events import ZoneEvent
from streamd.streams.fleet import Change, Fleet
from streamd.streams.stream import Stream
from streamd.telemetry.logs import StreamLog

log = logging.getLogger(__name__)

EVERY_S = 1.0
FPS_EVERY_S = 10.0
"""Home Assistant keeps each value."""
PICTURE_EVERY_S, PICTURE_AT_EVENT_S = 5.0, 1.0
"""A picture comes so often, and so soon after the last when a zone changes."""
MAX_PICTURE_PX, JPEG_QUALITY = 640, 80
MAX_PICTURE_BYTES = 256 * 1024
MAX_PICTURES = 16
"""That wait or are being drawn."""
NICENESS = 5


class Mqtt:
    """Lives on the event loop. Nothing here waits for the broker."""

    def __init__(self, config: MqttConfig, streams: Fleet, model: Callable[[], str | None], *, records: bool) -> None:
        """``model`` names the one that runs. Raises ConfigError."""
        self._streams = streams
        self._model = model
        self._entities = Entities(config, records=records)
        self._loop = asyncio.get_running_loop()
        self._broker = Broker(config, self._entities, self._command)
        self._pictures: SerialExecutor | None = None
        self._shown: dict[str, _Shown] = {}
        self._commands: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until cancelled; then ``close``."""
        self._pictures = SerialExecutor("mqtt-pictures", MAX_PICTURES, max_per_owner=1, niceness=NICENESS)
        self._streams.watchers.add(self._changed)
        self._streams.zone_watchers.add(self._zone_changed)
        await self._show_all()
        self._broker.start()  # by now all is wanted that is to stay at the broker: it forgets the rest
        while True:
            await self._show_all()
            await asyncio.sleep(EVERY_S)

    async def close(self) -> None:
        """Entities become unavailable."""
        self._streams.watchers.discard(self._changed)
        self._streams.zone_watchers.discard(self._zone_changed)
        for task in self._commands.values():
            task.cancel()
        ending = [] if self._pictures is None else [self._pictures.leave(EVERY_S)]
        await asyncio.gather(self._broker.close(), *ending)

    async def _show_all(self) -> None:
        for stream in tuple(self._streams.values()):
            self._show(stream)
            self._draw(stream, PICTURE_EVERY_S)
            await asyncio.sleep(0)  # there may be hundreds

    def _changed(self, stream: Stream, change: Change) -> None:
        if change != "removed":
            self._show(stream)
        elif (shown := self._shown.pop(stream.name, None)) is not None:
            self._broker.want(dict.fromkeys([*shown.topics, self._entities.picture_topic(stream.name)]))

    def _zone_changed(self, event: ZoneEvent) -> None:
        stream = self._streams.get(event.stream)
        if stream is not None:
            self._show(stream)
            self._draw(stream, PICTURE_AT_EVENT_S)

    def _show(self, stream: Stream) -> None:
        status, now = stream.status, time.monotonic()
        shown = self._shown.setdefault(stream.name, _Shown())
        if now - shown.fps_at > FPS_EVERY_S or not status.fps_out:
            shown.fps, shown.fps_at = status.fps_out, now
        zones = tuple(zone.config for zone in status.zones)
        if zones != shown.zones or not shown.discovery:
            shown.zones, shown.discovery = zones, self._entities.discovery(status)
        messages = self._entities.states(status, self._model(), shown.fps) | shown.discovery
        gone = shown.topics - messages.keys()
        shown.topics = set(messages)
        self._broker.want({**messages, **dict.fromkeys(gone)})

    def _draw(self, stream: Stream, after_s: float) -> None:
        """A picture of the newest frame, if that is new and the last one is old enough."""
        newest, now = stream.newest, time.monotonic()
        shown = self._shown.setdefault(stream.name, _Shown())
        is_new = newest is not None and newest.frame.stamp.sequence != shown.sequence
        if newest is None or not is_new or now - shown.drawn_at < after_s or not self._broker.connected:
            return
        if stream.state is StreamState.RUNNING and self._pictures is not None:
            shown.sequence, shown.drawn_at = newest.frame.stamp.sequence, now
            with suppress(Busy):
                self._pictures.submit(partial(self._send, stream.name, newest), owner=stream.name)

    def _send(self, stream: str, frame: NormalisedFrame) -> None:
        """In the thread of pictures."""
        data = picture(frame)
        if len(data) <= MAX_PICTURE_BYTES and stream in self._shown:
            self._broker.want({self._entities.picture_topic(stream): data})

    def _command(self, topic: str, payload: bytes) -> None:
        """From the broker's thread."""
        wanted = {ON: True, OFF: False}.get(payload.strip().upper())
        if wanted is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._record, topic.split("/")[-3], wanted)

    def _record(self, name: str, wanted: bool) -> None:
        """One command after the other for each stream; others that come meanwhile are too many."""
        stream = next((each for each in self._streams.values() if slug(each.name) == name), None)
        if stream is None or stream.name in self._commands:
            return
        StreamLog(log, stream.name).info("recording %s by MQTT", "started" if wanted else "stopped")
        task = self._loop.create_task(self._obey(stream, wanted), name=f"mqtt-{stream.name}")
        self._commands[stream.name] = task
        task.add_done_callback(lambda _: self._commands.pop(stream.name, None))

    async def _obey(self, stream: Stream, wanted: bool) -> None:
        if wanted:
            stream.start_recording()
        else:
            await stream.stop_recording()
        self._show(stream)


class _Shown:
    """What the broker was told of a stream."""

    def __init__(self) -> None:
        self.topics: set[str] = set()
        self.zones: tuple[ZoneConfig, ...] = ()
        self.discovery: Messages = {}
        """For these zones."""
        self.fps, self.fps_at = 0.0, float("-inf")
        self.sequence, self.drawn_at = -1, float("-inf")
        """Of its picture."""


def picture(frame: NormalisedFrame) -> bytes:
    """A JPEG of the depth, at most ``MAX_PICTURE_PX`` wide or high."""
    width, height = frame.frame.picture.width, frame.frame.picture.height
    scale = min(1.0, MAX_PICTURE_PX / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    normalised = np.asarray(cv2.resize(frame.normalised, size, interpolation=cv2.INTER_LINEAR), np.float32)
    pixels = draw_still("depth", normalised, np.empty((0, 0, 3), np.uint8))
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes()
