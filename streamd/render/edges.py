"""Crisp edges of a depth map for the eye: a network blurs them over several pixels of its small map.

For what is shown only, never for values: what lies between near and far is moved to the nearer of both.
"""

from __future__ import annotations

import cv2
import numpy as np

from streamd.config.sections import Edges
from streamd.media.frames import FloatImage

_KERNEL = np.ones((5, 5), np.uint8)
_STEEPER = 2.0
_FAINT, _CLEAR = 8 / 255, 32 / 255
"""Steps of this share of the range are left as they are, and are wholly crisp; between, in proportion."""


def drawn(normalised: FloatImage, edges: Edges) -> FloatImage:
    """(h, w) in [0, 1] at the network's size, with its edges as they are to be drawn: the array itself for `plain`.

    Each value is placed between the least and the greatest of the 5x5 around it, and moved away from their middle: an
    edge gets half as wide, and nothing is added of the picture's texture.
    """
    if edges == "plain":
        return normalised
    low = cv2.erode(normalised, _KERNEL)
    step = cv2.subtract(cv2.dilate(normalised, _KERNEL), low)
    moved = (normalised - low) * np.float32(_STEEPER) - step * np.float32((_STEEPER - 1) / 2)
    moved = cv2.add(cv2.min(cv2.max(moved, 0.0), step), low)
    weight = np.clip((step - np.float32(_FAINT)) * np.float32(1 / (_CLEAR - _FAINT)), 0.0, 1.0)
    return np.asarray(normalised + (moved - normalised) * weight)
