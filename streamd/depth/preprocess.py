"""From a picture to the network's input: to the letter for stills, in one pass for video."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from streamd.depth.models.base import Preprocessing
from streamd.media.frames import ByteImage, FloatImage, Picture, Scaler, yuv_planes

_CV2 = {"cubic": cv2.INTER_CUBIC, "linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}


def network_size(width: int, height: int, how: Preprocessing) -> tuple[int, int]:
    """(width, height) that the network sees of a picture of this size.

    MiDaS's ``Resize``: rounds half to even, so with 256 as the upper bound 1280x720 becomes 256x128 and 704x576
    becomes 256x224. One step is the minimum, where the reference would make a side of 0. Of a picture so long that the
    network would see more than ``max_pixels``, which the reference does not bound, the largest that keeps the aspect
    within them; ``max_side`` is the maximum.
    """
    across, down = how.input_size / width, (how.height or how.input_size) / height
    match how.fit:
        case "upper_bound":
            across = down = min(across, down)
        case "lower_bound":
            across = down = max(across, down)
        case "minimal":
            across = down = min(down, across, key=lambda scale: abs(1 - scale))
        case "exact":
            pass
    size = _snap(width * across, how), _snap(height * down, how)
    if size[0] * size[1] <= how.max_pixels:
        return size
    smaller = math.sqrt(how.max_pixels / (width * across * height * down))
    step, most = how.multiple_of, how.max_side
    longer = min(_down(max(width * across, height * down) * smaller, step), most // step * step)
    shorter = min(_snap(longer * min(width / height, height / width), how), _down(how.max_pixels / longer, step))
    return (longer, shorter) if width > height else (shorter, longer)


def _snap(side: float, how: Preprocessing) -> int:
    step = how.multiple_of
    snapped = round(side / step) * step
    if snapped > how.max_side:
        snapped = min(_down(side, step), how.max_side)
    return max(snapped, step)


def _down(side: float, step: int) -> int:
    """To a multiple."""
    return int(side // step) * step


def still_input(rgb: ByteImage, how: Preprocessing) -> FloatImage:
    """(h, w, 3) RGB uint8 to (3, h', w') float32, in the reference's own order and precision:
    float64 in [0, 1], resize, normalise, then float32 (MiDaS ``transforms.py``)."""
    height, width = rgb.shape[:2]
    size, kernel = network_size(width, height, how), _CV2[how.interpolation]
    if how.resized_as == "uint8":
        small = np.asarray(cv2.resize(rgb, size, interpolation=kernel)) / 255.0
    else:  # channel by channel: the same numbers, at a third of the memory that a large photo would take
        small = np.stack([cv2.resize(rgb[..., c] / 255.0, size, interpolation=kernel) for c in range(3)], axis=-1)
    if how.colours == "bgr":
        small = small[..., ::-1]
    normal = (small - np.array(how.mean)) / np.array(how.std)
    return np.ascontiguousarray(normal.transpose(2, 0, 1), dtype=np.float32)


class VideoPreprocessor:
    """Decoded YUV to the network's input, with no full-size RGB on the way. One per thread.

    Resizing and the colour matrix are both linear, so they change places: three planes are resized
    and the matrix meets the network's few pixels only. Cubic is OpenCV's, as in the reference:
    swscale's smooths first, and its pixels are 5.6 code values off where these are 1.3 (measured).
    """

    def __init__(self) -> None:
        self._scaler = Scaler()
        self._matrices: dict[tuple[int, bool], _Matrix] = {}

    def __call__(self, picture: Picture, how: Preprocessing) -> tuple[FloatImage, ByteImage]:
        """The network's input, (3, h, w) float32, and (h, w) uint8 luma."""
        size = network_size(picture.width, picture.height, how)
        if picture.format.name not in _PLANAR:
            picture = self._scaler.yuv420(picture, picture.width, picture.height)
        if how.interpolation == "area":  # a kernel that swscale has too, and is five times as fast at
            picture = self._scaler.shrink(picture, *size)
        kernel = cv2.INTER_LINEAR if how.interpolation == "linear" else cv2.INTER_CUBIC
        small = [cv2.resize(plane, size, interpolation=kernel) for plane in yuv_planes(picture)]
        rgb = _to_rgb(small, self._matrix(picture))
        np.clip(rgb, 0.0, 1.0, out=rgb)
        if how.colours == "bgr":
            rgb = rgb[::-1]
        rgb -= np.array(how.mean, np.float32)[:, None, None]
        rgb /= np.array(how.std, np.float32)[:, None, None]
        return rgb, small[0]

    def _matrix(self, picture: Picture) -> _Matrix:
        key = (int(picture.colorspace), int(picture.color_range) == _FULL or picture.format.name.startswith("yuvj"))
        if key not in self._matrices:
            self._matrices[key] = _yuv_to_rgb(*key)
        return self._matrices[key]


_PLANAR = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p")
_FULL = 2  # AVCOL_RANGE_JPEG
# (Kr, Kb) by AVColorSpace; an unspecified one counts as BT.601, as in swscale and OpenCV.
_WEIGHTS = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
_BT601 = (0.299, 0.114)


_Matrix = list[tuple[float, float, float, float]]
"""YUV codes to RGB in [0, 1]: for each of red, green and blue its shares of Y, U and V, and what is added."""


def _to_rgb(yuv: Sequence[ByteImage], matrix: _Matrix) -> FloatImage:
    """(h, w) each to (3, h, w). Not by a product of matrices: for that NumPy starts threads, which wait for each other
    on a busy machine (30 ms for what takes 0.3 ms, measured)."""
    luma = yuv[0].astype(np.float32)
    rgb = np.empty((3, *luma.shape), np.float32)
    for (y, u, v, added), plane in zip(matrix, rgb, strict=True):
        chroma = cv2.addWeighted(yuv[1], u, yuv[2], v, added, dtype=cv2.CV_32F)
        cv2.scaleAdd(luma, y, chroma, dst=plane)
    return rgb


def _yuv_to_rgb(colorspace: int, full_range: bool) -> _Matrix:
    """ITU-T H.273, section 8.3, solved for RGB."""
    red, blue = _WEIGHTS.get(colorspace, _BT601)
    green = 1 - red - blue
    matrix = np.array(
        [
            [1, 0, 2 * (1 - red)],
            [1, -2 * (1 - blue) * blue / green, -2 * (1 - red) * red / green],
            [1, 2 * (1 - blue), 0],
        ]
    )
    scale = np.array([1 / 255, 1 / 255, 1 / 255] if full_range else [1 / 219, 1 / 224, 1 / 224])
    zero = np.array([0 if full_range else 16, 128, 128])
    matrix = matrix * scale
    return [(float(row[0]), float(row[1]), float(row[2]), float(-(row @ zero))) for row in matrix]
