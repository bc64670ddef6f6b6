"""Pictures as they come, as one file for FFmpeg."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import av
import av.error

from streamd.sources.picture_scanner import CodedPicture, PictureKind
from streamd.states import SkipReason

UNITS_PER_S = 1000
_HEADER = struct.Struct("<4sHH4sHHIIII")
_RECORD = struct.Struct("<IQ")


class Film:
    """An IVF file without end: each picture in it is preceded by its length, so that FFmpeg need not wait for the next
    one to know where it ends, and by its time.

    All are of the kind of the first: others are left out, and counted. IVF has no name for WebP: such become PNGs.
    """

    def __init__(
        self, name: str, pictures: Iterator[tuple[CodedPicture, float]], on_skip: Callable[[SkipReason], None]
    ) -> None:
        """``pictures`` with their times, s."""
        self.name = name
        self._pictures = pictures
        self._on_skip = on_skip
        self._kind: PictureKind | None = None
        self._rest = memoryview(b"")
        self._shown_at = -1

    def read(self, size: int) -> bytes:
        """Called by FFmpeg. Raises what ``pictures`` raises."""
        if not self._rest:
            self._rest = memoryview(self._next())
        piece, self._rest = self._rest[:size], self._rest[size:]
        return bytes(piece)

    def _next(self) -> bytes:
        """Empty at the end."""
        for picture, time_s in self._pictures:
            header, coded = b"", _png_of(picture.data) if picture.kind is PictureKind.WEBP else picture.data
            kind = PictureKind.PNG if picture.kind is PictureKind.WEBP else picture.kind
            if coded and self._kind is None:
                self._kind = kind
                header = _HEADER.pack(b"DKIF", 0, _HEADER.size, kind.value, 0, 0, UNITS_PER_S, 1, 0, 0)
            if coded and kind is self._kind:
                self._shown_at = max(self._shown_at + 1, round(UNITS_PER_S * time_s))
                return header + _RECORD.pack(len(coded), self._shown_at) + coded
            self._on_skip(SkipReason.CORRUPT)
        return b""


def _png_of(webp: bytes) -> bytes:
    """Empty when it cannot be decoded."""
    try:
        decoder = av.CodecContext.create("webp", "r")
        picture = next(iter(decoder.decode(av.Packet(webp)) + decoder.decode(None)), None)
        if picture is None:
            return b""
        encoder: Any = av.CodecContext.create("png", "w")
        encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = picture.width, picture.height, "rgb24", 1
        encoder.options = {"compression_level": "1"}
        packets = encoder.encode(picture.reformat(format="rgb24")) + encoder.encode(None)
        return b"".join(bytes(packet) for packet in packets)
    except (av.error.FFmpegError, ValueError):
        return b""
