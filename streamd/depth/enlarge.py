"""From the network's output to the picture's size, as the network's reference does it."""

from __future__ import annotations

import cv2
import numpy as np

from streamd.depth.models.base import Enlargement
from streamd.media.frames import FloatImage

_CV2 = {"cubic": cv2.INTER_CUBIC, "linear": cv2.INTER_LINEAR}
_BLOCK = 1 << 20
"""Pixels that are made at a time: a large picture has no room for copies."""


def enlarge(depth: FloatImage, width: int, height: int, how: Enlargement) -> FloatImage:
    """(h, w) to (height, width), float32."""
    if how == "corners":
        return _corners(depth, width, height)
    return np.asarray(cv2.resize(depth, (width, height), interpolation=_CV2[how]), np.float32)


def _corners(depth: FloatImage, width: int, height: int) -> FloatImage:
    """Bilinear, with ``align_corners=True``."""
    left, right, x = _places(depth.shape[1], width)
    wide = _between(depth[:, left], depth[:, right], x)
    above, below, y = _places(depth.shape[0], height)
    enlarged = np.empty((height, width), np.float32)
    rows = max(_BLOCK // width, 1)
    for start in range(0, height, rows):
        block = slice(start, start + rows)
        enlarged[block] = _between(wide[above[block]], wide[below[block]], y[block, None])
    return enlarged


def _places(old: int, new: int) -> tuple[np.ndarray, np.ndarray, FloatImage]:
    """Of each new pixel: those before and behind it, and how far it is from the first to the second."""
    at = np.arange(new) * ((old - 1) / max(new - 1, 1))
    before = at.astype(np.intp)
    return before, np.minimum(before + 1, old - 1), (at - before).astype(np.float32)


def _between(a: FloatImage, b: FloatImage, share: FloatImage) -> FloatImage:
    return a + (b - a) * share
