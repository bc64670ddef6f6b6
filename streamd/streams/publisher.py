"""The publish thread of a stream: range, render, encode once per watched view, hand to the hubs.

Pictures for a single client are not made here: stills and Motion JPEG are drawn in threads of their own, from
``Publisher.newest``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from streamd.concurrency.mailbox import Closed, Mailbox
from streamd.config.sections import StreamConfig
from streamd.depth.range import DepthRange, FlickerMeter
from streamd.depth.steady import SteadyDepth
from streamd.media.frames import DepthFrame, FloatImage, NormalisedFrame, Picture, StampClock
from streamd.media.hub import DEPTH_VIEWS, PacketHub, Rendition
from streamd.render.notice import Notice
from streamd.render.views import Renderer, half_will_do, published_size
from streamd.states import Change, KeyframeReason
from streamd.streams.depth16 import Depth16Output
from streamd.streams.notices import Notices
from streamd.streams.renditions import RenditionOutput
from streamd.streams.zones import Zones
from streamd.telemetry.metrics import StreamMetrics
from streamd.telemetry.statistics import Latencies, Rate

STALE_S = 0.1
"""With no new frame for this long, a viewer who joins gets the last picture again."""
MIN_WAIT_S = 0.01


class Publisher:
    """Owned by one Stream; ``run`` is the thread's body.

    Any thread may call ``request_keyframe``, ``abandon`` and ``show``, and read the attributes without underscore.
    """

    def __init__(
        self,
        name: str,
        config: StreamConfig,
        inbox: Mailbox[DepthFrame],
        hubs: Mapping[Rendition, PacketHub],
        depth16: PacketHub,
        metrics: StreamMetrics,
        clock: StampClock,
        on_first_frame: Callable[[], None],
        zones: Zones | None = None,
    ) -> None:
        self.fps = Rate()
        self.latencies = Latencies()
        self.newest: NormalisedFrame | None = None
        self._max_height = config.height
        self._inbox = inbox
        self._metrics = metrics
        self._clock = clock
        self._on_first_frame = on_first_frame
        self._zones = zones
        self._range = DepthRange(config.range, config.compress)
        self._steady = SteadyDepth(config.smoothing)
        self._flicker = FlickerMeter()
        self._shown: FloatImage = np.zeros((1, 1), np.float32)
        """The depth of the newest frame, steadied."""
        self._renderer = Renderer(config.overlay_alpha, edges=config.edges)
        self._notices = Notices(config.height)
        self._outputs = {
            rendition: RenditionOutput(name, rendition, hub, config.bitrate_kbps, self.fps)
            for rendition, hub in hubs.items()
        }
        self._follow(halve=False)
        self._depth16 = Depth16Output(depth16)

    @property
    def flicker(self) -> float:
        return self._flicker.ratio

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height) of the source's newest picture, px."""
        newest = self.newest
        return (newest.frame.picture.width, newest.frame.picture.height) if newest else None

    def request_keyframe(self, rendition: Rendition, reason: KeyframeReason) -> None:
        self._metrics.keyframe_requested(reason)
        self._outputs[rendition].request_keyframe()
        self._inbox.wake()

    def abandon(self) -> None:
        """Publishes nothing any more, though its thread may hang."""
        self._zones = None
        self._depth16.abandoned = True
        for output in self._outputs.values():
            output.abandoned = True

    def show(self, notice: Notice | None) -> None:
        """Sets the notice that is repeated while no frame comes."""
        self._notices.current = notice
        self._inbox.wake()

    def run(self) -> None:
        try:
            while True:
                frame = self._inbox.get(timeout_s=self._wait_s())
                notice = self._notices.current
                if frame is not None:
                    self._publish_frame(frame)
                    if (zones := self._zones) is not None:
                        zones.look(frame, self._range.bounds)
                elif notice is not None:
                    self._publish_notice(notice)
                elif self.newest is not None and _is_still(self.newest.frame):
                    self._publish_again(self.newest)
        except Closed:
            pass
        finally:
            self._inbox.close(discard=True)

    def _wait_s(self) -> float | None:
        """How long to wait for a frame. A keyframe may have been requested too soon after the last one."""
        has_picture = self.newest is not None or self._notices.current is not None
        keyframe_in_s = min(output.keyframe_in_s for output in self._outputs.values())
        if has_picture and keyframe_in_s < math.inf:
            return min(STALE_S, keyframe_in_s) or STALE_S
        return max(MIN_WAIT_S, self._notices.due_in_s) if self._notices.current is not None else None

    def _publish_frame(self, frame: DepthFrame) -> None:
        """Draws and encodes every watched rendition; of a picture in which nothing has changed, where one is due."""
        began = time.monotonic()
        size = published_size(frame.picture.width, frame.picture.height, self._max_height)
        self._follow(halve=half_will_do(size, frame.inverse_depth))
        outputs, newest = list(self._watched()), self.newest
        is_new = newest is None or frame.inverse_depth is not newest.frame.inverse_depth
        if self._depth16.publish(frame, is_new=is_new):
            self._metrics.published("depth16")
        if newest is not None and not is_new:
            outputs = [output for output in outputs if output.repeat_due or _shows(output, frame, newest)]
            if not outputs:
                self._metrics.flicker.set(self._flicker.hold())
                self._pass_on(frame, newest.normalised)
                return
        self._take(frame, is_new=is_new)
        is_settled = self._range.is_settled and (frame.change is Change.DUE or not is_new)
        begin_s = time.monotonic() - began
        for output in outputs:
            started = time.monotonic()
            picture = self._draw(output.rendition)
            drawn = time.monotonic()
            if output.publish(picture, frame.stamp, is_repeat=is_settled and not _shows(output, frame, newest)):
                self._metrics.stages["render"].observe(drawn - started + begin_s)
                self._metrics.stages["encode"].observe(time.monotonic() - drawn)
                self._metrics.published(output.rendition.view)
        if is_new and not frame.change.reuses_depth:  # else it would look quicker than it is
            age_s = frame.stamp.age_s()
            self._metrics.capture_to_publish.observe(age_s)
            self.latencies.add(age_s)

    def _take(self, frame: DepthFrame, *, is_new: bool) -> None:
        model = frame.provenance.model
        if is_new:
            refreshed = frame.change is Change.DUE
            self._shown = self._steady.blend(frame.inverse_depth, frame.luma, model, refreshed=refreshed)
        normalised = self._range.normalise(self._shown, frame.stamp.captured_at, model)
        self._metrics.flicker.set(self._flicker.update(normalised, frame.luma))
        self._renderer.begin(normalised, frame.picture, self._max_height)
        before = self.newest
        self._pass_on(frame, normalised)
        if before is None:
            self._on_first_frame()
        elif before.frame.stamp.epoch != frame.stamp.epoch:
            for output in self._watched():
                output.keyframe_wanted = True  # a recording of the new epoch begins at once

    def _pass_on(self, frame: DepthFrame, normalised: FloatImage) -> None:
        """To stills and Motion JPEG."""
        self.newest = NormalisedFrame(frame, normalised)
        self.fps.tick()
        self._notices.published()

    def _draw(self, rendition: Rendition) -> Picture:
        return self._renderer.draw(rendition.view, half=rendition.is_half_size)

    def _follow(self, *, halve: bool) -> None:
        """Whether half the size is encoded at all: while it would lose detail, and until that is known, who gets it
        gets the full one's packets."""
        for rendition, output in self._outputs.items():
            if rendition.half:
                output.follow(None if halve else self._outputs[rendition._replace(half=False)])

    def _watched(self) -> Iterator[RenditionOutput]:
        for output in self._outputs.values():
            if output.watched:
                yield output
            else:
                output.release()

    def _publish_again(self, newest: NormalisedFrame) -> None:
        """The newest frame, as a keyframe, where one is wanted and due."""
        wanted = [output for output in self._watched() if output.keyframe_in_s <= 0]
        if wanted:
            self._renderer.begin(newest.normalised, newest.frame.picture, self._max_height)
        for output in wanted:
            picture = self._draw(output.rendition)
            if output.publish(picture, newest.frame.stamp.later(), only_keyframe=True, is_repeat=True):
                self._metrics.published(output.rendition.view)

    def _publish_notice(self, notice: Notice) -> None:
        is_due = self._notices.due_in_s <= 0
        if is_due:
            self._notices.published()
            self._depth16.publish_notice(self._clock.now())
        for output in self._watched():
            if is_due or output.keyframe_wanted:
                picture = self._notices.draw(notice, output.rendition, self.size)
                output.publish(picture, self._clock.now(), only_keyframe=not is_due, is_notice=True)


def _is_still(frame: DepthFrame) -> bool:
    """Whether who needs a keyframe gets this picture again: waiting for the next one would bring nothing new, or take
    too long."""
    return frame.change is Change.NONE or frame.stamp.age_s() > STALE_S


def _shows(output: RenditionOutput, frame: DepthFrame, before: NormalisedFrame | None) -> bool:
    """Whether a change that may be too faint for depth is seen in its view."""
    return before is None or (frame.seen != before.frame.seen and output.rendition.view not in DEPTH_VIEWS)
