"""What files say of themselves is found, and what they only pretend to say is not."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from streamd.errors import PictureError
from streamd.render.picture_header import MAX_CHUNKS, Header, read_header
from tests.support.bombs import photo, saved, with_exif
from tests.support.picture_files import Tags, exif, png, png_chunk, pnm, tiff

GRAY = np.zeros((4, 4), np.uint8)


@pytest.mark.parametrize(
    "tags",
    [
        {50706: (1, [1, 4, 0, 0])},
        {254: (4, 1), 330: (4, [400, 800])},
        {262: (3, 32803)},
        {262: (3, 34892)},
    ],
    ids=["DNG", "a thumbnail before what counts", "colours of a sensor", "linear"],
)
def test_raw_pictures_are_not_taken_for_their_thumbnail(tags: Tags) -> None:
    with pytest.raises(PictureError, match=r"^is a RAW picture: convert it to JPEG or PNG; streamd reads "):
        read_header("TIFF", tiff(GRAY, tags))


def test_other_segments_before_exif() -> None:
    jpeg = with_exif(saved(photo(8, 8), "JPEG"), exif(6))
    filled = jpeg[:2] + b"\xff\xe0\0\x04ab" + b"\xff\xff\xff\xe1\0\x08Exif\0x" + jpeg[2:]
    assert read_header("JPEG", filled).orientation == 6


def test_a_segment_without_length_ends_the_search() -> None:
    assert read_header("JPEG", b"\xff\xd8\xff\xe0\0\0" + bytes(99)) == Header()
    assert read_header("JPEG", b"\xff\xd8" + b"\xff\xe0\0\x02" * 99) == Header()


def test_chunks_without_end_are_not_all_looked_at() -> None:
    whole = png(GRAY)
    many = whole[:33] + png_chunk(b"teXt", b"") * (MAX_CHUNKS + 1) + png_chunk(b"eXIf", exif(6)) + whole[33:]
    with pytest.raises(PictureError, match=r"^is a PNG picture that is damaged or cut short: save it anew$"):
        read_header("PNG", many)
    webp = b"RIFF\0\0\0\0WEBP" + b"ABCD\0\0\0\0" * MAX_CHUNKS + b"EXIF" + struct.pack("<I", 26) + exif(6)
    assert read_header("WebP", webp).orientation == 1
    assert read_header("WebP", webp[:12] + webp[-34:]).orientation == 6


def test_a_chunk_that_claims_what_is_not_there_is_refused() -> None:
    """OpenCV would make room for it: 4 GB."""
    whole = png(GRAY)
    with pytest.raises(PictureError, match="damaged or cut short"):
        read_header("PNG", whole[:33] + b"\xff\xff\xff\xf0teXt" + whole[33:])
    assert read_header("PNG", whole + b"\xff" * 40) == Header(), "what is behind the end does not count"
    assert read_header("WebP", saved(photo(8, 8), "WEBP") + b"\xff" * 40) == Header()


@pytest.mark.parametrize(("white", "said"), [(15, 15), (255, 255), (1023, 1023), (65535, None), (0, None), (-1, None)])
def test_white_of_pnm(white: int, said: int | None) -> None:
    assert read_header("PNM", pnm(GRAY, white)).white == said
    assert read_header("PNM", b"P5 4 # of 7\n4 " + str(white).encode() + b"\n").white == said


@pytest.mark.parametrize("data", [b"P5", b"P5 4 x", b"P5 4 4 x"])
def test_damaged_pnm(data: bytes) -> None:
    assert read_header("PNM", data) == Header()


def test_white_of_png_needs_sixteen_bits() -> None:
    wide = GRAY.astype(np.uint16)
    assert read_header("PNG", png(wide, (b"sBIT", b"\x0a"))).white == 1023
    assert read_header("PNG", png(GRAY, (b"sBIT", b"\x05"))).white is None
    for nonsense in (b"", b"\0", b"\x10", b"\xff"):
        assert read_header("PNG", png(wide, (b"sBIT", nonsense))).white is None


def test_a_png_of_no_bits() -> None:
    header = struct.pack(">IIBB", 4, 4, 0, 0) + bytes(3)
    data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"tRNS", b"\0\1")
    assert read_header("PNG", data) == Header()


def test_white_of_tiff() -> None:
    wide = GRAY.astype(np.uint16)
    for tags, white in (({}, None), ({281: (3, 1023)}, 1023), ({281: (3, 0)}, None), ({341: (3, 65535)}, None)):
        assert read_header("TIFF", tiff(wide, tags)).white == white


def test_wide_samples_with_transparency_have_less_room() -> None:
    """The size of a picture that is not there: it is not decoded."""
    huge = struct.pack(">IIBB", 5000, 5000, 16, 6) + bytes(3)
    data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", huge)
    with pytest.raises(PictureError, match=r"^has more than 19 million pixels of 16 bits with transparency: save it "):
        read_header("PNG", data)
