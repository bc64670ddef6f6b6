"""Tells pictures in which something has changed from those that need no inference of their own.

The mean luma of each small area is compared with that of the picture that was inferred last, so that a slow change adds
up until it counts. Signed means: noise cancels, an object does not (measured: static noisy H.264 stays below 3 code
values where an object of 20 pixels in 720p and 25 code values gives 15).
"""

from __future__ import annotations

import cv2
import numpy as np

from streamd.media.frames import FloatImage, Picture, Scaler
from streamd.states import Change

MAX_WIDTH = 512
"""Luma is halved until it is no wider, px: 720p is tested at 320x180, 1080p at 480x270."""
AREA = 5
"""Sides of the areas, px of the halved luma."""
LEAST = 4.0
"""Code values that the mean of an area must change by, without noise."""
SIGMAS = 5.0
MAX_NOISE = 2.0
"""Code values. What moves everywhere looks like noise, and is none."""
OVERDUE = 4.0
"""Times ``refresh_s``."""
_RISES, _FALLS = 0.05, 0.3
"""How fast the measured noise follows, per picture."""


class ChangeGate:
    """One per stream; one thread."""

    def __init__(self, refresh_s: float) -> None:
        """``refresh_s``: how long depth may be reused."""
        self._refresh_s = refresh_s
        self._scaler = Scaler()
        self._inferred: FloatImage | None = None
        self._inferred_at = 0.0
        self._last: FloatImage | None = None
        self._noise = 0.0

    def test(self, picture: Picture, time_s: float) -> Change:
        """Each picture once, in order."""
        means = self._means(picture)
        self._measure_noise(means)
        if self._inferred is None or self._inferred.shape != means.shape:
            return Change.CHANGED
        if float(cv2.norm(means, self._inferred, cv2.NORM_INF)) > self.threshold:
            return Change.CHANGED
        return Change.DUE if time_s - self._inferred_at >= self._refresh_s else Change.NONE

    def is_overdue(self, time_s: float) -> bool:
        """Whether depth was reused for so long that it can wait for others no more."""
        return time_s - self._inferred_at >= OVERDUE * self._refresh_s

    @property
    def threshold(self) -> float:
        """Code values."""
        return LEAST + SIGMAS * min(self._noise, MAX_NOISE)

    def inferred(self, picture: Picture, time_s: float) -> None:
        """Later pictures are compared with this one."""
        self._inferred, self._inferred_at = self._means(picture), time_s

    def _means(self, picture: Picture) -> FloatImage:
        luma = self._scaler.luma(picture)
        while luma.shape[1] > MAX_WIDTH:
            luma = cv2.resize(luma, (luma.shape[1] // 2, max(1, luma.shape[0] // 2)), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.boxFilter(luma, cv2.CV_32F, (AREA, AREA)))

    def _measure_noise(self, means: FloatImage) -> None:
        """The standard deviation of an area's mean from picture to picture, by medians: of what does not move, and
        without what changes everywhere alike."""
        last, self._last = self._last, means
        if last is None or last.shape != means.shape:
            return
        changes = means[::AREA, ::AREA] - last[::AREA, ::AREA]
        sigma = 1.4826 * float(np.median(np.abs(changes - np.median(changes))))
        self._noise += (sigma - self._noise) * (_RISES if sigma > self._noise else _FALLS)
