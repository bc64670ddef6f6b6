"""Blends depth over time where the picture stands still: what flickers there is the network's own unrest."""

from __future__ import annotations

import cv2
import numpy as np

from streamd.media.frames import ByteImage, FloatImage

STILL, MOVED = 2.0, 10.0
"""Code values of luma: up to the first a pixel counts as still, from the second on as new."""
AREA = 5
"""Sides of the area whose mean change counts, px of the network's input."""
REFRESHED = 0.35
"""Share of a map that was made only because it was time to."""


class SteadyDepth:
    """One per stream; one thread."""

    def __init__(self, smoothing: float) -> None:
        """``smoothing``: the share of what was shown before, where the picture is still; 0: none."""
        self._smoothing = smoothing
        self._depth: FloatImage | None = None
        self._luma: ByteImage | None = None
        self._model = ""

    def blend(self, depth: FloatImage, luma: ByteImage, model: str, *, refreshed: bool = False) -> FloatImage:
        """(h, w) depth and luma of a picture, at one size, to the depth to show. ``refreshed``: nothing had changed."""
        before, seen, same_model = self._depth, self._luma, model == self._model
        self._depth, self._luma, self._model = depth, luma, model
        if not self._smoothing or before is None or seen is None or before.shape != depth.shape or not same_model:
            return depth
        still = max(self._smoothing, 1 - REFRESHED) if refreshed else self._smoothing
        blended = depth + (before - depth) * _kept(luma, seen, still)
        if np.isfinite(blended).all():  # one bad map must not spoil those after it
            self._depth = blended
        return self._depth


def _kept(luma: ByteImage, seen: ByteImage, still: float) -> FloatImage:
    """(h, w) share of the depth before."""
    change = cv2.boxFilter(cv2.absdiff(luma, seen), cv2.CV_32F, (AREA, AREA))
    scale = still / (MOVED - STILL)
    kept: FloatImage = np.clip(np.float32(MOVED * scale) - change * np.float32(scale), 0, np.float32(still))
    return kept
