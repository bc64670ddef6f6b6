"""Picture files that lie, explode or are merely odd."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

from tests.e2e.pictures import Rgb

SVG = (
    b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    b'<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    b'<svg xmlns="http://www.w3.org/2000/svg" width="99999" height="99999"><text>&b;&x;</text></svg>'
)


def photo(width: int = 640, height: int = 480) -> Rgb:
    """Something with colour and detail."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x % 256, y % 256, (x + y) // 2 % 256], axis=-1).astype(np.uint8)


def saved(pixels: Rgb, kind: str, mode: str = "RGB", **options: Any) -> bytes:
    """As Pillow writes it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def animated(kind: str) -> bytes:
    frames = [Image.fromarray(np.roll(photo(), 40 * step, axis=1)) for step in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=40)
    return buffer.getvalue()


def png(width: int, height: int, depth_bits: int = 8) -> bytes:
    """A gray PNG of zeros, whole: 100 megapixels are 100 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes((width * depth_bits + 7) // 8 + 1)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth_bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def gif(width: int, height: int) -> bytes:
    """Of one colour; a screen and a picture of this size, with a few bytes of data."""
    head = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0\0\0\0\xff\xff\xff"
    return head + b"," + struct.pack("<HHHH", 0, 0, width, height) + b"\0\x02\x02\x44\x01\0;"


def webp(width: int, height: int) -> bytes:
    """Lossless, of one colour: the size in its header, and next to no data."""
    bits = (width - 1) | (height - 1) << 14
    data = b"\x2f" + struct.pack("<I", bits) + bytes(20)
    chunk = b"VP8L" + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IIIIiiHHIIiiII", 1000, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(900)


def tiff(width: int, height: int) -> bytes:
    """One strip that is not there."""
    entries = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 64)]
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + table + bytes(100)


def jpeg_that_says(width: int, height: int, jpeg: bytes) -> bytes:
    """Another size in its header than its data have."""
    at = jpeg.index(b"\xff\xc0")
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


def with_exif(jpeg: bytes, tiff_part: bytes) -> bytes:
    exif = b"Exif\0\0" + tiff_part
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def orientation(number: int) -> bytes:
    return b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + struct.pack(">H", number) + bytes(6)


EXIF_THAT_LOOPS = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\x08"
EXIF_OUT_OF_BOUNDS = b"MM\0*\xff\xff\xff\xf0\xff\xff" + b"\xff" * 40
EXIF_OF_MANY = b"MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12\0\x03\xff\xff\xff\xff\0\x06\0\0" * 500


def gzip_of_zeros(size_mb: int) -> bytes:
    """Each megabyte is packed by itself, so that the same bytes do for all; without the end."""
    packer = zlib.compressobj(9, wbits=31)
    first, second = (packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + second * (size_mb - 1)
