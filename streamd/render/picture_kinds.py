"""What kind of picture a file is, by its first bytes, whatever its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, TypeVar, cast, get_args

from streamd.errors import PictureError

T = TypeVar("T", bound=str)
Kind = Literal["JPEG", "PNG", "WebP", "HEIC", "AVIF", "TIFF", "BMP", "GIF", "PNM"]
"""What is read. PNM: PBM, PGM and PPM."""

READS = f"streamd reads {', '.join(get_args(Kind)[:-1])} and {get_args(Kind)[-1]}"

MAX_PIXELS = 24 * 1024 * 1024
"""A camera's 24 megapixels. What is larger takes too much memory for one that others watch videos of."""
_LOOKED_AT = 1024
_BMP_HEADERS = rb"[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0"
_READ: dict[Kind, bytes] = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WebP": rb"RIFF....WEBP",
    "AVIF": rb".{4}ftypavi[fs]|.{4}ftypmi[fa][1f].{4}(.{4})*?avi[fs]",
    "HEIC": rb".{4}ftyp(he[iv][cxms]|mif[12]|msf1|miaf)",
    "TIFF": rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]",
    "BMP": rb"BM.{12}" + _BMP_HEADERS,
    "GIF": rb"GIF8[79]a",
    "PNM": rb"P[1-6]\s",
}
_REFUSED_PICTURES = {
    "a RAW picture": rb"II\x2a\0....CR|.{4}ftypcrx |IIRO|IIRS|MMOR|IIU\0|FUJIFILMCCD-RAW|\0MRM|FOVb",
    "a JPEG XL picture": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "a JPEG 2000 picture": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "a JPEG XR picture": rb"II\xbc",
    "an OpenEXR picture": rb"v/1\x01",
    "a Radiance HDR picture": rb"#\?(RADIANCE|RGBE)",
    "a PFM picture": rb"P[fF]\s",
    "a Photoshop picture": rb"8BPS",
    "a GIMP picture": rb"gimp xcf",
    "a QOI picture": rb"qoif",
    "an icon": rb"\0\0[\x01\x02]\0(?!\0\0)|icns",
    "a Targa picture": rb"\0[\0\x01][\x02\x03\x0a\x0b]\0{5}",
    "a PDF document": rb"%PDF",
    "a PostScript document": rb"%!PS|\xc5\xd0\xd3\xc6",
    "an SVG drawing": rb"(\xef\xbb\xbf)?\s*<.*?(?<=<)svg[\s>]",
}
_NO_PICTURES = {
    "a video: streamd convert takes those": rb".{4}(ftyp|moov|mdat|wide)|\x1aE\xdf\xa3|RIFF....AVI |OggS",
    "a web page": rb"(\xef\xbb\xbf)?\s*<(?i:!doctype html|html)",
    "an archive": rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!",
}


def _compiled(patterns: Mapping[T, bytes]) -> tuple[tuple[T, re.Pattern[bytes]], ...]:
    return tuple((what, re.compile(pattern, re.DOTALL)) for what, pattern in patterns.items())


_PATTERNS = tuple(_compiled(table) for table in (_REFUSED_PICTURES, _READ, _NO_PICTURES))


def kind_of(data: bytes | bytearray) -> Kind:
    """Raises PictureError, which says what it is instead and what to do."""
    head = bytes(data[:_LOOKED_AT])
    refused, kind, other = (_first(table, head) for table in _PATTERNS)
    if refused:
        raise refusal(refused)
    if kind:
        return cast(Kind, kind)
    if other:
        raise PictureError(f"is {other}; {READS}")
    raise PictureError(f"is {'not a picture that can be read' if data else 'empty'}: {READS}")


def refusal(what: str) -> PictureError:
    """Of a picture of a kind that is known, and not read: "a RAW picture"."""
    return PictureError(f"is {what}: convert it to JPEG or PNG; {READS}")


def named(kind: Kind) -> str:
    return f"{'an' if kind == 'AVIF' else 'a'} {kind} picture"


def damaged(kind: Kind) -> PictureError:
    return PictureError(f"is {named(kind)} that is damaged, cut short or of a rare variant: save it as JPEG or PNG")


def too_large() -> PictureError:
    return PictureError(f"is a picture of more than {MAX_PIXELS / 1e6:.0f} million pixels")


def _first(table: Iterable[tuple[str, re.Pattern[bytes]]], head: bytes) -> str | None:
    return next((what for what, pattern in table if pattern.match(head)), None)
