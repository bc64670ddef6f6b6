"""What travels along the path of a frame. All of it is immutable once handed over."""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

CLOCK_RATE = 90_000
TIME_BASE = Fraction(1, CLOCK_RATE)

FloatImage = NDArray[np.float32]
ByteImage = NDArray[np.uint8]


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


class StampClock:
    """Makes the stamps of one stream. Touched by one capture thread at a time."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._sequence = 0
        self._last_pts = -1
        self.epoch = 0

    def stamp(self) -> Stamp:
        now = time.monotonic()
        pts = max(int((now - self._started) * CLOCK_RATE), self._last_pts + 1)
        stamp = Stamp(self._sequence, pts, now, self.epoch)
        self._last_pts = pts
        self._sequence += 1
        return stamp


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """A decoded picture, still in the decoder's pixel format and memory."""

    stamp: Stamp
    picture: av.VideoFrame


@dataclass(frozen=True, slots=True)
class DepthFrame:
    """A picture and its depth."""

    stamp: Stamp
    picture: av.VideoFrame
    inverse_depth: FloatImage
    """(h, w) at the network's size: relative inverse depth, larger is nearer."""
    luma: ByteImage
    """(h, w) at the same size: what the picture looked like (its green channel stands for luma)."""
    model: str


@dataclass(frozen=True, slots=True)
class EncodedPacket:
    """One H.264 access unit in Annex B, SPS and PPS in front of every keyframe."""

    data: bytes
    pts: int
    """90 kHz."""
    is_keyframe: bool
    captured_at: float
