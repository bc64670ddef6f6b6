"""Depth as data: 16 bits a pixel, lossless, and beside each frame what takes it back to float.

A depth16 file is Matroska with two tracks of one clock: FFV1 (RFC 9043) of gray16le at the network's own size, and
WebVTT with one JSON object for each frame: ``{"pts": 3003, "time_base": "1/90000", "far": 0.25, "near": 7.5}``. Code 0
is ``far``, code 65535 ``near``, those of the frame itself: scale and shift of relative inverse depth differ per frame,
so no frame is clipped to the range of another. ``pts`` is there because Matroska itself rounds times to milliseconds.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterator
from fractions import Fraction
from os import PathLike
from typing import Any, NamedTuple

import av
import av.error
import numpy as np
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from streamd.media.frames import FloatImage, Picture

LEVELS = 65535
ENDING = ".mkv"
MUXER = {"cluster_time_limit": "500", "flush_packets": "1"}
"""A reader of a file that grows, or that a power cut left, never misses more than a cluster."""
_FORMAT = "gray16le"
_FFV1 = {"level": "3", "slicecrc": "1", "context": "0"}
_TITLE = "streamd depth16"
_ABOUT = "relative inverse depth: far + code / 65535 * (near - far), far and near of each frame in the text track"
_NO_SCALE = (ValueError, KeyError, TypeError, ArithmeticError)

Codes = NDArray[np.uint16]


class Scale(NamedTuple):
    """What takes the codes of one frame back to inverse depth."""

    far: float
    near: float


class NotDepth16(ValueError):
    """The file has no depth16."""


def quantise(depth: FloatImage) -> tuple[Codes, Scale]:
    """(h, w) float32 to codes that ``restore`` takes back to within half a step of 1/65535 of the frame's own range.
    What is no number becomes far; infinity the end that it is nearest to."""
    finite = depth[np.isfinite(depth)]
    scale = Scale(float(finite.min()), float(finite.max())) if finite.size else Scale(0.0, 0.0)
    span = scale.near - scale.far
    if span <= 0:
        return np.zeros(depth.shape, np.uint16), scale
    known = np.nan_to_num(depth.astype(np.float64), nan=scale.far, posinf=scale.near, neginf=scale.far)
    return np.rint((known - scale.far) * (LEVELS / span)).astype(np.uint16), scale


def restore(codes: Codes, scale: Scale) -> FloatImage:
    """(h, w) float32."""
    return (scale.far + codes * ((scale.near - scale.far) / LEVELS)).astype(np.float32)


class Tracks:
    """The two tracks of a file that is written."""

    def __init__(self, container: OutputContainer, rate: Fraction | int) -> None:
        """Tracks between them may be added before the first frame."""
        self._container = container
        self.video: VideoStream = container.add_stream("ffv1", rate=rate, options=_FFV1)
        self.video.metadata["title"] = _TITLE
        container.metadata["comment"] = _ABOUT
        self.video.pix_fmt = _FORMAT
        self.video.codec_context.gop_size = self.video.codec_context.thread_count = 1
        self._text: Stream = container.add_mux_stream("webvtt")
        self._text.metadata["title"] = _TITLE
        self._text.disposition = Disposition.metadata

    def size(self, width: int, height: int, time_base: Fraction) -> None:
        self.video.width, self.video.height = width, height
        self.video.time_base = self._text.time_base = self.video.codec_context.time_base = time_base

    def packets(self, picture: Picture, scale: Scale) -> list[Packet[Any]]:
        """Of one frame of codes, which has its time."""
        assert picture.pts is not None
        assert picture.time_base is not None
        about = {"pts": picture.pts, "time_base": str(picture.time_base), **scale._asdict()}
        text: Packet[Any] = Packet(json.dumps(about).encode())
        text.pts = text.dts = picture.pts
        text.time_base, text.duration, text.stream = picture.time_base, max(1, picture.duration or 0), self._text
        return [text, *self.video.encode(picture)]


def picture_of(codes: Codes) -> Picture:
    return av.VideoFrame.from_ndarray(codes, format=_FORMAT)


def read_depth(path: str | PathLike[str]) -> Iterator[tuple[float, FloatImage]]:
    """The frames of a depth16 file in order: the time in seconds, exactly that of the source, and (h, w) float32
    relative inverse depth, larger is nearer, at the network's size. A file that was cut short ends with its last whole
    frame. Raises NotDepth16 (a ValueError) for any other file, OSError for one that cannot be read."""
    try:
        with av.open(str(path)) as container:
            yield from _frames(container, *_tracks(container, str(path)))
    except av.error.InvalidDataError as error:
        raise NotDepth16(f"{path}: is no depth16 recording") from error


def _tracks(container: InputContainer, path: str) -> tuple[VideoStream, SubtitleStream]:
    """Raises NotDepth16."""
    videos, texts = container.streams.video, container.streams.subtitles
    if videos and texts and videos[0].pix_fmt == _FORMAT and texts[0].metadata.get("title") == _TITLE:
        return videos[0], texts[0]
    raise NotDepth16(f"{path}: is no depth16 recording")


def _frames(container: InputContainer, video: VideoStream, text: SubtitleStream) -> Iterator[tuple[float, FloatImage]]:
    scales: defaultdict[int | None, deque[tuple[float, Scale]]] = defaultdict(deque)
    pictures: defaultdict[int | None, deque[Codes]] = defaultdict(deque)
    """Each waits for the other, of the same time in Matroska's own milliseconds: either may come first."""
    for packet in _packets(container, video, text):
        if packet.stream is text:
            scales[packet.pts].append(_parse(bytes(packet)))
        else:
            pictures[packet.pts].extend(picture.to_ndarray().astype(np.uint16) for picture in _decoded(video, packet))
        while scales[packet.pts] and pictures[packet.pts]:
            time_s, scale = scales[packet.pts].popleft()
            yield time_s, restore(pictures[packet.pts].popleft(), scale)
        for waiting in (scales, pictures):
            if not waiting[packet.pts]:
                del waiting[packet.pts]


def _packets(container: InputContainer, *streams: Stream) -> Iterator[Packet[Any]]:
    """Up to the end, or to where the file was cut."""
    try:
        yield from (packet for packet in container.demux(*streams) if packet.size)
    except av.error.InvalidDataError:
        return


def _decoded(video: VideoStream, packet: Packet[Any]) -> list[Picture]:
    try:
        return video.decode(packet)
    except av.error.InvalidDataError:  # damaged: by its checksum
        return []


def _parse(text: bytes) -> tuple[float, Scale]:
    """Raises NotDepth16."""
    try:
        about = json.loads(text)
        time_s = float(about["pts"] * Fraction(about["time_base"]))
        return time_s, Scale(float(about["far"]), float(about["near"]))
    except _NO_SCALE as error:
        raise NotDepth16("the scale of a frame cannot be read") from error
