"""Packets of a hub as a file without an end, for players that read one over HTTP: fragmented MP4, MPEG-TS."""

from __future__ import annotations

from typing import Any, Literal, get_args

import av
import av.error
from av.packet import Packet

from streamd.errors import SinkError
from streamd.media.frames import TIME_BASE, EncodedPacket

LiveContainer = Literal["mp4", "ts"]
CONTAINERS: tuple[LiveContainer, ...] = get_args(LiveContainer)
# A fragment for each picture, written when the next one comes, for only then its duration is known. No trailer: FFmpeg
# would keep an index of all fragments for it, 100 MB for a reader that stays a day.
_MP4 = {"movflags": "frag_every_frame+empty_moov+default_base_moof+skip_trailer", "flush_packets": "1"}
# Else players would buffer 0.7 s.
_TS = {"max_delay": "0", "flush_packets": "1"}
_MUXERS: dict[LiveContainer, tuple[str, dict[str, str]]] = {"mp4": ("mp4", _MP4), "ts": ("mpegts", _TS)}


class LiveMuxer:
    """Of one reader: its times begin at zero. Writes to memory only: some microseconds a picture (measured)."""

    def __init__(self, container: LiveContainer, first: EncodedPacket) -> None:
        """``first`` is a keyframe."""
        self._written = _Written()
        format, options = _MUXERS[container]
        self._container = av.open(self._written, "w", format=format, options=dict(options))
        width, height = first.size
        self._stream = self._container.add_mux_stream("h264", rate=30, width=width, height=height, time_base=TIME_BASE)
        self._first_pts = first.pts
        self._last_pts = -1

    def mux(self, unit: EncodedPacket) -> bytes:
        """What is to be sent now: with the first one also what the file begins with. Raises SinkError."""
        packet: Packet[Any] = Packet(unit.data)
        packet.pts = packet.dts = self._last_pts = max(unit.pts - self._first_pts, self._last_pts + 1)
        packet.time_base = TIME_BASE
        packet.is_keyframe = unit.is_keyframe
        packet.stream = self._stream
        try:
            self._container.mux([packet])
        except av.error.FFmpegError as error:
            raise SinkError(f"cannot be put into its container: {error.strerror}") from error
        return self._written.take()

    def close(self) -> None:
        self._container.close()
        self._written.take()


class _Written:
    """The file under the muxer."""

    name = "live"

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data
