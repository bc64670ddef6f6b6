"""The zones of a stream: what is seen of each, and the events that come of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from streamd.config.sections import StreamConfig
from streamd.config.zones import ZoneConfig
from streamd.depth.calibration import Calibration
from streamd.depth.range import DepthRange, is_cut
from streamd.media.frames import DepthFrame
from streamd.streams.events import Measured, ZoneEnd, ZoneEvent
from streamd.streams.scale import Scale
from streamd.streams.zone import Area, Sight, ZoneState, ZoneWatch
from streamd.telemetry.logs import StreamLog
from streamd.telemetry.metrics import StreamMetrics

log = logging.getLogger(__name__)

NOT_CALIBRATED = "is given in metres, and the stream is not calibrated"
OUTSIDE = "lies outside of the picture"
BROKEN = "internal error: see the log"


@dataclass(frozen=True, slots=True)
class ZoneStatus:
    """Of one zone, now."""

    config: ZoneConfig
    state: ZoneState
    measured: Measured | None
    """None while there are no pictures, or it does not work."""
    problem: str | None
    """Why it does not work."""


class Zones:
    """Of one stream, as long as it lives. ``look`` is the publish thread's; all else belongs to the event loop.

    A fault of ours ends a zone, until the next settings, and never the stream.
    """

    def __init__(
        self,
        stream: str,
        config: StreamConfig,
        metrics: StreamMetrics,
        emit: Callable[[ZoneEvent], None],
        calibration: Callable[[], Calibration | None] = lambda: None,
    ) -> None:
        """``emit`` is called in any thread, and must not block."""
        self._stream = stream
        self._log = StreamLog(log, stream)
        self._metrics = metrics
        self._emit = emit
        self._calibration = calibration
        self._lock = threading.Lock()
        self._running = False
        self._config = config
        self._begin(config)

    def _begin(self, config: StreamConfig) -> None:
        self._config = config
        self._watches: dict[str, ZoneWatch] = {}
        self._problems: dict[str, str] = {}
        self._before: DepthFrame | None = None
        self._smooth = DepthRange() if config.range == "frame" else None
        """One frame's range says nothing of the next."""
        self._metrics.zones(zone.name for zone in config.zones)

    @property
    def statuses(self) -> tuple[ZoneStatus, ...]:
        """In the order of the settings."""
        watches, problems = self._watches, self._problems
        return tuple(_status(zone, watches.get(zone.name), problems.get(zone.name)) for zone in self._config.zones)

    def configure(self, config: StreamConfig) -> None:
        """Goes on with these settings."""
        with self._lock:
            self._reset(ZoneEnd.SETTINGS)
            self._begin(config)

    def run(self, running: bool) -> None:
        """Whether the stream has pictures. Without them nothing is near."""
        with self._lock:
            if self._running and not running:
                self._reset(ZoneEnd.AWAY)
            self._running = running

    def look(self, frame: DepthFrame, bounds: tuple[float, float]) -> None:
        """After its frame has been published. ``bounds`` are those of the range shown. Never raises."""
        if not self._config.zones:
            return
        with self._lock:
            if not self._running:
                return
            try:
                self._look(frame, bounds)
            except Exception:
                self._log.exception("zones: internal error")
                self._reset(ZoneEnd.FAULT)
                self._problems = {zone.name: BROKEN for zone in self._config.zones}

    def _look(self, frame: DepthFrame, bounds: tuple[float, float]) -> None:
        depth, stamp = frame.inverse_depth, frame.stamp
        if not abs(float(depth.sum())) < float("inf"):  # one bad frame says nothing
            return
        if self._smooth is not None:
            self._smooth.normalise(depth, stamp.captured_at, frame.provenance.model)
            bounds = self._smooth.bounds
        before, self._before = self._before, frame
        if before is not None and (end := _new_sight(before, frame)) is not None:
            self._reset(end)
        sight, scale = Sight.of(depth), Scale(*bounds, self._calibration())
        for zone in self._config.zones:
            if self._problems.get(zone.name) != BROKEN:
                self._look_at(zone, frame, sight, scale)

    def _look_at(self, zone: ZoneConfig, frame: DepthFrame, sight: Sight, scale: Scale) -> None:
        watch = self._watches.get(zone.name) or self._watch(zone, frame)
        if watch is None:
            self._problems[zone.name] = OUTSIDE
            return
        thresholds = scale.thresholds(zone)
        if thresholds is None:
            self._problems[zone.name] = NOT_CALIBRATED
            self._end(self._watches.pop(zone.name, None), ZoneEnd.SETTINGS)
            return
        self._problems.pop(zone.name, None)
        self._watches[zone.name] = watch
        if watch.look(sight, thresholds, scale, frame.stamp.captured_at):
            gone = ZoneEnd.GONE if watch.state is ZoneState.CLEAR else None
            self._tell(zone, watch.state, gone, watch.measured)

    @staticmethod
    def _watch(zone: ZoneConfig, frame: DepthFrame) -> ZoneWatch | None:
        """None where there is nothing of it in the picture."""
        height, width = frame.inverse_depth.shape
        area = Area(zone.polygon, (frame.picture.width, frame.picture.height), (width, height))
        return ZoneWatch(zone, area) if area.pixels else None

    def _reset(self, reason: ZoneEnd) -> None:
        watches, self._watches, self._problems = self._watches, {}, {}
        for watch in watches.values():
            self._end(watch, reason)
        if reason is not ZoneEnd.SCENE and reason is not ZoneEnd.MODEL:
            self._before = None

    def _end(self, watch: ZoneWatch | None, reason: ZoneEnd) -> None:
        if watch is not None and watch.state is ZoneState.NEAR:
            self._tell(watch.config, ZoneState.CLEAR, reason, None)

    def _tell(self, zone: ZoneConfig, state: ZoneState, reason: ZoneEnd | None, measured: Measured | None) -> None:
        self._metrics.zone_event(zone.name, state)
        self._emit(ZoneEvent(self._stream, zone.name, state, reason, measured))


def _status(zone: ZoneConfig, watch: ZoneWatch | None, problem: str | None) -> ZoneStatus:
    if watch is None:
        return ZoneStatus(zone, ZoneState.CLEAR, None, problem)
    return ZoneStatus(zone, watch.state, watch.measured, problem)


def _new_sight(before: DepthFrame, frame: DepthFrame) -> ZoneEnd | None:
    """Why what was seen before says nothing of this frame."""
    networks = [(each.provenance.model, each.provenance.sha256, each.inverse_depth.shape) for each in (before, frame)]
    if networks[0] != networks[1]:
        return ZoneEnd.MODEL
    sizes = [(each.picture.width, each.picture.height) for each in (before, frame)]
    # Depth alone changes much when something comes near at once; a cut changes all of the picture too.
    is_other = is_cut(before.inverse_depth, frame.inverse_depth) and is_cut(before.luma, frame.luma)
    return ZoneEnd.SCENE if sizes[0] != sizes[1] or is_other else None
