"""A point cloud from relative inverse depth, as a binary PLY file that any viewer opens."""

from __future__ import annotations

import math

import numpy as np

from streamd.media.frames import ByteImage, FloatImage

NEAREST, FARTHEST = 1.0, 10.0
"""Made-up units: the network knows no metres, so the range is mapped to a pleasant one."""


def ply(inverse_depth: FloatImage, rgb: ByteImage, horizontal_fov_degrees: float) -> bytes:
    """(h, w) and (h, w, 3) to a file of h * w points: x right, y up, z towards the viewer.

    Pinhole camera. Distance is 1 / inverse depth after the range of the picture is mapped to
    [1/10, 1], so the far end stays finite (MiDaS#4: viewers want distance, not its inverse).
    """
    height, width = inverse_depth.shape
    low, high = float(inverse_depth.min()), float(inverse_depth.max())
    share = (inverse_depth - low) / max(high - low, 1e-12)
    distance = 1.0 / (1 / FARTHEST + share * (1 / NEAREST - 1 / FARTHEST))
    focal_px = width / 2 / math.tan(math.radians(horizontal_fov_degrees) / 2)
    x = (np.arange(width, dtype=np.float32) - (width - 1) / 2) / focal_px
    y = (np.arange(height, dtype=np.float32) - (height - 1) / 2) / focal_px
    points = np.empty(height * width, [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    points["xyz"] = np.stack([x[None, :] * distance, -y[:, None] * distance, -distance], axis=-1).reshape(-1, 3)
    points["rgb"] = rgb.reshape(-1, 3)
    header = (
        "ply\nformat binary_little_endian 1.0\ncomment relative depth, no metres\n"
        f"element vertex {points.size}\n"
        "property float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n"
    )
    return b"".join((header.encode(), points.data))
