"""A file is named for what it is, with what to do about it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from streamd.errors import PictureError
from streamd.render.picture_kinds import READS, kind_of
from tests.support import bombs
from tests.support.bombs import saved


def box(brand: bytes, *compatible: bytes) -> bytes:
    body = b"ftyp" + brand + bytes(4) + b"".join(compatible)
    return (len(body) + 4).to_bytes(4, "big") + body + bytes(40)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "TIFF", "BMP", "GIF"])
def test_what_is_read(kind: str) -> None:
    assert kind_of(saved(bombs.photo(9, 9), kind)) == kind


@pytest.mark.parametrize("extension", [".pgm", ".ppm", ".pbm"])
def test_pnm(extension: str) -> None:
    assert (
        kind_of(cv2.imencode(extension, np.zeros((9, 9, 3 if extension == ".ppm" else 1), np.uint8))[1].tobytes())
        == "PNM"
    )


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (box(b"heic", b"mif1", b"heic"), "HEIC"),
        (box(b"heix"), "HEIC"),
        (box(b"mif1", b"mif1", b"heic"), "HEIC"),
        (box(b"avif", b"mif1"), "AVIF"),
        (box(b"avis"), "AVIF"),
        (box(b"mif1", b"avif"), "AVIF"),
    ],
)
def test_heif_is_told_by_its_brands(data: bytes, kind: str) -> None:
    assert kind_of(data) == kind


def test_bigtiff() -> None:
    assert kind_of(saved(bombs.photo(9, 9), "TIFF", big_tiff=True)) == "TIFF"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (box(b"crx "), "a RAW picture"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(99), "a RAW picture"),
        (b"FUJIFILMCCD-RAW 0201", "a RAW picture"),
        (b"IIRO\x08\0\0\0", "a RAW picture"),
        (b"\xff\x0a\xfa\x1f", "a JPEG XL picture"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
        (saved(bombs.photo(9, 9), "JPEG2000"), "a JPEG 2000 picture"),
        (b"v/1\x01\2\0\0\0", "an OpenEXR picture"),
        (b"#?RADIANCE\n", "a Radiance HDR picture"),
        (b"8BPS\0\1", "a Photoshop picture"),
        (saved(bombs.photo(16, 16), "ICO"), "an icon"),
        (b"\0\0\2\0\1\0\x20\x20", "an icon"),
        (b"\0\0\2\0\0\0\0\0\0\0\0\0\x20\0\x20\0\x18\0", "a Targa picture"),
        (b"%PDF-1.7\n", "a PDF document"),
        (bombs.SVG, "an SVG drawing"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"\xef\xbb\xbf\n<svg>", "an SVG drawing"),
    ],
)
def test_a_picture_of_another_kind_is_named(data: bytes, what: str) -> None:
    with pytest.raises(PictureError) as raised:
        kind_of(data)
    assert str(raised.value) == f"is {what}: convert it to JPEG or PNG; {READS}"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (box(b"isom", b"mp42"), "is a video: streamd convert takes those; "),
        (b"\x1aE\xdf\xa3" + bytes(30), "is a video: streamd convert takes those; "),
        (b"RIFF\0\0\0\0AVI LIST", "is a video: streamd convert takes those; "),
        (b"<!DOCTYPE html><html>not found</html>", "is a web page; "),
        (b"PK\x03\x04" + bytes(1000), "is an archive; "),
        (b"", "is empty: "),
        (b"hello", "is not a picture that can be read: "),
        (b"BM" + b"\xff" * 60, "is not a picture that can be read: "),
        (b"\0" * 9999, "is not a picture that can be read: "),
    ],
)
def test_what_is_no_picture(data: bytes, text: str) -> None:
    with pytest.raises(PictureError) as raised:
        kind_of(bytearray(data))
    assert str(raised.value) == text + READS


def test_reads() -> None:
    assert READS == "streamd reads JPEG, PNG, WebP, HEIC, AVIF, TIFF, BMP, GIF and PNM"
