"""What travels along the path of a frame. All of it is immutable once handed over."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from streamd.states import Change

CLOCK_RATE = 90_000
TIME_BASE = Fraction(1, CLOCK_RATE)

Codec = Literal["h264", "vp8"]
PacketCodec = Literal[Codec, "gray16"]
"""gray16: not coded, the codes of depth16, which is recorded only and encoded by its recorder."""
FloatImage = NDArray[np.float32]
ByteImage = NDArray[np.uint8]
Picture = av.VideoFrame
Planes = tuple[ByteImage, ByteImage, ByteImage]
"""Y, U and V; of 4:2:0: (h, w) and twice (h/2, w/2)."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a frame was captured, by our own clock; carried untouched to the end.

    ``pts`` counts 90 kHz ticks since the stream started and never goes back, across
    reconnects and loops too: a source's own clock jumps, and a jump of +2 s freezes
    Chromium for 1.95 s. Only file jobs use the file's times.
    """

    sequence: int
    pts: int
    captured_at: float
    """``time.monotonic()`` seconds."""
    epoch: int = 0
    """How often the source has been opened again."""

    def age_s(self) -> float:
        return time.monotonic() - self.captured_at

    def later(self) -> Stamp:
        """For the same picture, shown again now."""
        return replace(self, pts=self.pts + int(self.age_s() * CLOCK_RATE))


class StampClock:
    """Makes the stamps of one stream. Touched by one capture thread at a time."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._sequence = 0
        self._last_pts = -1
        self.epoch = 0

    def stamp(self) -> Stamp:
        stamp = self.now()
        pts = max(stamp.pts, self._last_pts + 1)
        self._last_pts = pts
        self._sequence += 1
        return replace(stamp, pts=pts)

    def now(self) -> Stamp:
        """For a picture that no camera gave, such as NO SIGNAL. Any thread."""
        now = time.monotonic()
        return Stamp(self._sequence, int((now - self._started) * CLOCK_RATE), now, self.epoch)


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """A decoded picture, still in the decoder's pixel format and memory."""

    stamp: Stamp
    picture: Picture


@dataclass(frozen=True)
class Provenance:
    """Which network made a depth map, and how: as written into an npz."""

    model: str
    sha256: str
    polarity: str
    """inverse_depth or depth: what the network itself gives."""
    runtime: str
    precision: str


@dataclass(frozen=True, slots=True)
class DepthFrame:
    """A picture and its depth."""

    stamp: Stamp
    picture: Picture
    inverse_depth: FloatImage
    """(h, w) at the network's size: relative inverse depth, larger is nearer."""
    luma: ByteImage
    """(h, w) at the same size: the luma of the picture."""
    network_output: FloatImage
    """The same as the network gave it, in its own polarity."""
    provenance: Provenance
    change: Change = Change.CHANGED
    """Where it reuses depth: depth and luma are those of an earlier picture."""
    seen: int = 0
    """The sequence of the newest picture, up to this one, in which something was to be seen. Not every frame reaches
    those who draw: what has come since the one before is told by this alone."""


@dataclass(frozen=True, slots=True, eq=False)
class NormalisedFrame:
    """What every view of a frame is drawn from. Immutable: any thread may read it."""

    frame: DepthFrame
    normalised: FloatImage
    """(h, w) in [0, 1] at the network's size: the inverse depth within the range shown, 1 is nearest. That of the frame
    before, where depth is reused."""


@dataclass(frozen=True, slots=True)
class EncodedPacket:
    """One coded picture. H.264: an access unit in Annex B, SPS and PPS in front of every keyframe. gray16: (h, w)
    little-endian 16-bit codes; ``scale`` takes them back to inverse depth."""

    data: bytes
    pts: int
    """90 kHz."""
    is_keyframe: bool
    captured_at: float
    size: tuple[int, int] = (0, 0)
    """(width, height), px."""
    epoch: int = 0
    """How often the source had been opened again: a recording takes each by itself."""
    is_notice: bool = False
    """NO SIGNAL and the like: shown, not recorded."""
    codec: PacketCodec = "h264"
    scale: tuple[float, float] = (0.0, 0.0)
    """Of gray16: far and near (see ``depth16``)."""


_PLANAR = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p")
_LUMA_FIRST = (*_PLANAR, "nv12", "nv21", "gray")


class Scaler:
    """Changes size and pixel format in one swscale pass. One per thread and purpose, kept for good:
    PyAV 17 and later hold about 15 MB per fresh one (PyAV#2320)."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def rgb(self, picture: Picture) -> ByteImage:
        """(h, w, 3)."""
        return np.asarray(self._reformatter.reformat(picture, format="rgb24").to_ndarray())

    def rgba(self, picture: Picture) -> ByteImage:
        """(h, w, 4); alpha is 255 where it is opaque."""
        return np.asarray(self._reformatter.reformat(picture, format="rgba").to_ndarray())

    def gray(self, picture: Picture) -> ByteImage:
        """(h, w): 8 bits of a gray picture, in its own range."""
        return np.asarray(self._reformatter.reformat(picture, format="gray").to_ndarray())

    def luma(self, picture: Picture) -> ByteImage:
        """(h, w): 8 bits, in the picture's own range; on its memory where it has such a plane."""
        if picture.format.name not in _LUMA_FIRST:
            picture = self._reformatter.reformat(picture, format="gray")
        plane = picture.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        return rows[: plane.height, : plane.width]

    def planes(self, picture: Picture) -> tuple[ByteImage, ...]:
        """Y, U and V in 8 bits, or only luma of gray pictures; on their own memory where they have such planes."""
        kind = picture.format.name
        if kind == "gray":
            return (self.luma(picture),)
        if kind in ("nv12", "nv21"):
            plane = picture.planes[1]
            pairs = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size // 2, 2)
            both = pairs[: plane.height, : plane.width]
            return self.luma(picture), both[..., 0], both[..., 1]
        if kind not in _PLANAR:
            picture = self._reformatter.reformat(picture, format="yuv420p")
        return yuv_planes(picture)

    def shrink(self, picture: Picture, width: int, height: int) -> Picture:
        """yuv444p by the mean over each area; colours stay as they are coded."""
        return self._reformatter.reformat(picture, width, height, format="yuv444p", interpolation=Interpolation.AREA)

    def yuv420(self, picture: Picture, width: int, height: int) -> Picture:
        """BT.601, limited range. The picture itself when it is so already."""
        return self._reformatter.reformat(
            picture,
            width,
            height,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
        )


def canvas(width: int, height: int) -> Picture:
    """An empty yuv420p picture to draw on; both sides even."""
    return av.VideoFrame(width, height, "yuv420p")


def yuv_planes(picture: Picture) -> Planes:
    """The planes of a planar 8-bit YUV picture as arrays on its own memory."""
    y, u, v = (
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in picture.planes
    )
    return y, u, v


def to_i420(picture: Picture) -> ByteImage:
    """(h * 3/2, w): the planes of a yuv420p picture one behind the other, a copy."""
    planes = [plane.ravel() for plane in yuv_planes(picture)]
    return np.concatenate(planes).reshape(-1, picture.width)
