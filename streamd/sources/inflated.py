"""Answers that are compressed, as some servers send them without being asked."""

from __future__ import annotations

import http.client
import zlib
from collections.abc import Callable
from typing import Protocol

ENCODINGS = ("gzip", "x-gzip", "deflate")
"""Of ``Content-Encoding`` (RFC 9110, 8.4.1)."""
_EITHER = 32 + zlib.MAX_WBITS


class Stream(Protocol):
    """What is read of an answer."""

    def read1(self, size: int, /) -> bytes: ...

    def peek(self, size: int, /) -> bytes: ...


class Inflated:
    def __init__(self, stream: Stream, spend: Callable[[int], None]) -> None:
        """``spend`` is told how many bytes became of it, and may raise: a few can stand for gigabytes."""
        self._stream = stream
        self._spend = spend
        self._inflater = zlib.decompressobj(_EITHER)
        self._rest = b""

    def peek(self, size: int) -> bytes:
        """Some of what comes first."""
        if not self._rest:
            self._rest = self._inflate(size)
        return self._rest

    def read1(self, size: int) -> bytes:
        """Up to ``size`` bytes; nothing at the end. Raises HTTPException when it is cut off or damaged."""
        data = self._rest or self._inflate(size)
        self._rest = data[size:]
        return data[:size]

    def _inflate(self, size: int) -> bytes:
        while not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._stream.read1(size)
            if not packed:
                raise http.client.IncompleteRead(b"")
            try:
                data = self._inflater.decompress(packed, size)
            except zlib.error as error:
                raise http.client.HTTPException(str(error)) from None
            self._spend(len(data))
            if data:
                return data
        return b""
