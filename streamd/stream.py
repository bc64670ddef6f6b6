"""One configured pipeline: builds it, keeps it going, and knows what state it is in."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from typing import Any, cast

from streamd import threads
from streamd.backoff import Backoff
from streamd.config import VIEWS, PictureFormat, RecordingConfig, StreamConfig, View
from streamd.depth.service import DepthService
from streamd.errors import SinkError, SourceError, SourceUnsupported, UsageError
from streamd.hub import PacketHub
from streamd.inference import Inference
from streamd.mailbox import Closed, Mailbox
from streamd.media import CapturedFrame, DepthFrame, StampClock
from streamd.metrics import StreamMetrics
from streamd.publisher import Publisher
from streamd.redact import redact_source
from streamd.sinks.record import Recorder, RecordingRules
from streamd.sources import Source, open_source
from streamd.statistics import Rate

log = logging.getLogger(__name__)


class Stream:
    """Three threads (capture, infer, publish) and a supervisor on the event loop.

    The hubs, the infer and the publish thread live as long as the stream, so that viewers keep
    their session while the source is away; the capture thread is made anew for each try.
    """

    def __init__(
        self,
        name: str,
        config: StreamConfig,
        service: DepthService,
        metrics: StreamMetrics,
        recording: RecordingConfig,
        *,
        backoff: Backoff | None = None,
        open_source: Callable[[StreamConfig, threading.Event], Source] = open_source,
    ) -> None:
        self.name = name
        self.config = config
        self.metrics = metrics
        self.state = "starting"
        self.reason: str | None = None
        self._service = service
        self._recording = recording
        self._backoff = backoff or Backoff()
        self._open_source = open_source
        self._loop = asyncio.get_running_loop()
        self._clock = StampClock()
        self._skipped: dict[str, int] = {}
        self._captured = Rate()
        self._next_frame_s = 0.0
        every = not config.realtime and not open_source(config, threading.Event()).live
        self._frames: Mailbox[CapturedFrame] = Mailbox(every=every, on_skip=lambda _: self._skip("superseded"))
        self._depths: Mailbox[DepthFrame] = Mailbox(every=every, on_skip=lambda _: self._skip("overflow"))
        self._inference = Inference(
            service,
            self._frames,
            self._depths,
            every=every,
            observe=lambda stage, seconds: metrics.stages[stage].observe(seconds),
            on_error=lambda _: self._skip("error"),
        )
        self._publisher = Publisher(config, self._depths, metrics, self._threadsafe(self._delivers))
        self._hubs = {view: PacketHub(self._loop, partial(self._publisher.request_keyframe, view)) for view in VIEWS}
        self._publisher.hubs = self._hubs
        self._recorders: list[Recorder] = []
        self._enter("starting")

    # -- what others ask of it: event loop ----------------------------------------------------

    def hub(self, view: str) -> PacketHub:
        """Raises UsageError for a view that does not exist."""
        hub = self._hubs.get(cast(View, view))
        if hub is None:
            raise UsageError(f"view {view}: unknown; there are: {', '.join(VIEWS)}")
        return hub

    def snapshot(self, view: View, format: PictureFormat) -> Future[bytes]:
        """The newest frame as a still. Raises Busy; the future may fail with PictureError."""
        return self._publisher.snapshot(view, format)

    def describe(self) -> dict[str, Any]:
        """For the API, JSON-ready, without secrets."""
        size = self._publisher.size
        latencies = self._publisher.latencies
        return {
            "name": self.name,
            "state": self.state,
            "reason": self.reason,
            "source": redact_source(self.config.source),
            "width": size[0] if size else None,
            "height": size[1] if size else None,
            "fps_in": round(self._captured.per_second(), 2),
            "fps_out": round(self._publisher.fps.per_second(), 2),
            "skipped": dict(self._skipped),
            "latency_ms": {"p50": latencies.percentile_ms(0.5), "p95": latencies.percentile_ms(0.95)},
            "viewers": sum(len(hub) for hub in self._hubs.values()) - len(self._recorders),
            "recording": bool(self._recorders),
            "flicker": self._publisher.flicker,
            "views": list(VIEWS),
        }

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing to wait for: it delivers, or has ended."""
        return self.state in ("running", "idle", "ended")

    # -- supervision: event loop --------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``. Ends in data order: source, mailboxes, encoder, hubs, recorders."""
        parts: list[asyncio.Future[None]] = [
            asyncio.wrap_future(threads.start(f"infer-{self.name}", self._inference.run).finished),
            asyncio.wrap_future(threads.start(f"publish-{self.name}", self._publisher.run).finished),
        ]
        self._start_recorders()
        ending = asyncio.Event()
        supervisor = asyncio.create_task(self._supervise(ending))
        stopped = asyncio.create_task(_until(stop))
        try:
            await asyncio.wait([stopped, *parts], return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.set()
            stopped.cancel()
            self._frames.close(discard=True)  # first of all: the capture thread may wait for room in it
            await supervisor
            await asyncio.wait(parts)
            await self._stop_recorders()
            self._end(parts)

    def _end(self, parts: list[asyncio.Future[None]]) -> None:
        failures = [failure for part in parts if (failure := part.exception())]
        for failure in failures:
            log.error("stream %s: internal error", self.name, exc_info=failure)
        if failures:
            self._enter("failed", f"internal error: {failures[0]}")
        elif self.state not in ("ended", "failed"):
            self._enter("stopping")

    async def _supervise(self, stop: asyncio.Event) -> None:
        """The only broad ``except`` on the path of a frame: a fault of ours fails this stream only."""
        try:
            await self._model_ready(stop)
            await self._replay(stop)
        except Exception as error:
            log.exception("stream %s: internal error", self.name)
            self._enter("failed", f"internal error: {error}")

    async def _replay(self, stop: asyncio.Event) -> None:
        """Opens the source again and again, until it ends for good."""
        delays = self._backoff.delays()
        while not stop.is_set():
            started = time.monotonic()
            try:
                await self._play(stop)
            except SourceError as error:
                if stop.is_set():
                    return
                if not self._may_return(error):
                    self._enter("failed", error.reason)
                    return
                self._enter("reconnecting", error.reason)
                self.metrics.restarted(error.code)
            else:
                if not stop.is_set():
                    self._enter("ended")
                return
            if time.monotonic() - started > self._backoff.healthy_after_s:
                delays = self._backoff.delays()
            await _wait(stop, next(delays))
            self._clock.epoch += 1

    async def _model_ready(self, stop: asyncio.Event) -> None:
        """Frames captured before the network is there would only be skipped."""
        while not stop.is_set() and self._service.info is None:
            failure = self._service.status.message if self._service.status.state == "failed" else None
            if failure != self.reason:
                self._enter("starting", failure)
            await _wait(stop, 0.05)

    async def _play(self, stop: asyncio.Event) -> None:
        """One life of the source. Raises SourceError; returns when a file has ended, or on ``stop``."""
        stop_source = threading.Event()
        source = self._open_source(self.config, stop_source)
        capture = threads.start(f"capture-{self.name}", partial(self._capture, source))
        finished = asyncio.wrap_future(capture.finished)
        stopped = asyncio.create_task(_until(stop))
        try:
            await asyncio.wait([finished, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            stop_source.set()
            self.metrics.source_up.set(0)
        await finished

    def _may_return(self, error: SourceError) -> bool:
        """A file that is no video stays so; a camera may be back any moment."""
        live = self._open_source(self.config, threading.Event()).live
        return live or not isinstance(error, SourceUnsupported)

    def _enter(self, state: str, reason: str | None = None) -> None:
        """The one place where the state changes."""
        if (state, reason) != (self.state, self.reason) or state == "starting":
            text = f"{state}: {reason}" if reason else state
            log.log(logging.WARNING if reason else logging.INFO, "stream %s: %s", self.name, text)
        self.state, self.reason = state, reason
        self.metrics.state(state)

    def _delivers(self) -> None:
        if self.state in ("starting", "reconnecting"):
            self._enter("running")

    # -- recording: event loop ----------------------------------------------------------------

    def _start_recorders(self) -> None:
        directory = self._recording.directory
        if directory is None:
            return
        rules = RecordingRules(directory, self._recording.segment_seconds, self._recording.min_free_gb * 1e9)
        for view in self.config.record:
            hub = self._hubs[view]
            recorder = Recorder(
                hub,
                stream=self.name,
                view=view,
                rules=rules,
                on_bytes=self.metrics.recorded_bytes.inc,
                on_overflow=lambda: self._skip("disk"),
            )
            self._recorders.append(recorder)
            recorder.finished.add_done_callback(self._threadsafe(partial(self._recorder_ended, recorder)))

    def _recorder_ended(self, recorder: Recorder) -> None:
        """A sink's failure ends that sink only."""
        recorder.stop()
        if recorder in self._recorders:
            self._recorders.remove(recorder)
        failure = recorder.finished.exception()
        if isinstance(failure, SinkError):
            log.error("stream %s: %s", self.name, failure)
        elif failure is not None:
            log.error("stream %s: recorder failed", self.name, exc_info=failure)

    async def _stop_recorders(self) -> None:
        recorders, self._recorders = self._recorders, []
        for recorder in recorders:
            recorder.stop()
        if recorders:
            await asyncio.wait([asyncio.wrap_future(recorder.finished) for recorder in recorders])

    # -- the capture thread -------------------------------------------------------------------

    def _capture(self, source: Source) -> None:
        source.on_decode = self.metrics.stages["decode"].observe
        tell: Callable[[], None] | None = self._threadsafe(self._source_delivers)
        try:
            with closing(source.frames()) as pictures:
                for picture in pictures:
                    self.metrics.captured.inc()
                    self._captured.tick()
                    if tell is not None:
                        self.metrics.source_up.set(1)
                        tell()
                        tell = None
                    if self._is_too_soon():
                        self._skip("max_fps")
                    else:
                        self._frames.put(CapturedFrame(self._clock.stamp(), picture))
        except Closed:
            pass

    def _source_delivers(self) -> None:
        if self.state == "reconnecting" and self._publisher.size is not None:
            self._enter("running")

    def _is_too_soon(self) -> bool:
        """Keeps an even beat: the next frame is due one period after the one before was due."""
        if self.config.max_fps is None:
            return False
        now, period = time.monotonic(), 1 / self.config.max_fps
        if now < self._next_frame_s - 0.2 * period:
            return True
        due = self._next_frame_s if now - self._next_frame_s < period else now
        self._next_frame_s = due + period
        return False

    # -- helpers: any thread ------------------------------------------------------------------

    def _skip(self, reason: str) -> None:
        self._skipped[reason] = self._skipped.get(reason, 0) + 1
        self.metrics.skipped(reason)

    def _threadsafe(self, call: Callable[[], None]) -> Callable[..., None]:
        """``call`` on the event loop; dropped when the loop has closed."""

        def later(*_: object) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(call)

        return later


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        pass
