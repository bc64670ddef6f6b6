"""One configured stream, as all others see it: its state, its hubs, its recordings, its settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager, suppress

from streamd.concurrency.backoff import Backoff
from streamd.config.sections import RecordedView, RecordingConfig, StreamConfig
from streamd.depth.calibration import Calibration
from streamd.depth.service import DepthService
from streamd.errors import PictureError
from streamd.media.frames import Codec, NormalisedFrame, StampClock
from streamd.media.hub import PacketHub, Rendition
from streamd.render.notice import Notice
from streamd.render.views import half_size, published_size
from streamd.sources import open_source
from streamd.states import KeyframeReason, Origin, StreamState
from streamd.streams.calibrated import Calibrated, CalibrationStatus
from streamd.streams.events import ZoneEvent
from streamd.streams.hubs import Hubs
from streamd.streams.life import Life
from streamd.streams.pushes import Pushes
from streamd.streams.recorders import Recorders
from streamd.streams.recovery import SILENT_S, Abandoned
from streamd.streams.run import StreamParts
from streamd.streams.state import StateMachine
from streamd.streams.status import StreamStatus
from streamd.streams.supervisor import OpenSource, Sources
from streamd.streams.zones import Zones
from streamd.telemetry.metrics import StreamMetrics


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
        self.metrics = metrics
        self.on_change: Callable[[], None] = lambda: None
        """Called on the event loop when the state or its reason is another."""
        self.on_calibration: Callable[[], None] = lambda: None
        """Called on the event loop when its calibration is another."""
        self.calibrated: Calibrated | None = None
        """Its calibration, whether it holds for the newest frame or not."""
        self.uncalibrated: str | None = None
        """Why it has none any more."""
        self.on_zone: Callable[[ZoneEvent], None] = lambda event: None
        """Called on the event loop when something is near in a zone, or no more."""
        loop, attention = asyncio.get_running_loop(), asyncio.Event()
        self._states = StateMachine(name, metrics, self._changed)
        self._hubs = Hubs(loop, self._request_keyframe, attention.set)
        self._recorders = Recorders(name, recording, self._hubs.recorded, metrics)
        self._pushes = Pushes(name, self._hubs.find, metrics)
        self._loop = loop
        self._zones = Zones(name, config, metrics, self._zone_changed, lambda: self.calibration)
        parts = StreamParts(
            name,
            service,
            metrics,
            self._hubs,
            self._states,
            Sources(open_source, decode_threads),
            backoff or Backoff(),
            Abandoned(),
            attention,
            StampClock(),
            patience_s,
            self._zones,
        )
        self._life = Life(parts, config, self._recorders, self._pushes)

    @property
    def config(self) -> StreamConfig:
        """The settings in force."""
        return self._life.config

    @property
    def wanted(self) -> StreamConfig:
        """Those that ``reconfigure`` asked for last."""
        return self._life.wanted

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
        publisher = self._life.publisher
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
            publishes=publisher is not None and publisher.fps.is_recent,
            inferred_share=self.metrics.inferred_share if publisher else None,
            skipped=dict(self.metrics.skips),
            latency_p50_ms=p50_ms,
            latency_p95_ms=p95_ms,
            viewers=self._hubs.subscribers - self._recorders.subscriptions - self._pushes.subscriptions,
            recording_wanted=tuple(self._recorders.wanted),
            recording_active=tuple(self._recorders.active),
            recording_error=self._recorders.error,
            flicker=publisher.flicker if publisher else 0.0,
            stuck=self._life.is_hopeless,
            calibration=self.calibration_status,
            zones=self._zones.statuses,
            pushes=self._pushes.statuses,
        )

    def hub(self, view: str, codec: Codec = "h264", *, light: bool = False) -> PacketHub:
        """Raises UsageError for a view that does not exist."""
        return self._hubs.find(view, codec, light=light)

    def live_hub(
        self, view: str, codec: Codec = "h264", *, light: bool = False, height: int | None = None
    ) -> PacketHub:
        """For a viewer who enlarges what comes: that of half the size, of views that it holds all of, unless it is less
        high than ``height``. Raises UsageError for a view that does not exist."""
        return self._hubs.find(view, codec, light=light, half=height is None or self._half_reaches(height))

    def _half_reaches(self, height: int) -> bool:
        size = self._life.publisher.size if self._life.publisher else None
        return size is not None and height <= half_size(*published_size(*size, self.config.height))[1]

    @property
    def newest(self) -> NormalisedFrame | None:
        """What stills and Motion JPEG are made from. None while there is no frame. Any thread."""
        publisher = self._life.publisher
        return publisher.newest if publisher is not None else None

    @property
    def calibration(self) -> Calibration | None:
        """That of the newest frame; None: its depth has no metres. Any thread."""
        calibrated, newest = self.calibrated, self.newest
        return calibrated.of(newest.frame) if calibrated is not None and newest is not None else None

    @property
    def calibration_status(self) -> CalibrationStatus:
        calibrated, newest = self.calibrated, self.newest
        if calibrated is None:
            return CalibrationStatus(reason=self.uncalibrated)
        return calibrated.status(newest.frame if newest else None)

    def calibrate(self, calibrated: Calibrated | None, reason: str | None = None) -> None:
        """From now on. ``reason``: why there is none any more."""
        self.calibrated, self.uncalibrated = calibrated, reason
        self.on_calibration()

    async def frame(self) -> NormalisedFrame:
        """The newest, once a stream on demand is awake: for whoever does ``keep_awake``.
        Raises PictureError when there is none."""
        while self.config.mode == "on_demand" and self.state in (StreamState.IDLE, StreamState.STARTING):
            await self._states.entered.wait()
        newest = self.newest
        if newest is None:
            raise PictureError("the stream has stopped" if self._life.stopping else "no frame yet")
        return newest

    def keep_awake(self) -> AbstractContextManager[None]:
        """Keeps it running: for those who do not subscribe to a hub."""
        return self._life.keep_awake()

    def start_recording(self, views: Iterable[RecordedView] = ()) -> None:
        """Views that are recorded already go on; none named: those of its settings. Does nothing
        without a directory to record to, nor when it is about to stop."""
        if not self._life.stopping:
            self._recorders.start(views or self.config.record or ("depth",))

    def hold(self, views: Collection[RecordedView]) -> None:
        """These are not recorded, nor pushed, for now: memory is short. Without them, what was goes on."""
        self._recorders.hold(views)
        self._pushes.hold(views)

    async def stop_recording(self, views: Collection[RecordedView] = ()) -> None:
        """Returns when the files are complete; none named: of all views. Views that the settings name are
        recorded again when ``record`` changes."""
        await self._recorders.stop(views)

    def reconfigure(self, config: StreamConfig) -> None:
        """Goes on with these settings, soon. Viewers stay; a recording goes on in a new segment."""
        self._life.reconfigure(config)

    async def settings_in_force(self) -> None:
        """Returns when those that are wanted are in force, or never will be, for it stops."""
        await self._life.settings_in_force()

    async def run(self) -> None:
        """Until ``stop``."""
        await self._life.run()

    def stop(self) -> None:
        """``run`` returns soon. Safe to repeat."""
        self._life.stop()

    def _changed(self) -> None:
        self._zones.run(self.state is StreamState.RUNNING)
        self._life.show_notice()
        self.on_change()

    def _zone_changed(self, event: ZoneEvent) -> None:
        """From any thread."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(lambda: self.on_zone(event))

    def _request_keyframe(self, rendition: Rendition, reason: KeyframeReason) -> None:
        """From any thread."""
        publisher = self._life.publisher
        if publisher is not None:
            publisher.request_keyframe(rendition, reason)
