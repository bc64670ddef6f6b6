"""Gives new frames of running streams to what robots listen to: in a thread of its own, off the path of a frame."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
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
    at: dict[Output, float] = field(default_factory=dict)
    """When each output had its last."""


class RobotFeed:
    """Wakes no stream on demand: it shows those that run."""

    def __init__(self, streams: Fleet, outputs: Iterable[tuple[Output, float]]) -> None:
        """``outputs``: each with the frames a second that it takes at most."""
        self._fleet = streams
        self._outputs = dict(outputs)
        self._streams: tuple[Stream, ...] = ()
        """Replaced on the event loop whenever one is added or removed."""
        self._stop = threading.Event()
        self._thread: threads.Worker | None = None
        self._taken: dict[Stream, _Taken] = {}
        self._scaler = Scaler()
        self._reported_at = -REPORT_S

    def start(self) -> None:
        if not self._outputs:
            return
        self._fleet.watchers.add(self._changed)
        self._streams = tuple(self._fleet.values())
        self._thread = threads.start("robots", self._run)

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
                    self._look(stream)
                for gone in self._taken.keys() - set(streams):
                    del self._taken[gone]
                    for output in self._outputs:
                        self._try(gone, partial(output.remove, gone.name))
        finally:
            for output in self._outputs:
                output.close()

    def _look(self, stream: Stream) -> None:
        newest, taken = stream.newest, self._taken.setdefault(stream, _Taken())
        if newest is None or newest is taken.frame:
            return
        taken.frame = newest
        now = time.monotonic()
        due = [output for output, fps in self._outputs.items() if now - taken.at.get(output, -1e9) > 0.9 / fps]
        if not due:
            return
        sample = sample_of(newest, stream.config, stream.calibration, self._scaler)
        for output in due:
            taken.at[output] = now
            self._try(stream, partial(output.publish, stream.name, sample))

    def _try(self, stream: Stream, act: Callable[[], None]) -> None:
        """What one output cannot take harms neither the other nor the next frame: a full disk, say."""
        try:
            act()
        except Exception as error:
            if time.monotonic() - self._reported_at > REPORT_S:
                self._reported_at = time.monotonic()
                StreamLog(log, stream.name).warning("robots do not get it: %s", error)
