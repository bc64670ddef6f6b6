"""What viewers see: depth, the picture, or both, drawn straight into YUV 4:2:0."""

from __future__ import annotations

import cv2
import numpy as np

from streamd.config.sections import Edges, View
from streamd.media.frames import ByteImage, FloatImage, Picture, Planes, Scaler, canvas, yuv_planes
from streamd.media.hub import DEPTH_VIEWS
from streamd.render.colormap import GRAY_Y, INFERNO_U, INFERNO_V, INFERNO_Y, NEUTRAL
from streamd.render.edges import drawn

WIDE_VIEWS = ("side-by-side", "rgbd")


def published_size(width: int, height: int, max_height: int | None) -> tuple[int, int]:
    """Even sides, as 4:2:0 needs, never enlarged, the aspect kept."""
    if max_height is not None and height > max_height:
        width, height = round(width * max_height / height), max_height
    return max(2, width & ~1), max(2, height & ~1)


def half_size(width: int, height: int) -> tuple[int, int]:
    """Half of each side, still even."""
    return max(2, width // 2 & ~1), max(2, height // 2 & ~1)


def half_will_do(size: tuple[int, int], depth: FloatImage | ByteImage) -> bool:
    """Whether half of this (width, height) holds all of a depth map: where it is no smaller than the map, enlarging it
    gives the full picture at 54 dB of luma and more (measured at 1.25 to 3.75 times the map's size)."""
    (width, height), (rows, columns) = half_size(*size), depth.shape
    return bool(width >= columns and height >= rows)


class Renderer:
    """Draws the views of one stream. One thread; a canvas is drawn over at the next frame."""

    def __init__(self, overlay_alpha: float = 0.5, scaler: Scaler | None = None, edges: Edges = "plain") -> None:
        """``scaler``: that of the thread, when it has several renderers."""
        self._alpha = overlay_alpha
        self._edges: Edges = edges
        self._scaler = scaler or Scaler()
        self._canvases: dict[tuple[View, bool], Picture] = {}
        self._drawn: set[tuple[View, bool]] = set()
        """What has been drawn of this frame: several encoders may want the same."""
        self._size = (0, 0)
        self._small: ByteImage = np.zeros((1, 1), np.uint8)
        """The codes of the depth, as large as its map."""
        self._codes: dict[tuple[int, int], ByteImage] = {}
        """The same at the sizes that this frame was drawn at."""
        self._picture: Picture | None = None

    def begin(self, normalised: FloatImage, picture: Picture, max_height: int | None) -> None:
        """The frame to draw: (h, w) float32 in [0, 1] at the network's size, and its picture, which is only read."""
        self._picture = picture
        self._drawn.clear()
        self._size = published_size(picture.width, picture.height, max_height)
        self._small = cv2.convertScaleAbs(drawn(normalised, self._edges), alpha=255.0)
        self._codes.clear()

    def draw(self, view: View, *, half: bool = False) -> Picture:
        """yuv420p, BT.601 limited range; ``half`` is half as wide and high. Valid until the next frame begins."""
        width, height = self._size
        size = (2 * width if view in WIDE_VIEWS else width, height)
        target = self._canvas((view, half), *(half_size(*size) if half else size))
        if (view, half) in self._drawn:
            return target
        self._drawn.add((view, half))
        if half and not (view in DEPTH_VIEWS and half_will_do(self._size, self._small)):
            full = yuv_planes(self.draw(view))
            for plane, small in zip(full, yuv_planes(target), strict=True):
                cv2.resize(plane, (small.shape[1], small.shape[0]), dst=small, interpolation=cv2.INTER_AREA)
        else:
            self._draw(view, yuv_planes(target))
        return target

    def _draw(self, view: View, planes: Planes) -> None:
        if view == "depth":
            self._draw_depth(planes)
        elif view == "gray":
            self._draw_gray(planes)
        elif view == "source":
            _copy(self._source(), planes)
        elif view == "overlay":
            self._draw_depth(planes)
            for source, plane in zip(self._source(), planes, strict=True):
                cv2.addWeighted(plane, self._alpha, source, 1 - self._alpha, 0, dst=plane)
        else:
            left, right = _halves(planes)
            _copy(self._source(), left)
            (self._draw_depth if view == "side-by-side" else self._draw_gray)(right)

    def _canvas(self, key: tuple[View, bool], width: int, height: int) -> Picture:
        target = self._canvases.get(key)
        if target is None or (target.width, target.height) != (width, height):
            target = self._canvases[key] = canvas(width, height)
        return target

    def _draw_depth(self, planes: Planes) -> None:
        for plane, colours in zip(planes, (INFERNO_Y, INFERNO_U, INFERNO_V), strict=True):
            cv2.LUT(self._codes_like(plane), colours, dst=plane)

    def _draw_gray(self, planes: Planes) -> None:
        cv2.LUT(self._codes_like(planes[0]), GRAY_Y, dst=planes[0])
        planes[1][:] = planes[2][:] = NEUTRAL

    def _codes_like(self, plane: ByteImage) -> ByteImage:
        height, width = plane.shape
        codes = self._codes.get((width, height))
        if codes is None:
            codes = cv2.resize(self._small, (width, height), interpolation=cv2.INTER_LINEAR)
            self._codes[width, height] = codes = np.asarray(codes)
        return codes

    def _source(self) -> Planes:
        assert self._picture is not None
        return yuv_planes(self._scaler.yuv420(self._picture, *self._size))


def _halves(planes: Planes) -> tuple[Planes, Planes]:
    halves = [(plane[:, : plane.shape[1] // 2], plane[:, plane.shape[1] // 2 :]) for plane in planes]
    return tuple(left for left, _ in halves), tuple(right for _, right in halves)  # type: ignore[return-value]


def _copy(source: Planes, target: Planes) -> None:
    for a, b in zip(source, target, strict=True):
        b[:] = a


def draw_still(view: View, normalised: FloatImage, rgb: ByteImage, overlay_alpha: float = 0.5) -> ByteImage:
    """One picture in full colour, in the order that OpenCV writes: (h, w) in [0, 1] and (h, w, 3) RGB of one size
    to (h, w or 2w, 3) BGR. Each part is drawn where it belongs: a large picture has no room for copies."""
    height, width = normalised.shape
    pixels = np.empty((height, 2 * width if view in WIDE_VIEWS else width, 3), np.uint8)
    source, depth = pixels[:, :width], pixels[:, -width:]
    codes = cv2.convertScaleAbs(normalised, alpha=255.0)
    if view in ("gray", "rgbd"):
        cv2.cvtColor(codes, cv2.COLOR_GRAY2BGR, dst=depth)
    elif view != "source":
        cv2.applyColorMap(codes, cv2.COLORMAP_INFERNO, dst=depth)
    if view == "overlay":
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        cv2.addWeighted(depth, overlay_alpha, bgr, 1 - overlay_alpha, 0, dst=depth)
    elif view == "source" or view in WIDE_VIEWS:
        cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR, dst=source)
    return pixels
