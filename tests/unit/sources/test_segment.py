"""Segments behind pictures, in pieces of any size."""

from __future__ import annotations

import io
import os

import pytest

from streamd.sources.budget import MIB
from streamd.sources.segment import Undisguised, is_picture, skip
from tests.unit.sources.test_hls_key import Dribbling

PACKETS = b"".join(b"G" + os.urandom(187) for _ in range(40))


@pytest.mark.parametrize("piece", [1, 50, 1000, 100_000])
@pytest.mark.parametrize("before", [b"", b"\x89PNG" + b"G" * 30, bytes(60_000)])
def test_what_is_before_the_first_packet_is_left_out(before: bytes, piece: int) -> None:
    if piece == 1 and len(before) > 1000:
        piece = 500
    file = Undisguised(Dribbling(before + PACKETS, piece))
    assert b"".join(iter(lambda: file.read(300), b"")) == PACKETS


@pytest.mark.parametrize("data", [b"", b"\x89PNG", bytes(MIB)])
def test_a_picture_is_one(data: bytes) -> None:
    with pytest.raises(ValueError, match="is a picture"):
        Undisguised(io.BytesIO(data))


def test_pictures_by_their_beginning() -> None:
    assert is_picture(b"\x89PNG\r\n\x1a\n" + bytes(20))
    assert not is_picture(PACKETS)
    assert not is_picture(b"\x89PNG" + bytes(12)), "a key"


def test_skipping() -> None:
    file = io.BytesIO(b"abc")
    skip(file, 2)
    assert file.read() == b"c"
    skip(file, 5)
