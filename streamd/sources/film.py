"""Pictures as they come, as files for FFmpeg."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import chain
from typing import Any

import av
import av.error

from streamd.sources.picture_scanner import CodedPicture, PictureKind

UNITS_PER_S = 1000
_HEADER = struct.Struct("<4sHH4sHHIIII")
_RECORD = struct.Struct("<IQ")
TimedPicture = tuple[CodedPicture, float]
"""With its time, s."""


class Film:
    """An IVF file without end: each picture in it is preceded by its length, so that FFmpeg need not wait for the next
    one to know where it ends, and by its time. It ends where pictures of another kind follow, as when a camera takes
    the place of the sign that it is away."""

    def __init__(self, name: str, pictures: Iterator[TimedPicture]) -> None:
        """Of JPEGs or PNGs: IVF has no name for WebP."""
        self.name = name
        self._pictures = pictures
        self._kind: PictureKind | None = None
        self._following: TimedPicture | None = None
        self._rest = memoryview(b"")
        self._shown_at = -1

    def read(self, size: int) -> bytes:
        """Called by FFmpeg. Raises what ``pictures`` raises."""
        if not self._rest:
            self._rest = memoryview(self._next())
        piece, self._rest = self._rest[:size], self._rest[size:]
        return bytes(piece)

    def following(self) -> Iterator[TimedPicture] | None:
        """From the first one of another kind on, when this one has ended; None: there are none."""
        return None if self._following is None else chain([self._following], self._pictures)

    def _next(self) -> bytes:
        """Empty at the end."""
        if self._following is not None or (coming := next(self._pictures, None)) is None:
            return b""
        (kind, coded), time_s = coming
        header = b""
        if self._kind is None:
            self._kind = kind
            header = _HEADER.pack(b"DKIF", 0, _HEADER.size, kind.value, 0, 0, UNITS_PER_S, 1, 0, 0)
        if kind is not self._kind:
            self._following = coming
            return b""
        self._shown_at = max(self._shown_at + 1, round(UNITS_PER_S * time_s))
        return header + _RECORD.pack(len(coded), self._shown_at) + coded


def as_png(webp: bytes) -> CodedPicture | None:
    """None when it cannot be decoded."""
    try:
        decoder = av.CodecContext.create("webp", "r")
        picture = next(iter(decoder.decode(av.Packet(webp)) + decoder.decode(None)), None)
        if picture is None:
            return None
        kind = "rgba" if any(component.is_alpha for component in picture.format.components) else "rgb24"
        encoder: Any = av.CodecContext.create("png", "w")
        encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = picture.width, picture.height, kind, 1
        encoder.options = {"compression_level": "1"}
        packets = encoder.encode(picture.reformat(format=kind)) + encoder.encode(None)
        return CodedPicture(PictureKind.PNG, b"".join(bytes(packet) for packet in packets))
    except (av.error.FFmpegError, ValueError):
        return None
