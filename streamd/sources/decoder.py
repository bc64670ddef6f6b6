"""From packets to pictures: one way for files, another for what is live."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import av
import av.error
from av.codec import CodecContext
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from streamd.sources.catchup import FrameSkipper, Skip
from streamd.sources.corruption import CorruptionFilter
from streamd.states import SkipReason

_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
MAX_DAMAGED = 250
"""Packets of a file in a row that cannot be decoded before it counts as unusable."""
MAX_REJECT_S = 5.0
"""A live stream is dark no longer than this after damage, if no keyframe comes."""


def decoding_context(stream: VideoStream) -> VideoCodecContext:
    """What decodes its packets: the stream's own context, but where FFmpeg's native decoder leaves alpha out."""
    kind = stream.codec_context.name if stream.metadata.get("alpha_mode") == "1" else ""
    if _WITH_ALPHA.get(kind) not in av.codecs_available:
        return stream.codec_context
    context = CodecContext.create(_WITH_ALPHA[kind], "r")
    assert isinstance(context, VideoCodecContext)
    return context


class FileDecoder:
    """Every picture, also what is left of a damaged one."""

    def __init__(self, stream: VideoStream, on_decode: Callable[[float], None]) -> None:
        self._context = decoding_context(stream)
        self._on_decode = on_decode
        self._damaged = 0

    def pictures(self, packet: Packet[Any]) -> list[av.VideoFrame]:
        """Raises FFmpegError when nothing can be decoded any more."""
        started = time.monotonic()
        try:
            pictures = self._context.decode(packet)
        except av.error.FFmpegError:  # a bad sector: the decoder goes on after it
            self._damaged += 1
            if self._damaged > MAX_DAMAGED:
                raise
            return []
        self._damaged = 0
        self._on_decode(time.monotonic() - started)
        return pictures


class LiveDecoder:
    """Whole pictures only, and not older ones the longer one watches."""

    def __init__(
        self,
        stream: VideoStream,
        on_decode: Callable[[float], None],
        on_skip: Callable[[SkipReason], None],
        read_timeout_s: float,
    ) -> None:
        self._context = decoding_context(stream)
        self._unit_s = float(stream.time_base or 0)
        self._on_decode, self._on_skip = on_decode, on_skip
        self._corruption = CorruptionFilter(min(MAX_REJECT_S, read_timeout_s / 2))
        self._skipper = FrameSkipper()
        self._skip: Skip = "DEFAULT"
        self._idle_since = time.monotonic()

    def pictures(self, packet: Packet[Any]) -> list[av.VideoFrame]:
        """Raises nothing: what cannot be decoded is counted."""
        started = time.monotonic()
        self._keep_up(packet, started)
        if packet.is_corrupt:
            self._corruption.note_corruption(started)
        try:
            pictures = self._context.decode(packet)
        except av.error.FFmpegError:
            self._corruption.note_corruption(started)
            self._on_skip(SkipReason.CORRUPT)
            pictures = []
        else:
            if not pictures and packet.size and self._skip != "DEFAULT":
                self._on_skip(SkipReason.LATE)
        self._idle_since = ended = time.monotonic()
        self._on_decode(ended - started)
        return [picture for picture in pictures if self._passes(picture, ended)]

    def _passes(self, picture: av.VideoFrame, now_s: float) -> bool:
        passes = self._corruption.accepts(now_s, keyframe=picture.key_frame, corrupt=picture.is_corrupt)
        if not passes:
            self._on_skip(SkipReason.CORRUPT)
        return passes

    def _keep_up(self, packet: Packet[Any], now_s: float) -> None:
        units = packet.dts if packet.dts is not None else packet.pts  # pts go back and forth with B-frames
        time_s = units * self._unit_s if units is not None else None
        waited_s = now_s - self._idle_since
        skip = self._skipper.choose(now_s, time_s, waited_s, keyframe=packet.is_keyframe)
        if skip != self._skip:
            self._context.skip_frame = self._skip = skip
