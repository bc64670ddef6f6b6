"""Where pictures begin and end in a stream of bytes."""

from __future__ import annotations

import time

import pytest

from streamd.sources.picture_scanner import MAX_DAMAGED, MAX_SEGMENTS, CodedPicture, PictureKind, PictureScanner

JPEG = b"\xff\xd8\xff\xdb\x00\x04ab\xff\xff\xda\x00\x03cpixels\xff\x00\xff\xd0more\xff\xd9"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\x02IHDRabCRC4\0\0\0\x03IDATabcCRC4\0\0\0\0IENDCRC4"
WEBP = b"RIFF\x2d\0\0\0WEBPVP8 \x21\0\0\0" + 11 * b"abc" + b"\0"
KINDS = {PictureKind.JPEG: JPEG, PictureKind.PNG: PNG, PictureKind.WEBP: WEBP}


def scan(data: bytes, step: int = 1 << 20) -> tuple[list[bytes], int]:
    """The pictures, and how many were damaged."""
    scanner, found = PictureScanner(), list[CodedPicture]()
    for at in range(0, len(data), step):
        found.extend(scanner.feed(data[at : at + step]))
    return [picture.data for picture in found], scanner.damaged


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_ends_with_its_last_byte(kind: PictureKind, step: int) -> None:
    between = b"\r\n--frame\r\nContent-Length: 3\r\n\r\n"
    data = between + (KINDS[kind] + between) * 3
    assert scan(data, step) == ([KINDS[kind]] * 3, 0)
    scanner = PictureScanner()
    assert list(scanner.feed(KINDS[kind][:-1])) == []
    assert list(scanner.feed(KINDS[kind][-1:])) == [(kind, KINDS[kind])]
    assert scanner.rest() is None


def test_a_thumbnail_is_part_of_its_picture() -> None:
    picture = JPEG[:2] + b"\xff\xe1" + (len(JPEG) + 2).to_bytes(2) + JPEG + JPEG[2:]
    assert scan(picture + JPEG) == ([picture, JPEG], 0)


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize("between", [b"", b"\r\n--frame\r\nX: y\r\n\r\n", b"\n--f\n\n"])
def test_one_that_does_not_end_is_left_to_the_decoder(between: bytes, step: int) -> None:
    """Without the boundary behind it."""
    cut = JPEG[:-6]
    found, damaged = scan(JPEG + between + cut + between + JPEG, step)
    assert [picture.rstrip(b"\r") for picture in found] == [JPEG, cut, JPEG]
    assert damaged == 0


@pytest.mark.parametrize("step", [1, 1000])
def test_one_that_is_cut_in_its_head_is_damaged(step: int) -> None:
    assert scan(JPEG + JPEG[:7] + b"--frame" + JPEG, step) == ([JPEG, JPEG], 1)
    assert scan(PNG + PNG[:30] + b"--frame--frame" + PNG, step) == ([PNG, PNG], 1)
    assert scan(WEBP + WEBP[:13] + b"--" + WEBP + WEBP, step) == ([WEBP, WEBP, WEBP], 1)


def test_the_rest_is_a_picture_that_began() -> None:
    scanner = PictureScanner()
    assert list(scanner.feed(JPEG + b"\r\n" + JPEG[:-2])) == [(PictureKind.JPEG, JPEG)]
    assert scanner.rest() == (PictureKind.JPEG, JPEG[:-2])
    assert scanner.rest() is None


def test_what_is_no_picture_is_forgotten() -> None:
    scanner = PictureScanner()
    for _ in range(100):
        assert list(scanner.feed(b"--frame\r\n\r\n" * 1000)) == []
    assert len(scanner._data) < 12


@pytest.mark.parametrize(
    "data", [b"\xff\xd8\xff\x01" * (MAX_DAMAGED + 3), b"\xff\xd8" + b"\xff\xe0\x00\x04\xff\xd8" * 2_000_000]
)
def test_damaged_ones_only_are_given_up_soon(data: bytes) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match="sends no pictures"):
        scan(data)
    assert time.process_time() - started < 5


def test_a_picture_without_end_is_damaged() -> None:
    head = b"\xff\xd8" + b"\xff\xe0\x00\x02" * (MAX_SEGMENTS + 1)
    assert scan(head + JPEG) == ([JPEG], 1)
