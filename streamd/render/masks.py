"""Masked areas, blacked out before anything else gets the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from streamd.media.frames import ByteImage, Picture, Planes, Scaler, yuv_planes

Polygon = Sequence[tuple[float, float]]

_PLANAR = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p")
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_BLACK, _BLACK_FULL, _NEUTRAL = 16, 0, 128
_SUBPIXEL_BITS = 8
_MAX_PX = 1e5
"""Points beyond it are drawn there: OpenCV's numbers have an end."""


@dataclass(frozen=True)
class _Cover:
    """What is laid over one plane."""

    where: ByteImage
    """255 where it is black."""
    color: ByteImage


class Masks:
    """Blacks out polygons of (x, y): fractions of width and height when no value of a polygon
    is above 1, else pixels. One per stream and thread."""

    def __init__(self, polygons: Sequence[Polygon]) -> None:
        self._polygons = [np.array(polygon, np.float64) for polygon in polygons]
        self._scaler = Scaler()
        self._covers: list[_Cover] = []
        self._made_for: object = None

    def __call__(self, picture: Picture) -> Picture:
        """The picture without what is masked; itself when there are no masks.

        The decoder may still refer to its pixels, so they are copied first where they are shared.
        What is not planar 8-bit YUV comes back as yuv420p. A cover reaches up to 2 px beyond its
        polygon, never less than it.
        """
        if not self._polygons:
            return picture
        if picture.format.name not in _PLANAR:
            picture = self._scaler.yuv420(picture, picture.width, picture.height)
        picture.make_writable()
        planes = yuv_planes(picture)
        for plane, cover in zip(planes, self._covers_for(picture, planes), strict=True):
            cv2.copyTo(cover.color, cover.where, plane)
        return picture

    def _covers_for(self, picture: Picture, planes: Planes) -> list[_Cover]:
        full = picture.color_range == _FULL_RANGE or picture.format.name.startswith("yuvj")
        key = (picture.width, picture.height, picture.format.name, full)
        if key != self._made_for:
            luma = self._drawn(picture.width, picture.height)
            colors = (_BLACK_FULL if full else _BLACK, _NEUTRAL, _NEUTRAL)
            self._covers = [_cover(luma, plane, color) for plane, color in zip(planes, colors, strict=True)]
            self._made_for = key
        return self._covers

    def _drawn(self, width: int, height: int) -> ByteImage:
        """(h, w): 255 wherever any part of a pixel is masked."""
        drawn = np.zeros((height, width), np.uint8)
        for polygon in self._polygons:
            points = polygon * (width, height) if polygon.max() <= 1 else polygon
            # Our pixels reach from x to x + 1, OpenCV's from x - 1/2 to x + 1/2.
            fixed = np.round((points.clip(-_MAX_PX, _MAX_PX) - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
            cv2.fillPoly(drawn, [fixed], 255, shift=_SUBPIXEL_BITS)
        # fillPoly goes by the middles of pixels: one more all round, so that no corner shows.
        return np.asarray(cv2.dilate(drawn, np.ones((3, 3), np.uint8)))


def _cover(luma: ByteImage, plane: ByteImage, color: int) -> _Cover:
    """For a plane of the luma's size or of half of it: a pixel of which any part is masked is black."""
    height, width = plane.shape
    across, down = -(-luma.shape[1] // width), -(-luma.shape[0] // height)
    padded = np.zeros((height * down, width * across), np.uint8)
    padded[: luma.shape[0], : luma.shape[1]] = luma
    where = padded.reshape(height, down, width, across).max(axis=(1, 3))
    return _Cover(np.ascontiguousarray(where), np.full((height, width), color, np.uint8))
