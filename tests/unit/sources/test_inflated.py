"""What is compressed, in pieces."""

from __future__ import annotations

import gzip
import http.client
import io
import zlib

import pytest

from streamd.sources.inflated import Inflated

TEXT = b"All that is read of an answer. " * 1000


def inflated(packed: bytes, spent: list[int] | None = None) -> Inflated:
    return Inflated(io.BufferedReader(io.BytesIO(packed)), (spent if spent is not None else []).append)


@pytest.mark.parametrize("packed", [gzip.compress(TEXT), zlib.compress(TEXT)])
@pytest.mark.parametrize("size", [1, 10, 100_000])
def test_what_is_read_is_what_was_packed(packed: bytes, size: int) -> None:
    spent: list[int] = []
    file = inflated(packed, spent)
    assert TEXT.startswith(file.peek(64))
    pieces = list(iter(lambda: file.read1(size), b""))
    assert b"".join(pieces) == TEXT
    assert max(len(piece) for piece in pieces) <= size
    assert sum(spent) == len(TEXT)
    assert file.read1(size) == b""


@pytest.mark.parametrize("packed", [b"", b"plain", gzip.compress(TEXT)[:-20]])
def test_what_is_cut_or_not_packed(packed: bytes) -> None:
    file = inflated(packed)
    with pytest.raises(http.client.HTTPException):
        list(iter(lambda: file.read1(10_000), b""))
