"""One frame as robots take it: depth, colour and camera of one size, in ROS's optical frame."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from streamd.config.sections import StreamConfig
from streamd.depth.calibration import Calibration
from streamd.media.frames import ByteImage, FloatImage, NormalisedFrame, Scaler
from streamd.render.pointcloud import HORIZON_METRES, Pinhole, pinhole

POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4")])
"""Of a cloud: x right, y down, z forward (REP 103), metres; colour as 0x00RRGGBB."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Immutable. All arrays are of the network's size: a larger picture would hold no more depth."""

    stamp_ns: int
    """Unix time of the capture."""
    inverse_depth: FloatImage
    """(h, w): relative, larger is nearer."""
    metres: FloatImage | None
    """(h, w) along the optical axis (REP 118); NaN where there is none, as in the sky. None: not calibrated."""
    rgb: ByteImage
    """(h, w, 3)."""
    camera: Pinhole

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        height, width = self.inverse_depth.shape
        return width, height

    @property
    def intrinsic(self) -> list[float]:
        """K of sensor_msgs/CameraInfo: (3, 3), row by row."""
        lens = self.camera
        return [lens.fx, 0.0, lens.cx, 0.0, lens.fy, lens.cy, 0.0, 0.0, 1.0]

    @property
    def projection(self) -> list[float]:
        """P of sensor_msgs/CameraInfo: (3, 4), row by row."""
        lens = self.camera
        return [lens.fx, 0.0, lens.cx, 0.0, 0.0, lens.fy, lens.cy, 0.0, 0.0, 0.0, 1.0, 0.0]

    def cloud(self) -> np.ndarray[tuple[int], np.dtype[np.void]] | None:
        """(n,) of POINT; None: not calibrated."""
        if self.metres is None:
            return None
        rows, columns = np.nonzero(np.isfinite(self.metres))
        z = self.metres[rows, columns]
        points = np.empty(len(z), POINT)
        points["x"] = (columns - self.camera.cx) / self.camera.fx * z
        points["y"] = (rows - self.camera.cy) / self.camera.fy * z
        points["z"] = z
        red, green, blue = self.rgb[rows, columns].astype(np.uint32).T
        points["rgb"] = red << 16 | green << 8 | blue
        return points


def sample_of(frame: NormalisedFrame, config: StreamConfig, calibration: Calibration | None, scaler: Scaler) -> Sample:
    """``scaler`` is that of the thread."""
    depth, picture = frame.frame.inverse_depth, frame.frame.picture
    height, width = depth.shape
    metres = None
    if calibration is not None:
        metres = calibration.metres(depth)
        metres = np.where(metres <= HORIZON_METRES, metres, np.float32(np.nan))
    captured = time.time_ns() - int(frame.frame.stamp.age_s() * 1e9)
    rgb = scaler.rgb(scaler.shrink(picture, width, height))
    return Sample(captured, depth, metres, rgb, camera_of((picture.width, picture.height), (width, height), config))


def camera_of(picture: tuple[int, int], size: tuple[int, int], config: StreamConfig) -> Pinhole:
    """Of a picture that is shrunk to ``size``; both (width, height)."""
    camera = pinhole(picture[1], picture[0], config.horizontal_fov_degrees, config.intrinsics)
    across, down = size[0] / picture[0], size[1] / picture[1]
    return Pinhole(
        camera.fx * across,
        camera.fy * down,
        (camera.cx + 0.5) * across - 0.5,
        (camera.cy + 0.5) * down - 0.5,
    )
