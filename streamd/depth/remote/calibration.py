"""What the network here makes of a few pictures: a server has to agree with it, at each size, before it serves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from streamd.depth.agreement import MAX_ERROR, error_share
from streamd.depth.int8.drawn import draw
from streamd.depth.models import Preprocessing
from streamd.depth.remote.answer import NoAnswer
from streamd.media.frames import ByteImage, FloatImage

PICTURES = 2
MAX_SIZES = {True: 12, False: 4}
"""Of streams, and of single pictures, which come in all sizes: the network here answers what is beyond that."""
_SEED = 14

Size = tuple[int, int]
"""Height and width, px."""
Infer = Callable[[FloatImage, bool], FloatImage]
"""The network here: (1, 3, h, w), and whether the size is that of a stream, to (h, w)."""


class Pixels:
    """Between the network's input, (1, 3, h, w) float32, and the pictures that are sent, (1, h, w, 3) RGB uint8."""

    def __init__(self, how: Preprocessing) -> None:
        std, mean = (np.array(each, np.float32)[:, None, None] for each in (how.std, how.mean))
        self._scale, self._shift = 255 * std, 255 * mean + np.float32(0.5)
        self._std, self._mean = std, mean

    def pictures(self, planes: FloatImage) -> ByteImage:
        codes = np.clip(planes[0] * self._scale + self._shift, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(codes.transpose(1, 2, 0))[None]

    def planes(self, pictures: ByteImage) -> FloatImage:
        shares = pictures[0].transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        return np.ascontiguousarray((shares - self._mean) / self._std, np.float32)[None]


@dataclass(frozen=True)
class Sample:
    picture: ByteImage
    """(1, h, w, 3)."""
    depth: FloatImage
    """(h, w)."""


@dataclass(frozen=True)
class Samples:
    """Of one size."""

    all: Sequence[Sample]
    local_s: float
    """How long the network here takes."""


class Calibration:
    """Any thread may call any method."""

    def __init__(self, infer: Infer, how: Preprocessing) -> None:
        self._infer = infer
        self._pixels = Pixels(how)
        self._lock = threading.Lock()
        self._making = threading.Lock()
        self._sizes: dict[Size, bool] = {}
        """Those that the network here has answered, and whether they are of streams."""
        self._made: dict[Size, Samples] = {}

    def see(self, size: Size, *, live: bool) -> bool:
        """The network here has answered a picture of this size. Whether it is news."""
        with self._lock:
            if size in self._sizes or list(self._sizes.values()).count(live) >= MAX_SIZES[live]:
                return False
            self._sizes[size] = live
            return True

    @property
    def sizes(self) -> list[Size]:
        with self._lock:
            return list(self._sizes)

    def samples(self, size: Size) -> Samples:
        """Blocks while they are made, for the time of a few inferences: frames of other sizes do not wait for that."""
        if (made := self._made.get(size)) is not None:
            return made
        with self._making:
            if size not in self._made:
                self._made[size] = self._make(size)
            return self._made[size]

    def _make(self, size: Size) -> Samples:
        samples, took_s = [], []
        for drawn in draw(_SEED, PICTURES):
            picture = np.asarray(cv2.resize(drawn, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)[None]
            began = time.monotonic()
            samples.append(Sample(picture, self._infer(self._pixels.planes(picture), self._sizes[size])))
            took_s.append(time.monotonic() - began)
        return Samples(samples, min(took_s))


def check(answer: FloatImage, sample: Sample) -> None:
    """Raises NoAnswer unless they agree."""
    error = error_share(answer, sample.depth)
    if error > MAX_ERROR:
        shown = f"{100 * error:.2g} %" if error < 10 else "far more than 100 %"
        raise NoAnswer(f"its depth differs by {shown} from that of the network here: does it run the same weights?")
