"""Opens the source of a running stream again and again, until it ends for good."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from streamd.concurrency.backoff import Backoff
from streamd.concurrency.waiting import wait
from streamd.config.sections import StreamConfig
from streamd.depth.service import DepthService
from streamd.errors import SourceError, SourceStalled, SourceUnsupported
from streamd.media.frames import StampClock
from streamd.sources import Source
from streamd.states import ModelState, StreamState
from streamd.streams.capture import Capture, Pacer
from streamd.streams.pipeline import Pipeline
from streamd.streams.state import StateMachine
from streamd.telemetry.metrics import StreamMetrics

MODEL_POLL_S = 0.05

OpenSource = Callable[[StreamConfig, threading.Event, int], Source]


class Sources:
    """Makes the source of a stream, once for each of its lives."""

    def __init__(self, open_source: OpenSource, decode_threads: Callable[[], int]) -> None:
        self._open_source = open_source
        self._decode_threads = decode_threads

    def open(self, config: StreamConfig) -> Source:
        """Returns at once; iterating over its frames opens it."""
        return self._open_source(config, threading.Event(), self._decode_threads())

    def is_live(self, config: StreamConfig) -> bool:
        """Whether it never ends by itself."""
        return self._open_source(config, threading.Event(), 1).live


class SourceSupervisor:
    """Of one pipeline. Lives on the event loop."""

    def __init__(
        self,
        name: str,
        config: StreamConfig,
        pipeline: Pipeline,
        *,
        service: DepthService,
        metrics: StreamMetrics,
        clock: StampClock,
        states: StateMachine,
        sources: Sources,
        backoff: Backoff,
    ) -> None:
        self._name = name
        self._config = config
        self._pipeline = pipeline
        self._service = service
        self._metrics = metrics
        self._clock = clock
        self._states = states
        self._sources = sources
        self._backoff = backoff
        self._loop = asyncio.get_running_loop()
        self._is_live = sources.is_live(config)
        self._ending = asyncio.Event()

    def stop(self) -> None:
        """``run`` returns soon. Safe to repeat."""
        self._ending.set()

    async def run(self) -> None:
        """Returns when the source has ended or failed for good, or after ``stop``. Raises only what is a fault of
        ours."""
        await self._model_ready()
        delays, delay_s, pacer = self._backoff.start(), 0.0, Pacer(self._config.max_fps)
        while not self._ending.is_set():
            began = time.monotonic() + delay_s
            capture = self._capture(pacer)
            try:
                await capture.play(f"capture-{self._name}", self._ending, delay_s, self._lost)
            except SourceError as error:
                if self._ending.is_set() or not self._may_return(error):
                    return
                self._lost(error)
                self._metrics.restarted(error.code)
            else:
                if not self._ending.is_set():
                    self._states.enter(StreamState.ENDED)
                return
            if capture.came_back:  # its port opens before it can serve: do not wait as long as while it was away
                delays = self._backoff.start()
            delay_s = delays.after(max(0.0, time.monotonic() - began))
            self._clock.epoch += 1

    async def _model_ready(self) -> None:
        """Frames captured before the network is ready would only be skipped; but a viewer who woke a
        camera must not wait for one after the other."""
        while not self._ending.is_set() and self._service.info is None:
            status = self._service.status
            failure = status.message if status.state is ModelState.FAILED else None
            if failure is None and self._config.mode == "on_demand" and self._is_live:
                return
            if failure != self._states.reason:
                self._states.enter(StreamState.STARTING, failure)
            await wait(self._ending, MODEL_POLL_S)

    def _capture(self, pacer: Pacer) -> Capture:
        """One life of the source."""
        source = self._sources.open(self._config)
        return Capture(source, self._pipeline.frames, self._clock, self._metrics, pacer, self._on_first_picture)

    def _on_first_picture(self) -> None:
        """From the capture thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._returned)

    def _returned(self) -> None:
        """Viewers still see NO SIGNAL; one that has not shown a picture yet runs from its first published one."""
        is_current = not self._ending.is_set() and self._states.current is StreamState.RECONNECTING
        if is_current and self._pipeline.publisher.newest is not None:
            self._states.enter(StreamState.RUNNING)

    def _may_return(self, error: SourceError) -> bool:
        """A file that is no video is given up; a camera may return at any moment."""
        if self._is_live or not isinstance(error, SourceUnsupported):
            return True
        self._states.enter(StreamState.FAILED, error.reason)
        return False

    def _lost(self, error: SourceError) -> None:
        stalled = isinstance(error, SourceStalled)
        self._states.enter(StreamState.RECONNECTING, f"stalled: {error.reason}" if stalled else error.reason)
