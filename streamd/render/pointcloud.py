"""A point cloud from relative inverse depth, as a binary PLY file that any viewer opens."""

from __future__ import annotations

import math

import numpy as np

from streamd.media.frames import ByteImage, FloatImage

NEAREST, FARTHEST = 1.0, 10.0
"""Arbitrary units: the network knows no metres."""


_HEADER = """ply
format binary_little_endian 1.0
comment relative depth, no metres
element vertex {count}
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
end_header
"""
_POINT = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)])


def ply(inverse_depth: FloatImage, rgb: ByteImage, horizontal_fov_degrees: float) -> memoryview:
    """(h, w) and (h, w, 3) to a file of h * w points: x right, y up, z towards the viewer.

    Pinhole camera. Distance is 1 / inverse depth after the range of the picture is mapped to
    [1/10, 1], so the far end stays finite (MiDaS#4: viewers want distance, not its inverse).
    """
    height, width = inverse_depth.shape
    low, high = float(inverse_depth.min()), float(inverse_depth.max())
    normalised = (inverse_depth - low) / max(high - low, 1e-12)
    distance = 1.0 / (1 / FARTHEST + normalised * (1 / NEAREST - 1 / FARTHEST))
    focal_px = width / 2 / math.tan(math.radians(horizontal_fov_degrees) / 2)
    x = (np.arange(width, dtype=np.float32) - (width - 1) / 2) / focal_px
    y = (np.arange(height, dtype=np.float32) - (height - 1) / 2) / focal_px
    header = _HEADER.format(count=height * width).encode()
    file = np.empty(len(header) + height * width * _POINT.itemsize, np.uint8)  # joining would copy it once more
    file[: len(header)] = np.frombuffer(header, np.uint8)
    points = file[len(header) :].view(_POINT).reshape(height, width)
    points["xyz"] = np.stack([x[None, :] * distance, -y[:, None] * distance, -distance], axis=-1)
    points["rgb"] = rgb
    return file.data
