"""Whole pictures (JPEG, PNG, WebP) in a stream of bytes, whatever is between them.

A browser shows Motion JPEG whose boundary is late, wrong or absent, whose lengths are wrong, and whose parts have odd
headers or none (ESP32 firmwares: yoursunny/esp32cam#67, AlexxIT/go2rtc#545). All three kinds say themselves where they
end; so what is said around them is not read at all, and a picture is known to be whole with its last byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple


class PictureKind(Enum):
    """With FFmpeg's tag of the codec."""

    JPEG = b"MJPG"
    PNG = b"MPNG"
    WEBP = b"WEBP"


class CodedPicture(NamedTuple):
    kind: PictureKind
    data: bytes


_SIGNATURE = re.compile(rb"(\xff\xd8\xff)|(\x89PNG\r\n\x1a\n)|(RIFF.{4}WEBP)", re.DOTALL)
_END_OF_JPEG = re.compile(rb"\xff[\xd9\xd8]")
"""Or the begin of the next one."""
_WEBP = re.compile(rb"RIFF.{4}WEBP", re.DOTALL)
_LONGEST = 12
_KINDS = tuple(PictureKind)
_START_OF_SCAN = 0xDA
MAX_SEGMENTS = 4096
"""Of one picture: markers before a JPEG's pixels, chunks of a PNG."""
MAX_DAMAGED = 250
"""Pictures in a row; none of them costs much."""
MAX_HEAD_BYTES = 4096
"""Boundary and headers of a part."""


class _Damaged(Exception):
    """It does not go on as such a picture does."""


class PictureScanner:
    """``damaged`` counts pictures that did not come whole."""

    def __init__(self) -> None:
        self.damaged = 0
        self._in_a_row = 0
        self._data = bytearray()
        """From the signature of a picture on, when there is one."""
        self._kind: PictureKind | None = None
        self._at = 0
        """How far the picture has been looked at."""
        self._segments = 0
        self._scan_at = 0
        """Where a JPEG's pixels begin; 0: not known yet."""

    def feed(self, data: bytes) -> Iterator[CodedPicture]:
        """Those that end in ``data``. Raises ValueError when there are damaged ones only."""
        self._data += data
        while self._kind is not None or self._begin(0):
            try:
                end = self._end()
            except _Damaged:
                self._count_damaged()
                self._begin(1)
                continue
            if end is None:
                return
            yield self._cut(end)

    def rest(self) -> CodedPicture | None:
        """At the end of all: a picture that began, and may lack only the mark of its end."""
        return self._cut(len(self._data)) if self._kind is not None else None

    def _begin(self, at: int) -> bool:
        """Whether a picture begins at ``at`` or later; what is before it is forgotten."""
        found = _SIGNATURE.search(self._data, at)
        del self._data[: found.start() if found else max(at, len(self._data) - _LONGEST + 1)]
        self._kind = _KINDS[(found.lastindex or 1) - 1] if found else None
        self._at = 8 if self._kind is PictureKind.PNG else 2
        self._segments, self._scan_at = 0, 0
        return found is not None

    def _cut(self, end: int) -> CodedPicture:
        assert self._kind is not None
        picture = CodedPicture(self._kind, bytes(memoryview(self._data)[:end]))
        self._in_a_row = 0
        self._begin(end)
        return picture

    def _count_damaged(self) -> None:
        self.damaged += 1
        self._in_a_row += 1
        if self._in_a_row > MAX_DAMAGED:
            raise ValueError("sends no pictures that can be decoded")

    def _end(self) -> int | None:
        """Where the picture ends; None: not yet. Raises _Damaged."""
        if self._kind is PictureKind.JPEG:
            return self._end_of_jpeg()
        if self._kind is PictureKind.PNG:
            return self._end_of_png()
        return self._end_of_webp()

    def _end_of_jpeg(self) -> int | None:
        """ITU-T T.81, B.1. Segments are passed over, for a thumbnail in one has ends of its own; after them, an 0xFF
        of the pixels is always followed by 0 or a restart's number."""
        while not self._scan_at:
            if len(self._data) < self._at + 4:
                return None
            mark, marker, *length = self._data[self._at : self._at + 4]
            if marker == 0xFF:  # a fill byte
                self._step(1)
                continue
            size = int.from_bytes(length)
            if mark != 0xFF or marker < 0xC0 or 0xD0 <= marker <= 0xD9 or size < 2:
                raise _Damaged
            self._step(2 + size)
            if marker == _START_OF_SCAN:
                self._scan_at = self._at
        found = _END_OF_JPEG.search(self._data, self._at)
        if found is None:
            self._at = max(self._at, len(self._data) - 1)
            return None
        return found.end() if found[0] == b"\xff\xd9" else self._end_unmarked(found.start())

    def _end_unmarked(self, following: int) -> int:
        """Of one that is cut, or lacks only its last two bytes: the decoder tells which. Before the next one there
        may be a boundary."""
        boundary = self._data.rfind(b"\n--", max(self._scan_at, following - MAX_HEAD_BYTES), following)
        return boundary if boundary >= 0 else following

    def _end_of_png(self) -> int | None:
        """RFC 2083, 3.2."""
        while len(self._data) >= self._at + 8:
            size = int.from_bytes(self._data[self._at : self._at + 4])
            name = bytes(self._data[self._at + 4 : self._at + 8])
            if not name.isalpha():
                raise _Damaged
            if name == b"IEND":
                end = self._at + 12 + size
                return end if len(self._data) >= end else None
            self._step(12 + size)
        return None

    def _end_of_webp(self) -> int | None:
        """RFC 9649, 2.4."""
        size = int.from_bytes(self._data[4:8], "little")
        end = 8 + size + size % 2
        if len(self._data) < end:
            return None
        if _WEBP.search(self._data, _LONGEST, end):  # it is cut, and this is the next
            raise _Damaged
        return end

    def _step(self, count: int) -> None:
        self._at += count
        self._segments += 1
        if self._segments > MAX_SEGMENTS:
            raise _Damaged
