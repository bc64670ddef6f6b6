"""Bytes and seconds until the next picture, and the largest allocation of FFmpeg."""

from __future__ import annotations

import io
import struct
import time

import av
import av.error
import pytest

from streamd.sources.budget import MAX_BYTES, Budget, OverBudget, limit_allocations


def test_what_came_before_a_picture_counts_no_more() -> None:
    budget = Budget("a camera", 0.0)
    for _ in range(3):
        budget.spend(MAX_BYTES)
        budget.renew(5)
    assert budget.deadline_s == pytest.approx(time.monotonic() + 5, abs=1)
    budget.spend(MAX_BYTES)
    with pytest.raises(OverBudget, match="a camera: sent 64 MiB without a picture: refused") as caught:
        budget.spend(1)
    assert "\n" not in str(caught.value)


def box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), name) + body


def test_a_header_cannot_reserve_gigabytes() -> None:
    """An MP4 of some bytes with 80 million pictures of no size: FFmpeg would make a table of all."""
    count = 80_000_000
    table = box(
        b"stbl",
        box(b"stsd", struct.pack(">II", 0, 1), box(b"avc1", bytes(6), struct.pack(">H", 1), bytes(70))),
        box(b"stts", struct.pack(">IIII", 0, 1, count, 1)),
        box(b"stsc", struct.pack(">IIIII", 0, 1, 1, count, 1)),
        box(b"stsz", struct.pack(">III", 0, 1, count)),
        box(b"stco", struct.pack(">III", 0, 1, 0)),
    )
    header = box(b"mdhd", struct.pack(">IIIIII", 0, 0, 0, 1000, 1000, 0))
    handler = box(b"hdlr", bytes(8), b"vide", bytes(13))
    film = box(b"moov", box(b"trak", box(b"mdia", header, handler, box(b"minf", table))))
    limit_allocations()
    file = io.BytesIO(box(b"ftyp", b"isom", bytes(4)) + film + box(b"mdat", bytes(100)))
    with av.open(file, format="mp4") as container:
        assert not container.streams.video[0].index_entries
