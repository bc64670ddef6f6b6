"""Picture files of the kinds that people have, put together by hand where no library writes them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image

Order = Literal["<", ">"]
"""Of bytes: little or big end first."""
TIFF_FORMS = {1: "B", 3: "H", 4: "I"}
Tags = Mapping[int, tuple[int, int | Sequence[int]]]
"""Type and values by number."""


def corners(height: int = 16, width: int = 32) -> NDArray[np.uint8]:
    """White, red / green, gray: tells every turn and mirror apart."""
    pixels = np.full((height, width, 3), 64, np.uint8)
    pixels[: height // 2, : width // 2] = 255
    pixels[: height // 2, width // 2 :] = (255, 0, 0)
    pixels[height // 2 :, : width // 2] = (0, 255, 0)
    return pixels


def corners_of(rgb: NDArray[np.uint8]) -> str:
    """``WRG.`` for those of ``corners``."""
    names = {"W": (255, 255, 255), "R": (255, 0, 0), "G": (0, 255, 0), ".": (64, 64, 64)}
    seen = (rgb[y, x].astype(int) for y in (1, -2) for x in (1, -2))
    return "".join(min(names, key=lambda name: int(np.abs(pixel - names[name]).sum())) for pixel in seen)


TURNED = {1: "WRG.", 2: "RW.G", 3: ".GRW", 4: "G.WR", 5: "WGR.", 6: "GW.R", 7: ".RGW", 8: "R.WG"}
"""What ``corners`` look like upright, by EXIF's orientation (EXIF 2.32, 4.6.5.1)."""


def heic(pixels: NDArray[Any], mode: str = "RGB", **options: Any) -> bytes:
    """As libheif writes it."""
    buffer = io.BytesIO()
    image = pillow_heif.from_bytes(mode, (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
    image.save(buffer, **({"quality": 95} | options))
    return buffer.getvalue()


def avif(pixels: NDArray[Any], **options: Any) -> bytes:
    """As libavif writes it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "AVIF", **({"quality": 95, "speed": 10} | options))
    return buffer.getvalue()


def tiff(
    pixels: NDArray[Any] | bytes, tags: Tags | None = None, order: Order = "<", size: tuple[int, int] | None = None
) -> bytes:
    """One strip as it is; of ``size`` (height, width) where the pixels are bytes."""
    if isinstance(pixels, bytes):
        assert size
        (height, width), samples, bits = size, 1, 8
        strip = pixels
    else:
        height, width = pixels.shape[:2]
        samples, bits = pixels[0, 0].size, pixels.itemsize * 8
        strip = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    default: dict[int, tuple[int, int | Sequence[int]]] = {
        256: (4, width),
        257: (4, height),
        258: (3, [bits] * samples),
        259: (3, 1),
        262: (3, 2 if samples > 2 else 1),
        273: (4, 0),
        277: (3, samples),
        278: (4, height),
        279: (4, len(strip)),
    }
    wanted = dict(sorted((default | dict(tags or {})).items()))
    for _ in range(2):  # the first time to learn how long the directory is
        directory = tag_directory(wanted, order, at=8)
        wanted[273] = (4, 8 + len(directory))
    return _tiff_head(order) + directory + strip


def tag_directory(tags: Tags, order: Order, at: int) -> bytes:
    """With what does not fit into its entries behind it."""
    entries, behind = b"", b""
    for tag, (kind, values) in tags.items():
        listed = [values] if isinstance(values, int) else values
        packed = struct.pack(f"{order}{len(listed)}{TIFF_FORMS[kind]}", *listed)
        entries += struct.pack(f"{order}HHI", tag, kind, len(listed))
        if len(packed) > 4:
            entries += struct.pack(f"{order}I", at + 2 + 12 * len(tags) + 4 + len(behind))
            behind += packed + b"\0" * (len(packed) % 2)
        else:
            entries += packed.ljust(4, b"\0")
    return struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + behind


def _tiff_head(order: Order) -> bytes:
    return (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)


def exif(orientation: int, order: Order = ">") -> bytes:
    return _tiff_head(order) + tag_directory({274: (3, orientation)}, order, at=8)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    pixels: NDArray[Any], *chunks: tuple[bytes, bytes], bits: int | None = None, colour: int | None = None
) -> bytes:
    """Of 8 or 16 bits; of fewer when the rows hold them packed: give ``bits`` then."""
    height, width = pixels.shape[:2]
    depth, samples = bits or pixels.itemsize * 8, pixels[0, 0].size
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[samples] if colour is None else colour
    rows = b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width * (8 // bits if bits and bits < 8 else 1), height, depth, colour, 0, 0, 0)
    middle = b"".join(png_chunk(*chunk) for chunk in chunks)
    head = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
    return head + middle + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


def webp_with_exif(webp: bytes, width: int, height: int, block: bytes) -> bytes:
    """A simple WebP as an extended one."""
    extended = struct.pack("<BxxxI", 8, width - 1)[:7] + struct.pack("<I", height - 1)[:3]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + extended + webp[12:]
    body += b"EXIF" + struct.pack("<I", len(block)) + block + b"\0" * (len(block) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def pnm(pixels: NDArray[Any], white: int, comment: str = "") -> bytes:
    """PGM or PPM."""
    height, width = pixels.shape[:2]
    magic = b"P6" if pixels.ndim == 3 else b"P5"
    head = magic + f"\n{comment}{width} {height}\n{white}\n".encode()
    return head + pixels.astype(">u2" if white > 255 else "u1").tobytes()
