"""One configured stream: runs it while somebody wants it, with the settings wanted; starts it anew when it breaks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from streamd.concurrency.backoff import Backoff
from streamd.concurrency.deadline import Deadline
from streamd.concurrency.waiting import Pulse
from streamd.config.sections import RecordingConfig, StreamConfig, View
from streamd.depth.service import DepthService
from streamd.errors import PictureError, StreamStuck
from streamd.media.frames import Codec, NormalisedFrame, StampClock
from streamd.media.hub import PacketHub, Rendition
from streamd.render.notice import Notice
from streamd.sources import open_source
from streamd.states import KeyframeReason, LossReason, Origin, StreamState
from streamd.streams.hubs import Hubs
from streamd.streams.recorders import STOP_S, Recorders
from streamd.streams.recovery import SILENT_S, Abandoned, Faults
from streamd.streams.run import CHECK_EVERY_S, Run, RunEvents, StreamParts
from streamd.streams.state import StateMachine
from streamd.streams.status import StreamStatus
from streamd.streams.supervisor import OpenSource, Sources
from streamd.telemetry.logs import StreamLog
from streamd.telemetry.metrics import StreamMetrics

log = logging.getLogger(__name__)

END_S = 2.5
"""From ``stop`` until its recordings are complete, or left to a disk that is too slow."""
LATE_S = 0.25
"""Recordings have so long at least."""
HANGING = "its threads hang: it is tried again when one of them ends, or with other settings"


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
        decode_threads: Callable[[], int] = lambda: 1,
        backoff: Backoff | None = None,
        open_source: OpenSource = open_source,
        patience_s: float = SILENT_S,
    ) -> None:
        """``patience_s``: how long it may publish nothing while its source delivers."""
        self.name = name
        self.origin = Origin.FILE
        self.config = config
        """The settings in force."""
        self.wanted = config
        """Those that ``reconfigure`` asked for last."""
        self.metrics = metrics
        self.on_change: Callable[[], None] = lambda: None
        """Called on the event loop when the state or its reason is another."""
        self._log = StreamLog(log, name)
        self._loop = asyncio.get_running_loop()
        self._clock = StampClock()
        self._states = StateMachine(name, metrics, self._changed)
        self._attention = asyncio.Event()
        self._settings_taken = Pulse()
        self._stopping = False
        self._deadline = Deadline(END_S)
        self._lookers = 0
        self._run: Run | None = None
        self._faults = Faults(backoff or Backoff())
        self._abandoned = Abandoned()
        self._healthy_s = 0.0
        """How long the last run published."""
        self._hubs = Hubs(self._loop, self._request_keyframe, self._attention.set)
        self._recorders = Recorders(name, recording, self._hubs.full, metrics)
        self._parts = StreamParts(
            name,
            service,
            metrics,
            self._hubs,
            self._states,
            Sources(open_source, decode_threads),
            backoff or Backoff(),
            self._abandoned,
            self._attention,
            self._clock,
            patience_s,
        )
        self._events = RunEvents(self._is_over, self._is_wanted, self._on_first_frame, self._threads_ended)

    # -- what others ask of it ----------------------------------------------------------------

    @property
    def state(self) -> StreamState:
        return self._states.current

    @property
    def reason(self) -> str | None:
        """Why it is in this state."""
        return self._states.reason

    @property
    def notice(self) -> Notice | None:
        """What viewers see instead of a picture, in a state that has none."""
        return self._states.notice

    @property
    def status(self) -> StreamStatus:
        publisher = self._run.publisher if self._run else None
        p50_ms, p95_ms = (publisher.latencies.percentile_ms(share) if publisher else None for share in (0.5, 0.95))
        return StreamStatus(
            name=self.name,
            origin=self.origin,
            state=self.state,
            reason=self.reason,
            settings=self.config,
            wanted=self.wanted,
            size=publisher.size if publisher else None,
            fps_in=self.metrics.capture_rate.per_second() if publisher else 0.0,
            fps_out=publisher.fps.per_second() if publisher else 0.0,
            skipped=dict(self.metrics.skips),
            latency_p50_ms=p50_ms,
            latency_p95_ms=p95_ms,
            viewers=self._hubs.subscribers - self._recorders.seats,
            recording_wanted=tuple(self._recorders.wanted),
            recording_active=tuple(self._recorders.active),
            recording_error=self._recorders.error,
            flicker=publisher.flicker if publisher else 0.0,
            stuck=self._faults.hopeless,
        )

    def hub(self, view: str, codec: Codec = "h264", *, light: bool = False) -> PacketHub:
        """Raises UsageError for a view that does not exist."""
        return self._hubs.find(view, codec, light=light)

    @property
    def newest(self) -> NormalisedFrame | None:
        """What stills and Motion JPEG are made from. None while there is no frame. Any thread."""
        run = self._run
        return run.publisher.newest if run is not None else None

    async def frame(self) -> NormalisedFrame:
        """The newest, once a stream on demand is awake: for those who are ``looking``.
        Raises PictureError when there is none."""
        while self.config.mode == "on_demand" and self.state in (StreamState.IDLE, StreamState.STARTING):
            await self._states.entered.wait()
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

    def hold_recordings(self, views: Collection[View]) -> None:
        """These are not recorded for now: memory is short. Without them, what was recorded goes on."""
        self._recorders.hold(views)

    async def stop_recording(self, views: Collection[View] = ()) -> None:
        """Returns when the files are complete; none named: of all views. Views that the settings name are
        recorded again when ``record`` changes."""
        await self._recorders.stop(views)

    def reconfigure(self, config: StreamConfig) -> None:
        """Goes on with these settings, soon. Viewers stay; a recording goes on in a new segment."""
        self.wanted = config
        self._attention.set()

    async def settings_in_force(self) -> None:
        """Returns when those that are wanted are in force, or never will be, for it stops."""
        while self.config != self.wanted and not self._stopping:
            await self._settings_taken.wait()

    def stop(self) -> None:
        """``run`` returns soon. Safe to repeat."""
        self._stopping = True
        self._deadline.start()
        self._attention.set()
        self._settings_taken.fire()

    # -- its life -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Until ``stop``. Ends in data order: source, mailboxes, encoder, recorders, viewers."""
        self._recorders.start(self.config.record)
        try:
            while not self._stopping:
                await self._step()
        finally:
            try:
                await self._end_recordings()
            finally:
                if self.state not in (StreamState.ENDED, StreamState.FAILED):
                    self._states.enter(StreamState.STOPPING)
                self._hubs.close()

    async def _threads_ended(self) -> None:
        if self._stopping:
            await self._end_recordings()

    def _is_over(self) -> bool:
        return self._stopping or self.config != self.wanted

    async def _end_recordings(self) -> None:
        await self._recorders.stop(within_s=self._deadline.left_s(STOP_S, min_s=LATE_S))

    async def _step(self) -> None:
        """The only broad ``except`` on the path of a frame: a fault of ours fails this stream only, for a while."""
        try:
            if self.config != self.wanted:
                await self._take_settings()
            elif self._is_wanted():
                await self._play()
            else:
                self._states.enter(StreamState.IDLE)
                await self._parts.until_attention()
        except Exception as error:
            await self._fail(error)

    def _is_wanted(self) -> bool:
        return self.config.mode == "always" or self._lookers > 0 or self._is_watched()

    def _is_watched(self) -> bool:
        """Or recorded, also while the disk does not let it be."""
        return self._hubs.watched or bool(self._recorders.wanted)

    async def _take_settings(self) -> None:
        before, self.config = self.config, self.wanted
        self._clock.epoch += 1
        self._settings_taken.fire()
        if self.config.record != before.record:
            await self._recorders.change(self.config.record)

    async def _fail(self, error: Exception) -> None:
        """Waits a while, then it is started anew. Other settings are tried at once."""
        if isinstance(error, StreamStuck):
            self._log.error("%s: starting it anew", error)
            reason, cause = str(error), LossReason.STUCK
        else:
            self._log.error("internal error", exc_info=error)
            reason, cause = f"internal error: {error}", LossReason.ERROR
        if self._abandoned.too_many:
            reason += f"; {HANGING}"
        self._states.enter(StreamState.FAILED, reason)
        self.metrics.restarted(cause)
        wanted, until = self.wanted, time.monotonic() + self._faults.add(error, self._healthy_s)
        await asyncio.sleep(0)
        async with self._notice_shown():
            while not self._stopping and self.wanted == wanted:
                left_s = until - time.monotonic()
                if left_s <= 0 and not self._abandoned.too_many:
                    break
                await self._parts.until_attention(left_s if left_s > 0 else CHECK_EVERY_S)

    @asynccontextmanager
    async def _notice_shown(self) -> AsyncIterator[None]:
        """What viewers see while nothing runs."""
        with suppress(Exception):  # what is broken may break this too
            self._begin(Run(self._parts, self.config, self._events))
        try:
            yield
        finally:
            run, self._run = self._run, None
            if run is not None:
                await run.stop()

    async def _play(self) -> None:
        """One run. Raises what broke it."""
        self._healthy_s = 0.0
        self._states.enter(StreamState.STARTING)
        sources, config = self._parts.sources, self.config
        run = self._begin(
            Run(self._parts, config, self._events, every=not config.realtime and not sources.is_live(config))
        )
        try:
            await run.play()
        finally:
            self._run = None
            self._healthy_s = run.healthy_s

    def _begin(self, run: Run) -> Run:
        run.start()
        self._run = run
        self._show_notice()
        return run

    # -- what its parts report ----------------------------------------------------------------

    def _changed(self) -> None:
        self._show_notice()
        self.on_change()

    def _show_notice(self) -> None:
        if self._run is not None:
            self._run.publisher.show(self.notice)

    def _on_first_frame(self) -> None:
        """From the publish thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._publishes)

    def _publishes(self) -> None:
        self._faults.published()
        if self.state in (StreamState.STARTING, StreamState.RECONNECTING):
            self._states.enter(StreamState.RUNNING)

    def _request_keyframe(self, rendition: Rendition, reason: KeyframeReason) -> None:
        """From any thread."""
        run = self._run
        if run is not None:
            run.publisher.request_keyframe(rendition, reason)
