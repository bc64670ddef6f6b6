"""A point cloud from relative inverse depth, or from metres, as a binary PLY file that any viewer opens."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from streamd.config.sections import Intrinsics
from streamd.media.frames import ByteImage, FloatImage

NEAREST, FARTHEST = 1.0, 10.0
"""Arbitrary units: the network knows no metres."""
HORIZON_METRES = 1000.0
"""What is farther is left out, as is the sky: viewers would show nothing else."""

_HEADER = """ply
format binary_little_endian 1.0
comment {unit}
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


class Pinhole(NamedTuple):
    """A camera without distortion; in pixels, the middle of the first at 0."""

    fx: float
    fy: float
    cx: float
    cy: float


def pinhole(height: int, width: int, horizontal_fov_degrees: float, intrinsics: Intrinsics | None = None) -> Pinhole:
    """Of a picture of this size. ``intrinsics`` as in the configuration: shares of its sides, or pixels."""
    if intrinsics is None:
        focal = width / 2 / math.tan(math.radians(horizontal_fov_degrees) / 2)
        return Pinhole(focal, focal, (width - 1) / 2, (height - 1) / 2)
    fx, fy, cx, cy = intrinsics
    if cx > 1 or cy > 1:
        return Pinhole(fx, fy, cx, cy)
    return Pinhole(fx * width, fy * height, cx * width - 0.5, cy * height - 0.5)


def ply(inverse_depth: FloatImage, rgb: ByteImage, camera: Pinhole, metres: FloatImage | None = None) -> memoryview:
    """(h, w) and (h, w, 3) to a file of a point for each pixel: x right, y up, z towards the viewer.

    Distance is along the optical axis: ``metres`` (h, w) where there are some. Else it is 1 / inverse depth after the
    range of the picture is mapped to [1/10, 1], so the far end stays finite (MiDaS#4: viewers want distance, not its
    inverse).
    """
    if metres is None:
        distance, unit = _relative(inverse_depth), "relative depth, no metres"
    else:
        distance, unit = metres, "metres"
    height, width = distance.shape
    x = (np.arange(width, dtype=np.float32) - np.float32(camera.cx)) / np.float32(camera.fx)
    y = (np.arange(height, dtype=np.float32) - np.float32(camera.cy)) / np.float32(camera.fy)
    seen = distance <= HORIZON_METRES
    count = int(np.count_nonzero(seen))
    header = _HEADER.format(unit=unit, count=count).encode()
    file = np.empty(len(header) + count * _POINT.itemsize, np.uint8)  # joining would copy it once more
    file[: len(header)] = np.frombuffer(header, np.uint8)
    points = file[len(header) :].view(_POINT)
    x, y = np.broadcast_to(x, seen.shape), np.broadcast_to(y[:, None], seen.shape)
    if count < seen.size:
        distance, x, y, rgb = distance[seen], x[seen], y[seen], rgb[seen]
    else:
        points = points.reshape(seen.shape)
    points["xyz"] = np.stack([x * distance, -y * distance, -distance], axis=-1)
    points["rgb"] = rgb
    return file.data


def _relative(inverse_depth: FloatImage) -> FloatImage:
    low, high = float(inverse_depth.min()), float(inverse_depth.max())
    normalised = (inverse_depth - low) / max(high - low, 1e-12)
    return np.asarray(1.0 / (1 / FARTHEST + normalised * (1 / NEAREST - 1 / FARTHEST)), np.float32)
