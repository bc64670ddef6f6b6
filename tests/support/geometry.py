"""Scenes whose geometry is known: what a perfect network would say of them, and what is true."""

from __future__ import annotations

import math

import numpy as np

from streamd.media.frames import FloatImage

FOV_DEGREES = 60.0
ASPECT = 112 / 192
"""Height over width of the picture."""
SIZE = (256, 128)
"""(width, height) of the depth, px."""


def rays(width: int, height: int) -> tuple[FloatImage, FloatImage]:
    """(h, w) each: how far right and how far down a ray is at a distance of 1. The network's pixels need not be square:
    they are of a picture with ASPECT."""
    half = math.tan(math.radians(FOV_DEGREES) / 2)
    x = (2 * (np.arange(width) + 0.5) / width - 1) * half
    y = (2 * (np.arange(height) + 0.5) / height - 1) * half * ASPECT
    right, down = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    return right, down


def plane(width: int = SIZE[0], height: int = SIZE[1]) -> FloatImage:
    """Metres: a wall that goes away to the right, from 2 m on."""
    right, _ = rays(width, height)
    return np.asarray(3.0 / (1 - 0.8 * right), np.float32)


def box(width: int = SIZE[0], height: int = SIZE[1]) -> FloatImage:
    """Metres: a box 2 m away in front of a wall 6 m away."""
    right, down = rays(width, height)
    front = (np.abs(right) < 0.25) & (np.abs(down) < 0.2)
    return np.where(front, np.float32(2), np.float32(6))


def ramp(width: int = SIZE[0], height: int = SIZE[1]) -> FloatImage:
    """Metres: a floor 1.2 m below the camera that rises, up to a wall 8 m away."""
    _, down = rays(width, height)
    with np.errstate(divide="ignore"):
        floor = 1.2 / (down + 0.1)
    return np.where((floor > 0) & (floor < 8), floor, np.float32(8)).astype(np.float32)


SCENES = {"plane": plane, "box": box, "ramp": ramp}
A, B = 0.004, 0.05
"""1 / metres = A * inverse depth + B: the network has a scale of its own, as MiDaS has, in the hundreds."""


def inverse_depth(metres: FloatImage) -> FloatImage:
    """What a perfect network says of the scene."""
    return np.asarray((1 / metres - B) / A, np.float32)
