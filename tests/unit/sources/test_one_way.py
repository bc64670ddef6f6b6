"""Which MP4s can be played from their begin to their end."""

from __future__ import annotations

import io
from typing import Any

import pytest

from streamd.errors import SourceUnsupported
from streamd.sources.one_way import OneWay


def box(name: bytes, size: int, *, large: bool = False) -> bytes:
    head = (1).to_bytes(4) + name + size.to_bytes(8) if large else size.to_bytes(4) + name
    return head + bytes(size - len(head))


FTYP, FREE, MOOV, MDAT = box(b"ftyp", 32), box(b"free", 8), box(b"moov", 300), box(b"mdat", 5000)


def read(data: bytes, size: int) -> bytes:
    body: Any = io.BytesIO(data)
    body.name = "http://h/a.mp4"
    file = OneWay("http://h/", body)
    assert file.name == "http://h/a.mp4"
    return b"".join(iter(lambda: file.read(size), b""))


@pytest.mark.parametrize("size", [1, 7, 32, 10_000])
@pytest.mark.parametrize("before", [b"", FTYP, FTYP + FREE, box(b"wide", 8), FTYP + box(b"uuid", 70_000, large=True)])
def test_an_index_that_comes_last_is_refused(before: bytes, size: int) -> None:
    with pytest.raises(SourceUnsupported, match="cannot skip"):
        read(before + MDAT + MOOV, size)


@pytest.mark.parametrize("size", [1, 7, 32, 10_000])
@pytest.mark.parametrize(
    "data", [FTYP + MOOV + MDAT, FTYP + FREE + MOOV + MDAT, b"", b"G" * 1000, FTYP, FTYP + bytes(4) + b"free" + MDAT]
)
def test_all_else_is_read(data: bytes, size: int) -> None:
    assert read(data, size) == data


def test_after_the_error_there_is_nothing() -> None:
    """FFmpeg reads on, and PyAV would print a second one."""
    body: Any = io.BytesIO(FTYP + MDAT)
    body.name = "http://h/a.mp4"
    file = OneWay("http://h/", body)
    with pytest.raises(SourceUnsupported):
        file.read(1000)
    assert file.read(1000) == b""
