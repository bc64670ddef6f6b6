"""From a picture to the network's input: to the letter for stills, in one pass for video."""

from __future__ import annotations

import cv2
import numpy as np

from streamd.depth.models.base import Preprocessing
from streamd.media import ByteImage, FloatImage, Picture, Scaler

_CV2 = {"cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}


def network_size(width: int, height: int, how: Preprocessing) -> tuple[int, int]:
    """(width, height) that the network sees of a picture of this size.

    MiDaS's ``Resize(256, 256, keep_aspect_ratio, multiple of 32, "upper_bound")``: rounds half
    to even, so 1280x720 becomes 256x128 and 704x576 becomes 256x224. One step is the least, where
    the reference would make a side of 0.
    """
    scale = min(how.input_size / width, how.input_size / height)
    return _snap(width * scale, how), _snap(height * scale, how)


def _snap(side: float, how: Preprocessing) -> int:
    step = how.multiple_of
    snapped = round(side / step) * step
    if snapped > how.input_size:
        snapped = int(side // step) * step
    return max(snapped, step)


def still_input(rgb: ByteImage, how: Preprocessing) -> FloatImage:
    """(h, w, 3) RGB uint8 to (3, h', w') float32, in the reference's own order and precision:
    float64 in [0, 1], resize, normalise, then float32 (MiDaS ``transforms.py``)."""
    height, width = rgb.shape[:2]
    size = network_size(width, height, how)
    small = cv2.resize(rgb / 255.0, size, interpolation=_CV2[how.interpolation])
    normal = (small - np.array(how.mean)) / np.array(how.std)
    return np.ascontiguousarray(normal.transpose(2, 0, 1), dtype=np.float32)


class VideoPreprocessor:
    """Decoded YUV straight to the network's size in one swscale pass. One per thread."""

    def __init__(self) -> None:
        self._scaler = Scaler()
        self._tables: dict[Preprocessing, FloatImage] = {}

    def __call__(self, picture: Picture, how: Preprocessing) -> tuple[FloatImage, ByteImage]:
        """The network's input, (3, h, w) float32, and (h, w) uint8 luma (the green channel)."""
        width, height = network_size(picture.width, picture.height, how)
        rgb = self._scaler.rgb(picture, width, height, how.interpolation)
        tables = self._table(how)
        planes = np.empty((3, height, width), np.float32)
        for channel in range(3):
            np.take(tables[channel], rgb[..., channel], out=planes[channel], mode="clip")
        return planes, np.ascontiguousarray(rgb[..., 1])

    def _table(self, how: Preprocessing) -> FloatImage:
        """(3, 256) float32: what each byte of each channel becomes."""
        table = self._tables.get(how)
        if table is None:
            codes = np.arange(256)[None, :] / 255.0
            table = (codes - np.array(how.mean)[:, None]) / np.array(how.std)[:, None]
            table = self._tables[how] = table.astype(np.float32)
        return table
