"""The publish thread of a stream: range, render, encode once per watched view, hand to the hubs."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

import cv2

from streamd.concurrency.mailbox import Closed, Mailbox
from streamd.config.sections import PictureFormat, StreamConfig, View
from streamd.depth.range import DepthRange, FlickerMeter
from streamd.errors import Busy, EncodeError, PictureError
from streamd.media.encode import LIGHT_SHARE, LiveEncoder
from streamd.media.frames import ByteImage, DepthFrame, FloatImage, Picture, Stamp, StampClock, i420_of
from streamd.media.hub import PacketHub, Rendition
from streamd.render.notice import Notice, draw_notice
from streamd.render.pictures import Still, encode_still
from streamd.render.views import WIDE_VIEWS, Renderer, light_size, published_size
from streamd.states import KeyframeReason
from streamd.telemetry.logs import StreamLog
from streamd.telemetry.metrics import StreamMetrics
from streamd.telemetry.statistics import Latencies, Rate

T = TypeVar("T")

log = logging.getLogger(__name__)

STALE_S = 0.1
"""With no new frame for this long, a viewer who joins gets the last picture again."""
NOTICE_EVERY_S = 1.0
NOTICE_SIZE = (640, 360)
"""Before the first picture has told a better one."""
MAX_SNAPSHOTS = 8


class Publisher:
    """Owned by one Stream; ``run`` is the thread's body.

    Touched by other threads: ``request_keyframe``, ``snapshot``, ``shown``, ``show``, ``fps``, ``latencies``, ``size``.
    """

    def __init__(
        self,
        name: str,
        config: StreamConfig,
        inbox: Mailbox[DepthFrame],
        metrics: StreamMetrics,
        clock: StampClock,
        on_first_frame: Callable[[], None],
    ) -> None:
        self._log = StreamLog(log, name)
        self._config = config
        self._inbox = inbox
        self._metrics = metrics
        self._clock = clock
        self._on_first_frame = on_first_frame
        self._range = DepthRange(config.range, config.compress)
        self._flicker = FlickerMeter()
        self._renderer = Renderer(config.overlay_alpha)
        self._encoders: dict[Rendition, LiveEncoder] = {}
        self._refused: dict[Rendition, tuple[int, int]] = {}
        """Sizes that the encoder would not take: said once, not at every frame."""
        self._wanted: set[Rendition] = set()
        self._requests: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._newest: tuple[DepthFrame, FloatImage] | None = None
        self._notice: Notice | None = None
        self._shown_s = 0.0
        """When a frame or a notice was last published."""
        self.hubs: Mapping[Rendition, PacketHub] = {}
        self.fps = Rate()
        self.latencies = Latencies()
        self.size: tuple[int, int] | None = None

    @property
    def flicker(self) -> float:
        return self._flicker.ratio

    def request_keyframe(self, rendition: Rendition, reason: KeyframeReason) -> None:
        """Any thread."""
        self._metrics.keyframe_requested(reason)
        self._wanted.add(rendition)
        self._inbox.wake()

    def show(self, notice: Notice | None) -> None:
        """Published again and again while no frame comes. Any thread."""
        self._notice = notice
        self._inbox.wake()

    @property
    def has_picture(self) -> bool:
        return self._newest is not None

    def snapshot(self, view: View, format: PictureFormat) -> Future[bytes]:
        """The newest frame as a still. Any thread. Raises Busy; the future may fail with PictureError."""
        return self._ask(lambda: self._still(view, format))

    def shown(self, view: View, known: Stamp | None = None) -> Future[tuple[Stamp, ByteImage] | None]:
        """What viewers see of the newest frame, as (h * 3/2, w) I420 for who encodes it elsewhere: much
        cheaper here than a still. None when it is the one of ``known``. Otherwise as ``snapshot``."""
        return self._ask(lambda: self._shown(view, known))

    def _ask(self, make: Callable[[], T]) -> Future[T]:
        if len(self._requests) >= MAX_SNAPSHOTS:
            raise Busy
        future: Future[T] = Future()
        self._requests.append((make, future))
        self._inbox.wake()
        if self._inbox.closed:
            self._refuse_snapshots()
        return future

    def run(self) -> None:
        try:
            while True:
                frame = self._inbox.get(timeout_s=self._patience_s())
                if frame is not None:
                    self._take(frame)
                self._answer_snapshots()
                notice = self._notice
                if frame is not None:
                    self._publish_frame(frame)
                elif notice is not None:
                    self._publish_notice(notice)
                elif self._is_stale():
                    self._publish_again()
        except Closed:
            pass
        finally:
            self._inbox.close(discard=True)
            self._refuse_snapshots()

    def _patience_s(self) -> float | None:
        """How long to wait for a frame. Someone may have asked for a keyframe too soon after the last one."""
        if self._wanted:
            return STALE_S
        if self._notice is not None:
            return max(0.01, self._shown_s + NOTICE_EVERY_S - time.monotonic())
        return None

    def _take(self, frame: DepthFrame) -> None:
        started = time.monotonic()
        share = self._range.normalise(frame.inverse_depth, frame.stamp.captured_at, frame.provenance.model)
        self._metrics.flicker.set(self._flicker.update(share, frame.luma))
        self._renderer.begin(share, frame.picture, self._config.height)
        self.size = (frame.picture.width, frame.picture.height)
        self._begin_s = time.monotonic() - started
        before, self._newest = self._newest, (frame, share)
        if before is None:
            self._on_first_frame()
        elif before[0].stamp.epoch != frame.stamp.epoch:
            self._wanted.update(self._encoders)  # a recording of the new epoch begins at once

    def _is_stale(self) -> bool:
        return self._newest is not None and self._newest[0].stamp.age_s() > STALE_S

    def _watched(self) -> Iterator[Rendition]:
        """A rendition that nobody watches costs nothing, not even its encoder."""
        for rendition, hub in self.hubs.items():
            if hub.watched:
                yield rendition
            else:
                self._encoders.pop(rendition, None)
                self._wanted.discard(rendition)

    def _publish_frame(self, frame: DepthFrame) -> None:
        """Draw and encode every rendition that somebody watches."""
        for rendition in self._watched():
            started = time.monotonic()
            picture = self._renderer.draw(rendition.view, light=rendition.light)
            drawn = time.monotonic()
            if self._encode(rendition, picture, frame.stamp):
                self._metrics.stages["render"].observe(drawn - started + self._begin_s)
                self._metrics.stages["encode"].observe(time.monotonic() - drawn)
                self._metrics.published(rendition.view)
        age_s = frame.stamp.age_s()
        self._metrics.capture_to_publish.observe(age_s)
        self.latencies.add(age_s)
        self.fps.tick()
        self._shown_s = time.monotonic()

    def _publish_again(self) -> None:
        """The newest frame, as a keyframe, where one is wanted and due."""
        assert self._newest is not None
        stamp = self._newest[0].stamp.later()
        for rendition in self._watched():
            if rendition in self._wanted:
                picture = self._renderer.draw(rendition.view, light=rendition.light)
                if self._encode(rendition, picture, stamp, only_keyframe=True):
                    self._metrics.published(rendition.view)

    def _publish_notice(self, notice: Notice) -> None:
        due = time.monotonic() - self._shown_s >= NOTICE_EVERY_S
        if due:
            self._shown_s = time.monotonic()
        width, height = published_size(*self.size, self._config.height) if self.size else NOTICE_SIZE
        for rendition in self._watched():
            if due or rendition in self._wanted:
                size = (2 * width if rendition.view in WIDE_VIEWS else width, height)
                picture = draw_notice(notice, *(light_size(*size) if rendition.light else size))
                self._encode(rendition, picture, self._clock.now(), only_keyframe=not due, is_notice=True)

    def _encode(
        self,
        rendition: Rendition,
        picture: Picture,
        stamp: Stamp,
        *,
        only_keyframe: bool = False,
        is_notice: bool = False,
    ) -> bool:
        """Whether it went to the hub."""
        size = (picture.width, picture.height)
        if self._refused.get(rendition) == size:
            return False
        try:
            encoder = self._encoder(rendition, *size)
            if rendition in self._wanted:
                encoder.request_keyframe()
            if encoder.keyframe_due:
                self._wanted.discard(rendition)
            elif only_keyframe:
                return False
            packets = encoder.encode(picture, stamp, is_notice=is_notice)
        except EncodeError as error:
            self._log.error("view %s: %s", rendition.view, error)
            if self._encoders.pop(rendition, None) is None:
                self._refused[rendition] = size
            return False
        self.hubs[rendition].publish_threadsafe(packets)
        return True

    def _encoder(self, rendition: Rendition, width: int, height: int) -> LiveEncoder:
        encoder = self._encoders.get(rendition)
        if encoder is None or encoder.size != (width, height):
            kbps = self._config.bitrate_kbps
            encoder = self._encoders[rendition] = LiveEncoder(
                width,
                height,
                codec=rendition.codec,
                kbps=round(kbps * LIGHT_SHARE) if kbps and rendition.light else kbps,
                fps=self.fps.per_second() or 30.0,
                after_pts=encoder.last_pts if encoder else -1,
            )
        return encoder

    def _answer_snapshots(self) -> None:
        while self._requests:
            make, future = self._requests.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(make())
            except PictureError as error:
                future.set_exception(error)
            except Exception as error:  # a still that cannot be made must not end the video
                self._log.exception("snapshot")
                future.set_exception(PictureError(f"cannot be made: {error}"))

    def _refuse_snapshots(self) -> None:
        with suppress(IndexError):  # the publish thread may do the same at this moment
            while True:
                future = self._requests.popleft()[1]
                if future.set_running_or_notify_cancel():
                    future.set_exception(PictureError("the stream has stopped"))

    def _shown(self, view: View, known: Stamp | None) -> tuple[Stamp, ByteImage] | None:
        if self._newest is None:
            raise PictureError("no frame yet")
        stamp = self._newest[0].stamp
        return None if stamp == known else (stamp, i420_of(self._renderer.draw(view)))

    def _still(self, view: View, format: PictureFormat) -> bytes:
        if self._newest is None:
            raise PictureError("no frame yet")
        frame, share = self._newest
        rgb = self._renderer.rgb()
        size = (rgb.shape[1], rgb.shape[0])
        share = cv2.resize(share, size, interpolation=cv2.INTER_LINEAR)
        depth = cv2.resize(frame.inverse_depth, size, interpolation=cv2.INTER_CUBIC)
        fov = self._config.horizontal_fov_degrees
        return encode_still(Still(rgb, depth, share, frame.network_output, frame.provenance, fov), view, format)
