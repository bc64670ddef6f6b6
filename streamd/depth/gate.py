"""Tells pictures in which something has changed from those that need no inference of their own.

The mean of each small area is compared with that of the picture that was inferred last, so that a slow change adds up
until it counts. Signed means: noise cancels, an object does not (measured: static noisy H.264 stays below 3 code values
where an object of 20 pixels in 720p and 25 code values gives 15). Of luma, and coarser of chroma: what only loses its
colours, as when a camera turns to infrared, has changed too.
"""

from __future__ import annotations

import random

import cv2
import numpy as np

from streamd.media.frames import ByteImage, FloatImage, Picture, Scaler
from streamd.states import Change

MAX_WIDTH = 512
"""Luma is halved until it is no wider, px: 720p is tested at 320x180, 1080p at 480x270."""
CHROMA_ROWS = 20
"""Few will do: what has another colour is seldom as bright as what was there before, and as small."""
AREA = 5
"""Sides of the areas, px of the halved luma."""
LEAST = 4.0
"""Code values that the mean of an area must change by, without noise."""
SIGMAS = 5.0
MAX_NOISE = 2.0
"""Code values. What moves everywhere looks like noise, and is none."""
OVERDUE = 2.0, 4.0
"""Times ``refresh_s``: then depth was reused for so long that it can wait for others no more. Between these, so that
cameras which began together do not all want the network at once."""
FAINT, FAINT_SIGMAS = 12.0, 6.0
"""The same as ``LEAST`` and ``SIGMAS`` for single pixels of the halved luma, whose change is seen in the picture. In
static noisy H.264 they change by up to 10 code values, where figures 16 pixels high in 720p change by 20 to 50."""
SPACING = 9
"""px between those of the halved luma that noise is measured by."""
QUARTILES = 0.7413
"""The standard deviation of what is normal, by the distance of its quartiles."""
_RISES, _FALLS = 0.05, 0.3
"""How fast the measured noise follows, per picture."""


class ChangeGate:
    """One per stream; one thread."""

    def __init__(self, refresh_s: float) -> None:
        """``refresh_s``: how long depth may be reused."""
        self._refresh_s = refresh_s
        self._scaler = Scaler()
        self._tested: tuple[Picture, tuple[ByteImage, FloatImage]] | tuple[None, None] = (None, None)
        """The newest picture, and what was measured of it: most often it is inferred next."""
        self._inferred: FloatImage | None = None
        self._inferred_at = 0.0
        self._overdue = OVERDUE[1]
        self._noise = _Noise()
        self._seen: ByteImage | None = None
        """The pixels of the newest picture in which something was to be seen."""
        self._pixel_noise = _Noise()

    def test(self, picture: Picture, time_s: float, *, is_busy: bool = False) -> Change:
        """Each picture once, in order. ``is_busy``: the network has no time now for what is no more than due."""
        pixels, means = measured = self._measured(picture)
        self._tested = picture, measured
        self._noise.measure(means)
        self._pixel_noise.measure(pixels)
        if self._inferred is None or self._inferred.shape != means.shape:
            return Change.CHANGED
        if float(cv2.norm(means, self._inferred, cv2.NORM_INF)) > self.threshold:
            return Change.CHANGED
        if time_s - self._inferred_at >= self._refresh_s * (self._overdue if is_busy else 1):
            return Change.DUE
        if float(cv2.norm(pixels, self._seen, cv2.NORM_INF)) > FAINT + FAINT_SIGMAS * self._pixel_noise.sigma:
            self._seen = pixels
            return Change.FAINT
        return Change.NONE

    @property
    def threshold(self) -> float:
        """Code values."""
        return LEAST + SIGMAS * min(self._noise.sigma, MAX_NOISE)

    def inferred(self, picture: Picture, time_s: float) -> None:
        """Later pictures are compared with this one."""
        tested, measured = self._tested
        self._seen, self._inferred = measured if measured and tested is picture else self._measured(picture)
        self._inferred_at, self._overdue = time_s, random.uniform(*OVERDUE)

    def _measured(self, picture: Picture) -> tuple[ByteImage, FloatImage]:
        """Small pixels, and the means of their areas."""
        pixels = _small(*self._scaler.planes(picture))
        return pixels, np.asarray(cv2.boxFilter(pixels, cv2.CV_32F, (AREA, AREA)))


def _small(luma: ByteImage, *chroma: ByteImage) -> ByteImage:
    """Halved luma, and below it a few rows of U and V, side by side."""
    while luma.shape[1] > MAX_WIDTH:
        luma = cv2.resize(luma, (luma.shape[1] // 2, max(1, luma.shape[0] // 2)), interpolation=cv2.INTER_AREA)
    height, width = luma.shape
    if not chroma or width < 2:
        return luma
    pixels = np.empty((height + CHROMA_ROWS, width), np.uint8)
    pixels[:height] = luma
    for plane, part in zip(chroma, (pixels[height:, : width // 2], pixels[height:, width // 2 :]), strict=True):
        rows = plane[:: max(1, len(plane) // CHROMA_ROWS)]
        cv2.resize(rows, part.shape[::-1], dst=part, interpolation=cv2.INTER_LINEAR)
    return pixels


class _Noise:
    """The standard deviation of values from picture to picture, by quartiles: of what does not move, and without what
    changes everywhere alike."""

    def __init__(self) -> None:
        self.sigma = 0.0
        self._last: FloatImage | None = None

    def measure(self, values: ByteImage | FloatImage) -> None:
        """(h, w) of each picture; few of them are looked at, and only luma: chroma has less noise."""
        few = values[: max(1, 3 * len(values) // 4) : SPACING, ::SPACING].astype(np.float32)
        last, self._last = self._last, few
        if last is None or last.shape != few.shape:
            return
        changes = (few - last).ravel()
        low, high = changes.size // 4, 3 * changes.size // 4
        changes.partition((low, high))
        sigma = QUARTILES * float(changes[high] - changes[low])
        self.sigma += (sigma - self.sigma) * (_RISES if sigma > self.sigma else _FALLS)
