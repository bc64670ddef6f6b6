"""Tags are read as far as they are there, in any order of bytes, and no count or offset leads astray."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.render.tags import read_tags
from tests.support.bombs import EXIF_OF_MANY, EXIF_OUT_OF_BOUNDS, EXIF_THAT_LOOPS, photo, saved
from tests.support.picture_files import Order, exif


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation(order: Order) -> None:
    assert read_tags(exif(6, order)) == {274: (6,)}


@pytest.mark.parametrize("big", [False, True])
def test_values_that_lie_elsewhere(big: bool) -> None:
    tags = read_tags(saved(photo(12, 8), "TIFF", big_tiff=big))
    assert (tags[256], tags[257], tags[258]) == ((12,), (8,), (8, 8, 8))


def test_hostile_ones() -> None:
    assert read_tags(EXIF_THAT_LOOPS)[274] == (6,)
    assert read_tags(EXIF_OUT_OF_BOUNDS) == {}
    assert 274 not in read_tags(EXIF_OF_MANY)
    far = struct.pack(">2sHIHHHIII", b"MM", 42, 8, 1, 258, 3, 0xFFFFFFFF, 0xFFFFFF00, 0)
    assert read_tags(far) == {}


@given(st.binary(max_size=200), st.sampled_from([b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b""]))
def test_anything(data: bytes, head: bytes) -> None:
    assert all(0 < len(values) <= 16 for values in read_tags(head + data).values())
