"""What a picture file says and OpenCV does not tell: which way is up, what is white, what is transparent."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from streamd.errors import PictureError
from streamd.render.gray_alpha import GrayAlpha
from streamd.render.picture_kinds import Kind, refusal
from streamd.render.tags import Bytes, read_tags

Alpha = Literal["straight", "premultiplied", "none"]

MAX_WIDE_PIXELS = 18 * 1024 * 1024
"""Of a PNG with 16 bits and transparency, which OpenCV holds twice while it decodes: 16 bytes a pixel."""
MAX_CHUNKS = 100_000
"""Of a PNG or WebP file: 800 MB as libpng writes it."""
_BITS_READ = (1, 4, 8, 10, 12, 14, 16)
_EXIF = b"Exif\0\0"
_NEW_SUBFILE_TYPE, _BITS_PER_SAMPLE, _PHOTOMETRIC, _MAX_SAMPLE = 254, 258, 262, 281
_ORIENTATION, _SUB_IFDS, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _S_MAX_SAMPLE, _DNG_VERSION = 274, 330, 338, 339, 341, 50706
_RARE_FORMATS = {2: "signed ", 3: "float ", 5: "complex ", 6: "complex "}
_WHITE_IS_ZERO, _CFA, _LINEAR_RAW = 0, 32803, 34892


@dataclass(frozen=True)
class Header:
    orientation: int = 1
    """EXIF's: 1 to 8."""
    white: int | None = None
    """The value of a sample that is white; None when the file does not say."""
    clear: int | None = None
    """The level of gray that stands for what is transparent."""
    alpha: Alpha = "straight"
    inverted: bool = False
    """Zero is white, and OpenCV leaves it so."""
    gray_alpha: GrayAlpha | None = None
    part: tuple[slice, slice] | None = None
    """Rows and columns that the first picture covers, where it is smaller than the whole."""


def read_header(kind: Kind, data: Bytes) -> Header:
    """What cannot be found is as if it were not said. Raises PictureError for what OpenCV takes for another picture."""
    readers: dict[Kind, Callable[[Bytes], Header]] = {
        "JPEG": _jpeg,
        "PNG": _png,
        "WebP": _webp,
        "TIFF": _tiff,
        "GIF": _gif,
        "PNM": _pnm,
    }
    reader = readers.get(kind)
    if reader is None:
        return Header()
    try:
        return reader(memoryview(data))
    except (ArithmeticError, LookupError, ValueError, struct.error):
        return Header()


def _orientation(exif: Bytes) -> int:
    if bytes(exif[:6]) == _EXIF:
        exif = exif[6:]
    values = read_tags(exif).get(_ORIENTATION, ())
    return values[0] if len(values) == 1 and 1 <= values[0] <= 8 else 1


def _jpeg(data: Bytes) -> Header:
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill
            at += 1
            continue
        if marker in (0xD9, 0xDA):  # the end, or the pixels
            break
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker == 0xE1 and bytes(data[at + 4 : at + 10]) == _EXIF:
            return Header(_orientation(data[at + 10 : at + 2 + length]))
        at += 2 + length
    return Header()


def _png(data: Bytes) -> Header:
    chunks = _png_chunks(data)
    width, height, bits, colour = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    if bits == 16 and (colour & 4 or b"tRNS" in chunks) and width * height > MAX_WIDE_PIXELS:
        most = f"{MAX_WIDE_PIXELS / 1e6:.0f} million pixels"
        raise PictureError(f"has more than {most} of 16 bits with transparency: save it with 8 bits")
    white, clear = None, None
    if bits == 16 and b"sBIT" in chunks:
        samples = chunks[b"sBIT"]
        white = _full(max(samples[: 3 if len(samples) > 2 else 1]))
    if colour == 0 and b"tRNS" in chunks:
        (level,) = struct.unpack_from(">H", chunks[b"tRNS"])
        clear = level if bits >= 8 else level * 255 // _full_scale(bits)
    return Header(_orientation(chunks.get(b"eXIf", b"")), white, clear)


def _png_chunks(data: Bytes) -> dict[bytes, Bytes]:
    """By their type, without the pixels. Raises PictureError for one that claims more than there is: OpenCV would
    make room for it, up to 4 GB."""
    found = {}
    for number, (kind, size, body) in enumerate(_chunks(data, 8, ">I4s", trailer=4)):
        if len(body) < size or number == MAX_CHUNKS:
            raise PictureError("is a PNG picture that is damaged or cut short: save it anew")
        if kind == b"IEND":
            break
        if kind != b"IDAT":
            found[kind] = body
    return found


def _webp(data: Bytes) -> Header:
    chunks = islice(_chunks(data, 12, "<4sI", padded=True), MAX_CHUNKS)
    return Header(next((_orientation(body) for kind, _, body in chunks if kind == b"EXIF"), 1))


def _chunks(
    data: Bytes, at: int, form: str, *, trailer: int = 0, padded: bool = False
) -> Iterator[tuple[bytes, int, Bytes]]:
    """PNG's and RIFF's: type, size as it is said, and what is there of it."""
    while at + 8 <= len(data):
        first, second = struct.unpack_from(form, data, at)
        kind, size = (first, second) if isinstance(first, bytes) else (second, first)
        yield kind, size, data[at + 8 : at + 8 + size]
        at += 8 + size + trailer + (size % 2 if padded else 0)


def _tiff(data: Bytes) -> Header:
    """OpenCV turns TIFF by itself, moves narrow samples to the top of 16 bits, and premultiplies those of 8."""
    tags = read_tags(data)
    photometric = tags.get(_PHOTOMETRIC, (1,))[0]
    is_thumbnail = tags.get(_NEW_SUBFILE_TYPE, (0,))[0] & 1 and _SUB_IFDS in tags
    if _DNG_VERSION in tags or is_thumbnail or photometric in (_CFA, _LINEAR_RAW):
        raise refusal("a RAW picture")
    bits, form = max(tags.get(_BITS_PER_SAMPLE, (1,))), max(tags.get(_SAMPLE_FORMAT, (1,)))
    if bits not in _BITS_READ or form in _RARE_FORMATS:
        what = _RARE_FORMATS.get(form, "")
        raise PictureError(f"has {bits}-bit {what}samples: save it with 8 or 16 bits, as TIFF or PNG")
    white = _full_scale(16) if 8 < bits < 16 else None
    if bits == 16:
        white = _full(max(tags.get(_S_MAX_SAMPLE) or tags.get(_MAX_SAMPLE) or (_full_scale(16),)).bit_length())
    extra = tags.get(_EXTRA_SAMPLES, (2,))[0]
    alpha: Alpha = "straight" if extra == 2 else "premultiplied" if extra == 1 else "none"
    gray_alpha = GrayAlpha.of(tags) if data[2:4] in (b"\x2a\0", b"\0\x2a") else None
    if gray_alpha is not None:
        turn = tags.get(_ORIENTATION, (1,))[0]
        return Header(turn, white, alpha=alpha, inverted=photometric == _WHITE_IS_ZERO, gray_alpha=gray_alpha)
    if extra == 2 and bits == 8 and _EXTRA_SAMPLES in tags:
        alpha = "premultiplied"
    return Header(white=white, alpha=alpha, inverted=photometric == _WHITE_IS_ZERO and bits > 8)


def _gif(data: Bytes) -> Header:
    """The size of the screen, a table of colours, extensions, and the first picture (GIF89a, 18 to 26)."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << (flags % 8 + 1) if flags & 0x80 else 0)
    for _ in range(MAX_CHUNKS):
        if data[at] != 0x21:
            break
        at += 2
        while data[at]:
            at += data[at] + 1
        at += 1
    left, top, columns, rows = struct.unpack_from("<HHHH", data, at + 1)
    is_part = data[at] == 0x2C and (left, top, columns, rows) != (0, 0, width, height)
    return Header(part=(slice(top, top + rows), slice(left, left + columns)) if is_part else None)


def _pnm(data: Bytes) -> Header:
    """Netpbm: magic, width, height, and what is white; comments go to the end of their line."""
    words: list[bytes] = []
    for line in bytes(data[:4096]).split(b"\n"):
        words += line.partition(b"#")[0].split()
    white = 255 if words[0] in (b"P1", b"P4") else int(words[3])
    return Header(white=white if 0 < white < _full_scale(16) else None)


def _full_scale(bits: int) -> int:
    return (1 << bits) - 1


def _full(bits: int) -> int | None:
    """White of so many bits; 16 is what writers say who do not know."""
    return _full_scale(bits) if 0 < bits < 16 else None
