"""Test pictures, and what must be true of the pictures that come out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.support.waiting import scaled

Rgb = NDArray[np.uint8]

INFERNO: Rgb = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1]


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)], check=True, timeout=scaled(60))


def make_clip(path: Path, seconds: float, *, size: str = "320x180", rate: int = 25) -> Path:
    ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}:duration={seconds}"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", path),
    )
    return path


def make_still(path: Path, graph: str = "testsrc2=size=320x180") -> Path:
    ffmpeg("-f", "lavfi", "-i", graph, "-frames:v", "1", "-pix_fmt", "rgb24", path)
    return path


def read(data: bytes) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """A picture file to an array as deep and as wide as the file is; RGB where it has colour."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return pixels[..., ::-1] if pixels.ndim == 3 else pixels


def off_inferno(rgb: Rgb) -> NDArray[np.int64]:
    """Of each pixel, how far the nearest colour of Inferno is: the channel that is off most."""
    pixels = np.unique(rgb.reshape(-1, 3), axis=0, return_inverse=True)
    colours, where = pixels[0].astype(np.int64), pixels[1]
    off = np.abs(colours[:, None] - INFERNO[None].astype(np.int64)).max(axis=2).min(axis=1)
    return off[where.reshape(-1)]


def difference(a: Rgb, b: Rgb) -> float:
    """Mean |a - b| over all pixels and channels."""
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).mean())
