"""Gray TIFF with alpha. OpenCV gives no alpha of it, so it is read as a gray picture of twice the width."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamd.render.tags import Bytes

_WIDTH, _BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _EXTRA = 256, 258, 262, 274, 277, 338
_PLANES, _PREDICTOR, _TILE_WIDTH = 284, 317, 322
_MAX_WIDTH = 1 << 19  # OpenCV reads twice as much
_BLACK_IS_ZERO, _DIFFERENCES = 1, 2


@dataclass(frozen=True)
class GrayAlpha:
    width: int
    bits: int
    are_differences: bool
    """Samples are stored as differences to those before them in the row (TIFF 6.0, section 14)."""

    @classmethod
    def of(cls, tags: dict[int, tuple[int, ...]]) -> GrayAlpha | None:
        """None for another kind of TIFF."""
        bits = tags.get(_BITS, (1,))
        plain = tags.get(_PLANES, (1,)) == (1,) and _TILE_WIDTH not in tags and bits in ((8, 8), (16, 16))
        gray = tags.get(_SAMPLES) == (2,) and tags.get(_PHOTOMETRIC) in ((0,), (1,))
        alpha = tags.get(_EXTRA) in ((1,), (2,))
        width = tags.get(_WIDTH, (0,))[0]
        if not (plain and gray and alpha and 0 < width < _MAX_WIDTH):
            return None
        return cls(width, bits[0], tags.get(_PREDICTOR) == (_DIFFERENCES,))

    def as_gray(self, data: Bytes) -> bytes:
        """The same file with another directory, at its end."""
        order = "<" if bytes(data[:2]) == b"II" else ">"
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        changed = {_BITS: self.bits, _PHOTOMETRIC: _BLACK_IS_ZERO, _SAMPLES: 1}
        entries = []
        for start in range(at + 2, min(at + 2 + 12 * count, len(data) - 11), 12):
            (tag,) = struct.unpack_from(f"{order}H", data, start)
            if tag in changed:
                entries.append(struct.pack(f"{order}HHIHxx", tag, 3, 1, changed[tag]))
            elif tag == _WIDTH:
                entries.append(struct.pack(f"{order}HHII", tag, 4, 1, self.width * 2))
            elif tag not in (_EXTRA, _ORIENTATION):
                entries.append(bytes(data[start : start + 12]))
        directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)
        padding = bytes(len(data) % 2)
        head = bytes(data[:4]) + struct.pack(f"{order}I", len(data) + len(padding))
        return head + bytes(data[8:]) + padding + directory

    def separated(self, pixels: NDArray[Any]) -> NDArray[Any] | None:
        """What OpenCV reads of ``as_gray``, (h, 2 w), to (h, w, 2); None when it is something else."""
        if pixels.shape[1:] != (self.width * 2,):
            return None
        if not self.are_differences:
            return pixels.reshape(len(pixels), self.width, 2)
        stored = np.diff(pixels, axis=1, prepend=pixels.dtype.type(0)).reshape(len(pixels), self.width, 2)
        return np.cumsum(stored, axis=1, dtype=pixels.dtype)
