"""Single pictures, coded, with their numbers burnt in."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av

from tests.support.clips import HEIGHT, WIDTH, picture_of

_FORMATS = {"mjpeg": "yuvj420p", "png": "rgb24", "libwebp": "yuv420p"}


def still_of(number: int, codec: str = "mjpeg", size: tuple[int, int] = (WIDTH, HEIGHT)) -> bytes:
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height = size
    encoder.pix_fmt, encoder.time_base = _FORMATS[codec], Fraction(1, 25)
    picture = picture_of(number, *size).reformat(format=encoder.pix_fmt)
    picture.pts = 0
    return b"".join(bytes(packet) for packet in encoder.encode(picture) + encoder.encode(None))
