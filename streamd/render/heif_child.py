"""The child that reads a HEIC or AVIF picture: by libheif (pillow-heif) and libavif (Pillow), tiles, 10 bits and alpha.

`python -m streamd.render.heif_child KIND DESCRIPTOR MAX_PIXELS`, with the file on standard input. The pixels go to the
descriptor, what is to be known of them as JSON to standard output. Which way is up is said by the container's `irot`
and `imir`; EXIF's orientation, which repeats it, is not to be applied again (ISO/IEC 23008-12, 6.5.10; MIAF, 7.3.6.7).
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LACKING, TOO_LARGE = 3, 4
"""Exit codes. Any other but 0: the file is damaged, or worse."""
ROOM_BYTES = 640 << 20
"""For decoding: a file can hold far more than it claims (libavif makes 220 million pixels of one that claims 4,096)."""
CPU_S = 60
_ORIENTATION = 274
_ORDERS = {"L": [0], "LA": [0, 1], "RGB": [2, 1, 0], "RGBA": [2, 1, 0, 3]}
"""From Pillow's bands to OpenCV's."""
_THREADS = 2
_BAND_ROWS = 256
"""Of Pillow's pixels that are copied at a time: a second copy of a large picture would be too much."""


class TooLarge(Exception):
    """By what the file says of itself."""


class Decoded(NamedTuple):
    pixels: NDArray[Any]
    """As OpenCV has them: BGR(A) of uint8, or gray, with alpha or without, of uint8 or uint16."""
    orientation: int = 1
    """EXIF's, as it is still to be applied."""
    premultiplied: bool = False


def decoded(kind: str, data: bytes, max_pixels: int) -> Decoded:
    """Raises TooLarge, ImportError, and whatever the libraries raise of a damaged file."""
    return (_heic if kind == "HEIC" else _avif)(data, max_pixels)


def _heic(data: bytes, max_pixels: int) -> Decoded:
    """libheif turns it by itself."""
    import pillow_heif
    from pillow_heif import options

    options.DECODE_THREADS = _THREADS
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    image = pillow_heif.open_heif(data, bgr_mode=True)
    _check_size(image.size, max_pixels)
    return Decoded(np.asarray(image), premultiplied=image.premultiplied_alpha)


def _avif(data: bytes, max_pixels: int) -> Decoded:
    """Pillow gives the container's orientation as EXIF's. It is asked directly: `Image.open` warns of large ones."""
    from PIL import AvifImagePlugin

    if not AvifImagePlugin.SUPPORTED:
        raise ImportError("this Pillow was built without libavif")
    AvifImagePlugin.DEFAULT_MAX_THREADS = _THREADS
    with AvifImagePlugin.AvifImageFile(io.BytesIO(data)) as image:
        _check_size(image.size, max_pixels)
        image.load()
        width, height = image.size
        order = _ORDERS[image.mode]
        pixels = np.empty((height, width, len(order)), np.uint8)
        for top in range(0, height, _BAND_ROWS):
            bottom = min(top + _BAND_ROWS, height)
            pixels[top:bottom] = np.atleast_3d(np.asarray(image.crop((0, top, width, bottom))))[..., order]
        return Decoded(pixels, image.getexif().get(_ORIENTATION, 1))


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise TooLarge


def _limit() -> None:
    """Memory, and time for when nobody is left to end this process."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    used_kb = int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0])
    room = used_kb * 1024 + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (room, room))


def main(arguments: list[str]) -> int:
    """The exit code."""
    kind, descriptor, max_pixels = arguments
    data = sys.stdin.buffer.read()
    _limit()
    try:
        pixels, orientation, premultiplied = decoded(kind, data, int(max_pixels))
    except ImportError:
        return LACKING
    except TooLarge:
        return TOO_LARGE
    with os.fdopen(int(descriptor), "wb") as file:
        file.write(np.ascontiguousarray(pixels).data)
    said = {"dtype": str(pixels.dtype), "shape": pixels.shape}
    print(json.dumps(said | {"orientation": orientation, "premultiplied": premultiplied}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
