"""Depth as data, for its recorder: the publish thread makes 16-bit codes of it, and no more."""

from __future__ import annotations

import math
import time

from streamd.media.depth16 import quantise
from streamd.media.frames import DepthFrame, EncodedPacket, Stamp
from streamd.media.hub import PacketHub
from streamd.streams.renditions import REPEAT_S


class Depth16Output:
    """Hands what the network gave to the hub while it is recorded. For the publish thread, but for ``abandoned``."""

    def __init__(self, hub: PacketHub) -> None:
        self._hub = hub
        self._last_pts = -1
        self._published_at = -math.inf
        self.abandoned = False
        """The publish thread hung: when it goes on, another one has taken its place."""

    def publish(self, frame: DepthFrame, *, is_new: bool) -> bool:
        """Whether it is recorded: depth that was reused only where a recording begins, and now and then."""
        if not self._hub.watched or self.abandoned:
            self._published_at = -math.inf
            return False
        if not is_new and time.monotonic() - self._published_at < REPEAT_S:
            return False
        self._published_at = time.monotonic()
        codes, scale = quantise(frame.inverse_depth)
        height, width = codes.shape
        self._send(codes.tobytes(), frame.stamp, (width, height), scale)
        return True

    def publish_notice(self, stamp: Stamp) -> None:
        """The source is away: a recorder ends its segment by that."""
        if self._hub.watched and not self.abandoned:
            self._send(b"", stamp, is_notice=True)

    def _send(
        self,
        data: bytes,
        stamp: Stamp,
        size: tuple[int, int] = (0, 0),
        scale: tuple[float, float] = (0.0, 0.0),
        is_notice: bool = False,
    ) -> None:
        pts = self._last_pts = max(stamp.pts, self._last_pts + 1)
        packet = EncodedPacket(
            data, pts, not is_notice, stamp.captured_at, size, stamp.epoch, is_notice, "gray16", scale
        )
        self._hub.publish_threadsafe([packet])
