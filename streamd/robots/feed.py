"""Gives new frames of running streams to what robots listen to: in threads of their own, off the path of a frame."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from streamd.concurrency import threads
from streamd.media.frames import NormalisedFrame, Scaler
from streamd.robots.sample import Sample, sample_of
from streamd.streams.fleet import Fleet
from streamd.streams.stream import Stream
from streamd.telemetry.logs import StreamLog

log = logging.getLogger(__name__)

POLL_S = 0.005
"""How late a frame may be for it."""
REPORT_S = 60.0
CLOSE_S = 1.0


class Output(Protocol):
    """Where samples go. Used by the feed's thread alone."""

    def publish(self, stream: str, sample: Sample) -> None: ...

    def remove(self, stream: str) -> None: ...

    def close(self) -> None: ...


@dataclass
class _Taken:
    """Of a stream."""

    frame: NormalisedFrame | None = None
    at: float = -math.inf
    """When the last was published."""


class RobotFeed:
    """Of one output, so that what holds it up, as a disk may, holds up no other. Wakes no stream on demand: it shows
    those that run."""

    def __init__(self, name: str, streams: Fleet, output: Output, max_fps: float) -> None:
        """``name`` is that of its thread; ``max_fps``: of each stream."""
        self._name = name
        self._fleet = streams
        self._output = output
        self._least_s = 0.9 / max_fps
        """Between two frames; less than the mean, or a little jitter would cost every second one."""
        self._streams: tuple[Stream, ...] = ()
        """Replaced on the event loop whenever one is added or removed."""
        self._stop = threading.Event()
        self._thread: threads.Worker | None = None
        self._taken: dict[Stream, _Taken] = {}
        self._scaler = Scaler()
        self._reported_at = -math.inf

    def start(self) -> None:
        self._fleet.watchers.add(self._changed)
        self._streams = tuple(self._fleet.values())
        self._thread = threads.start(self._name, self._run)

    async def close(self) -> None:
        self._fleet.watchers.discard(self._changed)
        self._stop.set()
        if self._thread is not None:
            await threads.finish(self._thread, CLOSE_S)

    def _changed(self, stream: Stream, change: str) -> None:
        if change in ("added", "removed"):
            self._streams = tuple(self._fleet.values())

    def _run(self) -> None:
        try:
            while not self._stop.wait(POLL_S):
                streams = self._streams
                for stream in streams:
                    self._try(stream, partial(self._look, stream))
                for gone in self._taken.keys() - set(streams):
                    del self._taken[gone]
                    self._try(gone, partial(self._output.remove, gone.name))
        finally:
            self._output.close()

    def _look(self, stream: Stream) -> None:
        newest, taken, now = stream.newest, self._taken.setdefault(stream, _Taken()), time.monotonic()
        if newest is None or newest is taken.frame:
            return
        taken.frame = newest
        if now - taken.at <= self._least_s:
            return
        taken.at = now
        calibrated = stream.calibrated  # not ``calibration``: a newer frame may be of another network
        calibration = calibrated.of(newest.frame) if calibrated is not None else None
        self._output.publish(stream.name, sample_of(newest, stream.config, calibration, self._scaler))

    def _try(self, stream: Stream, act: Callable[[], None]) -> None:
        """What fails, as on a full disk, harms neither another stream nor the next frame."""
        try:
            act()
        except Exception as error:
            if time.monotonic() - self._reported_at > REPORT_S:
                self._reported_at = time.monotonic()
                StreamLog(log, stream.name).warning("robots do not get it: %s", error)
