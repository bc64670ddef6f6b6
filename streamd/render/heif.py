"""HEIC and AVIF to pixels, by libheif (pillow-heif) and libavif (Pillow): tiles, 10 and 12 bits, alpha, turned upright.

Both libraries are loaded with the first such picture only. Which way is up is said by the container's `irot` and
`imir`; EXIF's orientation, which repeats it, is not to be applied again (ISO/IEC 23008-12, 6.5.10; MIAF, 7.3.6.7).
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamd.errors import PictureError
from streamd.render.picture_header import Header
from streamd.render.picture_kinds import MAX_PIXELS, Kind, damaged, too_large

_ORIENTATION = 274
_THREADS = 2
_BAND_ROWS = 256
"""Of Pillow's pixels that are copied at a time: a second copy of a large picture would be too much."""
_REFUSALS = (LookupError, ValueError, SyntaxError, EOFError, OSError, RuntimeError, struct.error)
"""What the two libraries raise for a file that they cannot read."""


def decode(kind: Kind, data: bytes | bytearray) -> tuple[NDArray[Any], Header]:
    """Pixels in OpenCV's order, BGR or BGRA of uint8 or gray of uint16, and what is to be known of them.

    The size that the file claims is checked before anything is decoded. Raises PictureError.
    """
    try:
        return (_heic if kind == "HEIC" else _avif)(bytes(data))
    except ImportError:
        package = "pillow-heif" if kind == "HEIC" else "pillow"
        raise PictureError(
            f"is a picture of kind {kind}, which takes {package} to read: pip install {package}, "
            "or convert it to JPEG or PNG"
        ) from None
    except _REFUSALS:
        raise damaged(kind) from None


def _heic(data: bytes) -> tuple[NDArray[Any], Header]:
    """libheif turns it by itself."""
    import pillow_heif
    from pillow_heif import options

    options.DECODE_THREADS = _THREADS
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    image = pillow_heif.open_heif(data, bgr_mode=True)
    _check_size(*image.size)
    white = 65535 if image.mode.endswith("16") else None
    return np.asarray(image), Header(white=white, alpha="premultiplied" if image.premultiplied_alpha else "straight")


def _avif(data: bytes) -> tuple[NDArray[Any], Header]:
    """Pillow gives the container's orientation as EXIF's. It is asked directly: `Image.open` warns of large ones."""
    from PIL import AvifImagePlugin

    if not AvifImagePlugin.SUPPORTED:
        raise ImportError("this Pillow was built without libavif")
    AvifImagePlugin.DEFAULT_MAX_THREADS = _THREADS
    with AvifImagePlugin.AvifImageFile(io.BytesIO(data)) as image:
        width, height = image.size
        _check_size(width, height)
        image.load()
        order = [2, 1, 0, 3][: len(image.getbands())]
        pixels = np.empty((height, width, len(order)), np.uint8)
        for top in range(0, height, _BAND_ROWS):
            bottom = min(top + _BAND_ROWS, height)
            pixels[top:bottom] = np.asarray(image.crop((0, top, width, bottom)))[..., order]
        return pixels, Header(image.getexif().get(_ORIENTATION, 1))


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise too_large()
