"""Inferno as tables: depth to RGB for stills, depth to Y, U and V for video, with no RGB detour.

Video is BT.601 limited range, and its headers declare it: readers that use the headers and those
that assume BT.601 (OpenCV's) then see the same colours.
"""

from __future__ import annotations

import cv2
import numpy as np

from streamd.media.frames import ByteImage

# (256, 3) RGB uint8. The map is Inferno by N. Smith and S. van der Walt (CC0), as OpenCV ships it.
INFERNO_RGB: ByteImage = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1]


def _to_yuv(rgb: ByteImage) -> tuple[ByteImage, ByteImage, ByteImage]:
    """(256, 3) RGB to three (256,) tables, ITU-R BT.601 section 3.5, 8 bit."""
    red, green, blue = (rgb[:, channel] / 255.0 for channel in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = (16 + 219 * luma, 128 + 224 * (blue - luma) / 1.772, 128 + 224 * (red - luma) / 1.402)
    return tuple(np.rint(plane).astype(np.uint8) for plane in planes)  # type: ignore[return-value]


INFERNO_Y, INFERNO_U, INFERNO_V = _to_yuv(INFERNO_RGB)
GRAY_Y: ByteImage = np.rint(16 + 219 * np.arange(256) / 255).astype(np.uint8)
NEUTRAL = 128
