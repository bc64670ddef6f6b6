"""One configured stream: runs it while it is wanted, keeps it going, and knows what state it is in."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

from streamd.concurrency.backoff import Backoff
from streamd.config.redact import redact_source
from streamd.config.sections import VIEWS, RecordingConfig, StreamConfig, View
from streamd.depth.service import DepthService
from streamd.errors import PictureError, SourceError, SourceStalled, SourceUnsupported, UsageError
from streamd.media.frames import Codec, NormalisedFrame, StampClock
from streamd.media.hub import RENDITIONS, PacketHub, Rendition
from streamd.render.notice import Notice
from streamd.sources import Source, open_source
from streamd.states import KeyframeReason, ModelState, StreamState
from streamd.streams.capture import Capture, Pacer
from streamd.streams.pipeline import Pipeline
from streamd.streams.recorders import Recorders
from streamd.telemetry.logs import StreamLog
from streamd.telemetry.metrics import StreamMetrics

log = logging.getLogger(__name__)

NOTICES = {
    StreamState.STARTING: "CONNECTING",
    StreamState.RECONNECTING: "NO SIGNAL",
    StreamState.FAILED: "NO SIGNAL",
    StreamState.ENDED: "THE END",
}
"""What viewers see in a state that gives them no picture."""
OpenSource = Callable[[StreamConfig, threading.Event, int], Source]


class Stream:
    """Lives on the event loop. Its hubs and its clock live as long as it does, so that viewers keep
    their session while the source is away, changes or sleeps; its threads (capture, infer, publish)
    only while it runs, which ``mode = "on_demand"`` does while somebody looks.
    """

    def __init__(
        self,
        name: str,
        config: StreamConfig,
        service: DepthService,
        metrics: StreamMetrics,
        recording: RecordingConfig,
        *,
        decode_threads: int = 1,
        backoff: Backoff | None = None,
        open_source: OpenSource = open_source,
    ) -> None:
        self.name = name
        self.config = config
        self.metrics = metrics
        self._log = StreamLog(log, name)
        self.state = StreamState.STARTING
        self.reason: str | None = None
        self.on_change: Callable[[], None] = lambda: None
        """Called on the event loop when the state or its reason is another."""
        self._service = service
        self._decode_threads = decode_threads
        self._backoff = backoff or Backoff()
        self._open_source = open_source
        self._loop = asyncio.get_running_loop()
        self._clock = StampClock()
        self._attention = asyncio.Event()
        """Set when what ``run`` waits for may have changed."""
        self._entered = asyncio.Event()
        """Set, and replaced, when the state changes."""
        self._stopping = False
        self._next_config: StreamConfig | None = None
        self._lookers = 0
        self._pipeline: Pipeline | None = None
        self._hubs = {
            rendition: PacketHub(self._loop, partial(self._request_keyframe, rendition), self._attention.set)
            for rendition in RENDITIONS
        }
        full = {view: self._hubs[Rendition(view)] for view in VIEWS}
        self._recorders = Recorders(name, recording, full, metrics)
        metrics.state(self.state)

    # -- what others ask of it: event loop ----------------------------------------------------

    def hub(self, view: str, codec: Codec = "h264", *, light: bool = False) -> PacketHub:
        """Raises UsageError for a view that does not exist."""
        if view not in VIEWS:
            raise UsageError(f"view {view}: unknown; there are: {', '.join(VIEWS)}")
        return self._hubs[Rendition(view, codec, light)]

    @property
    def newest(self) -> NormalisedFrame | None:
        """What stills and Motion JPEG are made from. None while there is no frame. Any thread."""
        pipeline = self._pipeline
        return pipeline.publisher.newest if pipeline is not None else None

    async def frame(self) -> NormalisedFrame:
        """The newest, once a stream on demand is awake: for those who are ``looking``.
        Raises PictureError when there is none."""
        while self.config.mode == "on_demand" and self.state in (StreamState.IDLE, StreamState.STARTING):
            await self._entered.wait()
        newest = self.newest
        if newest is None:
            raise PictureError("the stream has stopped" if self._stopping else "no frame yet")
        return newest

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Keeps it running: for those who have no seat at a hub."""
        self._lookers += 1
        self._attention.set()
        try:
            yield
        finally:
            self._lookers -= 1
            self._attention.set()

    def start_recording(self, views: Iterable[View] = ()) -> None:
        """Views that are recorded already go on; none named: those of its settings. Does nothing
        without a directory to record to, nor when it is about to stop."""
        if not self._stopping:
            self._recorders.start(views or self.config.record or ("depth",))

    async def stop_recording(self, views: Collection[View] = ()) -> None:
        """Returns when the files are complete; none named: of all views. Views that the settings name are
        recorded again when ``record`` changes."""
        await self._recorders.stop(views)

    def describe(self) -> dict[str, Any]:
        """For the API, JSON-ready, without secrets."""
        publisher = self._pipeline.publisher if self._pipeline else None
        width, height = (publisher.size if publisher else None) or (None, None)
        return {
            "name": self.name,
            "state": self.state,
            "reason": self.reason,
            "mode": self.config.mode,
            "source": redact_source(self.config.source),
            "width": width,
            "height": height,
            "fps_in": round(self.metrics.capture_rate.per_second(), 3) if publisher else 0.0,
            "fps_out": round(publisher.fps.per_second(), 3) if publisher else 0.0,
            "skipped": dict(self.metrics.skips),
            "latency_ms": {
                name: publisher.latencies.percentile_ms(fraction) if publisher else None
                for name, fraction in (("p50", 0.5), ("p95", 0.95))
            },
            "viewers": sum(len(hub) for hub in self._hubs.values()) - self._recorders.seats,
            "recording": bool(self._recorders.active),
            "recording_views": self._recorders.wanted,
            "recording_active": self._recorders.active,
            "recording_error": self._recorders.error,
            "flicker": publisher.flicker if publisher else 0.0,
            "overlay_alpha": self.config.overlay_alpha,
            "views": list(VIEWS),
        }

    @property
    def notice(self) -> Notice | None:
        """What viewers see instead of a picture, in a state that has none."""
        title = NOTICES.get(self.state)
        return Notice(title, self.reason or "") if title else None

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing to wait for: it delivers, has ended, or sleeps."""
        return self.state in (StreamState.RUNNING, StreamState.IDLE, StreamState.ENDED)

    def reconfigure(self, config: StreamConfig) -> None:
        """Goes on with these settings, soon. Viewers stay; a recording goes on in a new segment.
        Does nothing when they are the same."""
        if config == (self._next_config or self.config):
            return
        self._next_config = config
        self._attention.set()

    def stop(self) -> None:
        """``run`` returns soon. Safe to repeat."""
        self._stopping = True
        self._attention.set()

    # -- its life: event loop -----------------------------------------------------------------

    async def run(self) -> None:
        """Until ``stop``. Ends in data order: source, mailboxes, encoder, recorders, viewers."""
        self._recorders.start(self.config.record)
        try:
            while not self._stopping:
                if self._next_config is not None:
                    await self._change(self._next_config)
                elif self.state is StreamState.FAILED:
                    await self._attended()
                elif self._is_wanted():
                    await self._live()
                else:
                    self._enter(StreamState.IDLE)
                    await self._attended()
        finally:
            await self._recorders.stop()
            if self.state not in (StreamState.ENDED, StreamState.FAILED):
                self._enter(StreamState.STOPPING)
            for hub in self._hubs.values():
                hub.close()

    def _is_wanted(self) -> bool:
        return self.config.mode == "always" or self._lookers > 0 or self._is_watched()

    def _is_watched(self) -> bool:
        """Or recorded, also while the disk does not let it be."""
        return any(hub.watched for hub in self._hubs.values()) or bool(self._recorders.wanted)

    async def _attended(self, timeout_s: float | None = None) -> None:
        """Until something may have changed."""
        await _wait(self._attention, timeout_s)
        self._attention.clear()

    async def _change(self, config: StreamConfig) -> None:
        before, self.config, self._next_config = self.config, config, None
        self._clock.epoch += 1
        self.state = StreamState.STARTING
        if config.record != before.record:
            await self._recorders.change(config.record)

    async def _live(self) -> None:
        """Until nobody wants it any more, it is to change, or to stop."""
        self._enter(StreamState.STARTING)
        ending = asyncio.Event()
        async with self._parts() as pipeline:
            supervisor = asyncio.create_task(self._supervise(pipeline, ending))
            try:
                await self._until_unwanted(pipeline)
            finally:
                ending.set()
                pipeline.frames.close(discard=True)  # first of all: the capture thread may wait for room in it
                await supervisor

    @asynccontextmanager
    async def _parts(self) -> AsyncIterator[Pipeline]:
        pipeline = self._pipeline = Pipeline(
            self.name,
            self.config,
            self._service,
            self.metrics,
            self._clock,
            self._hubs,
            every=not self.config.realtime and not self._source_is_live(),
            on_first_frame=self._threadsafe(self._delivers),
        )
        pipeline.start(self._attention.set)
        self._show_notice()
        try:
            with self._service.leased(live=True):
                yield pipeline
        finally:
            failures = await pipeline.stop()
            self._pipeline = None
            for failure in failures:
                self._log.error("internal error", exc_info=failure)
                self._enter(StreamState.FAILED, f"internal error: {failure}")

    async def _until_unwanted(self, pipeline: Pipeline) -> None:
        """Returns ``linger_s`` after the last one left, or when it cannot go on like this."""
        until_s: float | None = None
        while not (self._stopping or self._next_config or pipeline.ended):
            now = time.monotonic()
            if self._is_wanted():
                until_s = None
            elif until_s is None:
                until_s = now + self.config.linger_s
            elif until_s <= now:
                return
            await self._attended(None if until_s is None else until_s - now)

    # -- supervision of the source: event loop ------------------------------------------------

    async def _supervise(self, pipeline: Pipeline, ending: asyncio.Event) -> None:
        """The only broad ``except`` on the path of a frame: a fault of ours fails this stream only."""
        try:
            await self._model_ready(ending)
            await self._replay(pipeline, ending)
        except Exception as error:
            self._log.exception("internal error")
            self._enter(StreamState.FAILED, f"internal error: {error}")

    async def _model_ready(self, ending: asyncio.Event) -> None:
        """Frames captured before the network is there would only be skipped; but whoever woke a
        camera shall not wait for one after the other."""
        while not ending.is_set() and self._service.info is None:
            failure = self._service.status.message if self._service.status.state is ModelState.FAILED else None
            if failure is None and self.config.mode == "on_demand" and self._source_is_live():
                return
            if failure != self.reason:
                self._enter(StreamState.STARTING, failure)
            await _wait(ending, 0.05)

    async def _replay(self, pipeline: Pipeline, ending: asyncio.Event) -> None:
        """Opens the source again and again, until it ends for good."""
        delays, delay_s, pacer = self._backoff.start(), 0.0, Pacer(self.config.max_fps)
        while not ending.is_set():
            began = time.monotonic() + delay_s
            capture = self._capture(pipeline, pacer)
            try:
                await capture.play(f"capture-{self.name}", ending, delay_s, self._lost)
            except SourceError as error:
                if ending.is_set():
                    return
                if not self._may_return(error):
                    self._enter(StreamState.FAILED, error.reason)
                    return
                self._lost(error)
                self.metrics.restarted(error.code)
            else:
                if not ending.is_set():
                    self._enter(StreamState.ENDED)
                return
            if capture.came_back:  # its port opens before it can serve: do not wait as long as while it was away
                delays = self._backoff.start()
            delay_s = delays.after(max(0.0, time.monotonic() - began))
            self._clock.epoch += 1

    def _capture(self, pipeline: Pipeline, pacer: Pacer) -> Capture:
        """One life of the source."""
        source = self._open_source(self.config, threading.Event(), self._decode_threads)
        tell = self._threadsafe(self._source_delivers)
        return Capture(source, pipeline.frames, self._clock, self.metrics, pacer, tell)

    def _source_is_live(self) -> bool:
        return self._open_source(self.config, threading.Event(), 1).live

    def _may_return(self, error: SourceError) -> bool:
        """A file that is no video stays so; a camera may be back any moment."""
        return self._source_is_live() or not isinstance(error, SourceUnsupported)

    # -- states: event loop -------------------------------------------------------------------

    def _enter(self, state: StreamState, reason: str | None = None) -> None:
        """The one place where the state changes."""
        is_new = (state, reason) != (self.state, self.reason) or state is StreamState.STARTING
        if is_new:
            if reason:
                self._log.warning(f"{state}: %s", reason)
            else:
                self._log.info(state)
        self.state, self.reason = state, reason
        self.metrics.state(state)
        self._show_notice()
        self._entered.set()
        self._entered = asyncio.Event()
        if is_new:
            self.on_change()

    def _show_notice(self) -> None:
        if self._pipeline is not None:
            self._pipeline.publisher.show(self.notice)

    def _lost(self, error: SourceError) -> None:
        self._enter(
            StreamState.RECONNECTING, f"stalled: {error.reason}" if isinstance(error, SourceStalled) else error.reason
        )

    def _delivers(self) -> None:
        if self.state in (StreamState.STARTING, StreamState.RECONNECTING):
            self._enter(StreamState.RUNNING)

    def _source_delivers(self) -> None:
        if self.state is StreamState.RECONNECTING and self.newest is not None:
            self._enter(StreamState.RUNNING)

    # -- any thread ---------------------------------------------------------------------------

    def _request_keyframe(self, rendition: Rendition, reason: KeyframeReason) -> None:
        pipeline = self._pipeline
        if pipeline is not None:
            pipeline.publisher.request_keyframe(rendition, reason)

    def _threadsafe(self, call: Callable[[], None]) -> Callable[..., None]:
        """``call`` on the event loop; dropped when the loop has closed."""

        def later(*_: object) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(call)

        return later


async def _wait(event: asyncio.Event, timeout_s: float | None = None) -> None:
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        pass
