"""Depth as data, for its recorder: the publish thread makes 16-bit codes of it, and no more."""

from __future__ import annotations

from streamd.media.depth16 import quantise
from streamd.media.frames import DepthFrame, EncodedPacket, Stamp
from streamd.media.hub import PacketHub


class Depth16Output:
    """Hands what the network gave to the hub while it is recorded. For the publish thread, but for ``abandoned``."""

    def __init__(self, hub: PacketHub) -> None:
        self._hub = hub
        self._last_pts = -1
        self._was_watched = False
        self.abandoned = False
        """The publish thread hung: when it goes on, another one has taken its place."""

    def publish(self, frame: DepthFrame, *, is_new: bool) -> bool:
        """Whether it is recorded: depth that was reused only where a recording begins."""
        before, self._was_watched = self._was_watched, self._hub.watched and not self.abandoned
        if not self._was_watched or (before and not is_new):
            return False
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
