"""A picture file to pixels: upright, with 8 bits a sample, and nothing of what is behind what is transparent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamd.media.frames import ByteImage
from streamd.render import heif
from streamd.render.picture_header import Header, read_header
from streamd.render.picture_kinds import Kind, damaged, kind_of, too_large

Pixels = NDArray[Any]
"""(h, w) gray, (h, w, 2) gray and alpha, (h, w, 3) BGR or (h, w, 4) BGRA, of uint8 or uint16."""

BACKGROUND = 255
"""White lies behind what is transparent, as in viewers and on paper."""
_BAND_PIXELS = 1 << 20
"""Worked on at a time: a second copy of a large picture would be too much."""
_NARROW_BITS = 14
"""Samples of sensors have 10, 12 or 14 bits; a picture that needs 15 of 16 is only dark."""
_ENDS: dict[Kind, bytes] = {"JPEG": b"\xff\xd9", "PNM": b"\n"}
"""Without these OpenCV gives nothing of what is there: a JPEG cut short, of which browsers show the rest gray, and
numbers as text up to the end of the file."""


def read_picture(data: bytes | bytearray) -> ByteImage:
    """A JPEG, PNG, WebP, HEIC, AVIF, TIFF, BMP, GIF or PNM file to (h, w, 3) RGB; of several the first, or primary one.

    It is turned upright by its EXIF. What is transparent lies on white. Samples of up to 14 bits in a file of 16 are
    scaled by what the file says is white, or by the largest. Pixels count as square, as in browsers, and colour
    profiles are not looked at. Raises PictureError.

    OpenCV's other decoders (JPEG 2000, AVIF without its turn, HDR ...) are out of reach: fewer to attack, and the first
    takes three times the memory. The size in the header is checked before anything is decoded.
    """
    kind = kind_of(data)
    if kind in ("HEIC", "AVIF"):
        pixels, header = heif.decode(kind, data)
    else:
        header = read_header(kind, data)
        pixels = _decode(kind, data, header)
    rgb = _to_rgb(pixels, header)
    del pixels
    if header.part is not None:
        whole = np.full_like(rgb, BACKGROUND)
        whole[header.part] = rgb[header.part]
        return whole
    return _upright(rgb, header.orientation)


def _decode(kind: Kind, data: bytes | bytearray, header: Header) -> Pixels:
    gray_alpha = header.gray_alpha
    pixels = _imdecode(gray_alpha.as_gray(data) if gray_alpha else data)
    if pixels is None and kind in _ENDS:
        pixels = _imdecode(bytes(data) + _ENDS[kind])
    if pixels is not None and gray_alpha:
        pixels = gray_alpha.separated(pixels)
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16) or not pixels.size:
        raise damaged(kind)
    if kind == "BMP" and pixels.shape[2:] == (4,) and not pixels[..., 3].any():
        pixels[..., 3] = 255  # of a writer that left the fourth byte alone, as browsers take it
    return pixels


def _imdecode(data: bytes | bytearray) -> Pixels | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        if "CV_IO_MAX_IMAGE_" in str(error):
            raise too_large() from None
        return None


def _to_rgb(pixels: Pixels, header: Header) -> ByteImage:
    if pixels.dtype == np.uint8 and pixels.shape[2:] == (3,) and header.white is None:
        return _swapped(pixels)
    whites = _whites(pixels, header)
    rgb = np.empty((*pixels.shape[:2], 3), np.uint8)
    for band in _bands(pixels):
        rgb[band] = _band_to_rgb(pixels[band], header, *whites)
    return rgb


def _whites(pixels: Pixels, header: Header) -> tuple[int, int]:
    """The values of white and of opaque: what the file says, if its samples keep to it, else by what they hold. What is
    behind what is transparent does not count."""
    if pixels.dtype == np.uint8:
        return min(header.white or 255, 255), 255
    held, most = 0, 0
    for band in _bands(pixels):
        colour, alpha = _parts(pixels[band])
        if alpha.size and header.alpha != "none":
            colour, most = colour * (alpha > 0), max(most, int(alpha.max()))
        held |= int(np.bitwise_or.reduce(colour, axis=None))
    white = _white(held, header)
    return white, white if most <= white else 65535


def _white(held: int, header: Header) -> int:
    """``held``: the bits that are set in any sample."""
    if header.white is not None and held.bit_length() <= header.white.bit_length():
        return header.white
    if held.bit_length() > _NARROW_BITS or held & 0xFF == 0:  # a low byte of zeros: 8 bits at the top of 16
        return 65535
    return (1 << max(8, held.bit_length())) - 1


def _band_to_rgb(band: Pixels, header: Header, white: int, opaque: int) -> ByteImage:
    colour, alpha = _parts(band)
    level = _to_8_bits(colour, white)
    if header.inverted:
        level = 255 - level
    if header.clear is not None:
        level = np.where(colour == header.clear, np.uint8(BACKGROUND), level)
    if level.shape[2] == 3:
        level = level[..., ::-1]
    if not alpha.size or header.alpha == "none":
        return level
    return _on_background(level, _to_8_bits(alpha, opaque), header)


def _parts(pixels: Pixels) -> tuple[Pixels, Pixels]:
    """Colour and alpha, (h, w, 1 or 3) and (h, w, 0 or 1)."""
    samples = np.atleast_3d(pixels)
    colours = 3 if samples.shape[2] > 2 else 1
    return samples[..., :colours], samples[..., colours:]


def _to_8_bits(samples: Pixels, white: int) -> ByteImage:
    if samples.dtype == np.uint8 and white == 255:
        return samples
    table = np.rint(np.minimum(np.arange(65536 if samples.dtype == np.uint16 else 256) * (255 / white), 255))
    levels: ByteImage = table.astype(np.uint8)[samples]
    return levels


def _on_background(level: ByteImage, alpha: ByteImage, header: Header) -> ByteImage:
    wide, shown = level.astype(np.uint16), alpha.astype(np.uint16)
    if header.alpha == "straight":
        wide = (wide * shown + 127) // 255
    laid: ByteImage = np.minimum(wide + (BACKGROUND * (255 - shown) + 127) // 255, 255).astype(np.uint8)
    return laid


def _bands(pixels: Pixels) -> Iterator[slice]:
    height, width = pixels.shape[:2]
    step = max(1, _BAND_PIXELS // width)
    return (slice(top, top + step) for top in range(0, height, step))


def _upright(rgb: ByteImage, orientation: int) -> ByteImage:
    """By EXIF's number: 2 and 4 are mirrored, 3 is upside down, 5 to 8 lie on their side."""
    if orientation >= 5:
        rgb = np.asarray(cv2.transpose(rgb))
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return rgb if flip is None else np.asarray(cv2.flip(rgb, flip, dst=rgb))


def _swapped(bgr: ByteImage) -> ByteImage:
    """To RGB, in place."""
    first = bgr[..., 0].copy()
    bgr[..., 0] = bgr[..., 2]
    bgr[..., 2] = first
    return bgr
