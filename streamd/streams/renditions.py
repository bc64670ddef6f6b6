"""One rendition of a stream: encoded once for all its subscribers, and only while there are any."""

from __future__ import annotations

import logging
import math
import time

from streamd.errors import EncodeError
from streamd.media.encode import HALF_BITRATE, LIGHT_BITRATE, LiveEncoder
from streamd.media.frames import EncodedPacket, Picture, Stamp
from streamd.media.hub import PacketHub, Rendition
from streamd.telemetry.logs import StreamLog
from streamd.telemetry.statistics import Rate

log = logging.getLogger(__name__)

RETRY_S = 30.0
"""A size that the encoder refused is tried again: it may have been for want of memory."""
USUAL_FPS, MIN_FPS = 30.0, 1.0
REPEAT_S = 0.9
"""How often viewers and recordings get a picture in which nothing has changed: with the next frame that comes, so that
a second is not exceeded at 10 fps."""
FIRST_REPEAT_S = 0.2
"""For the first of them, after a movement and after a keyframe: when that is lost on the way, a viewer notices by the
next, and some (aiortc) show a picture only then."""


class RenditionOutput:
    """Encodes the pictures of one rendition and hands the packets to its hub.

    ``keyframe_wanted`` and ``abandoned`` may be set by any thread; all else is for the publish thread only.
    """

    def __init__(self, name: str, rendition: Rendition, hub: PacketHub, kbps: int | None, rate: Rate) -> None:
        """``name`` is the stream's; ``kbps`` the cap of the full rendition; ``rate`` that of its frames."""
        self.rendition = rendition
        self.keyframe_wanted = False
        self.abandoned = False
        """The publish thread hung: when it goes on, another one has taken its place."""
        self._log = StreamLog(log, name)
        self._hub = hub
        self._hubs = [hub]
        """Those that get its packets."""
        self._followed: RenditionOutput | None = None
        share = LIGHT_BITRATE if rendition.light else HALF_BITRATE if rendition.half else 1
        self._kbps = round(kbps * share) if kbps else None
        self._rate = rate
        self._encoder: LiveEncoder | None = None
        self._has_encoded = False
        """Whether this encoder has: one that fails later is replaced at once."""
        self._last_pts = -1
        self._published_at = -math.inf
        self._is_repeat = False
        """Whether the newest picture was one."""
        self._refused_size: tuple[int, int] | None = None
        self._retry_at = 0.0

    @property
    def watched(self) -> bool:
        return any(hub.watched for hub in self._hubs) and not self.abandoned

    @property
    def repeat_due(self) -> bool:
        """Whether a picture in which nothing has changed is to be published."""
        wait_s = REPEAT_S if self._is_repeat else FIRST_REPEAT_S
        return self.keyframe_wanted or time.monotonic() - self._published_at >= wait_s

    @property
    def keyframe_in_s(self) -> float:
        """How long it takes until one that is wanted may come; infinite where none is."""
        if not self.keyframe_wanted:
            return math.inf
        return max(0.0, self._encoder.keyframe_in_s) if self._encoder is not None else 0.0

    def request_keyframe(self) -> None:
        """For its hub. Any thread."""
        (self._followed or self).keyframe_wanted = True

    def follow(self, other: RenditionOutput | None) -> None:
        """From now on its hub gets this other output's packets, from a keyframe on; None: its own."""
        before = self._followed
        if other is before:
            return
        if before is not None:
            before._hubs.remove(self._hub)
            self._hubs, self._last_pts = [self._hub], max(self._last_pts, before._last_pts)
        if other is not None:
            self.release()
            self._hubs = []
            other._hubs.append(self._hub)
            other._encoder, other._last_pts = None, max(self._last_pts, other._last_pts)
        self._followed = other

    def release(self) -> None:
        """Closes the encoder while nobody watches."""
        self.keyframe_wanted = False
        self._encoder = self._refused_size = None
        self._published_at = -math.inf  # who joins just now gets the next picture, though its request was dropped

    def publish(
        self,
        picture: Picture,
        stamp: Stamp,
        *,
        only_keyframe: bool = False,
        is_notice: bool = False,
        is_repeat: bool = False,
    ) -> bool:
        """Returns whether a packet went to the hub. With ``only_keyframe`` none goes before a keyframe is due."""
        size = (picture.width, picture.height)
        if size == self._refused_size and time.monotonic() < self._retry_at:
            self.keyframe_wanted = False
            return False
        try:
            packets = self._encode(picture, stamp, only_keyframe, is_notice)
        except EncodeError as error:
            self._fail(size, error)
            return False
        if packets and not self.abandoned:
            # After a notice the next picture is due, though nothing has changed in it.
            self._published_at = -math.inf if is_notice else time.monotonic()
            self._is_repeat = is_repeat and not any(packet.is_keyframe for packet in packets)
            for hub in self._hubs:
                hub.publish_threadsafe(packets)
        return bool(packets)

    def _encode(self, picture: Picture, stamp: Stamp, only_keyframe: bool, is_notice: bool) -> list[EncodedPacket]:
        encoder = self._fitting_encoder(picture.width, picture.height)
        if self.keyframe_wanted:
            encoder.request_keyframe()
        if encoder.keyframe_due:
            self.keyframe_wanted = False
        elif only_keyframe:
            return []
        packets = encoder.encode(picture, stamp, is_notice=is_notice)
        self._has_encoded, self._last_pts = True, encoder.last_pts
        return packets

    def _fitting_encoder(self, width: int, height: int) -> LiveEncoder:
        """Raises EncodeError."""
        if self._encoder is None or self._encoder.size != (width, height):
            self._encoder, self._has_encoded = None, False
            self._encoder = LiveEncoder(
                width,
                height,
                codec=self.rendition.codec,
                kbps=self._kbps,
                fps=max(MIN_FPS, self._rate.per_second() or USUAL_FPS),
                after_pts=self._last_pts,
                half=self.rendition.half,
            )
        return self._encoder

    def _fail(self, size: tuple[int, int], error: EncodeError) -> None:
        self._log.error("view %s: %s", self.rendition.view, error)
        self._encoder = None
        if not self._has_encoded:
            self._refused_size, self._retry_at = size, time.monotonic() + RETRY_S
            self.keyframe_wanted = False
