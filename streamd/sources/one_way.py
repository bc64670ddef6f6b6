"""Files on servers that cannot skip."""

from __future__ import annotations

from streamd.errors import SourceUnsupported
from streamd.sources.body import CANNOT_SKIP, Body

_BEFORE = (b"ftyp", b"free", b"skip", b"wide", b"uuid", b"pnot", b"udta", b"styp", b"pdin")
"""Boxes of MP4 that may precede its index (ISO/IEC 14496-12, 4.2)."""
_HEADER_BYTES = 16


class OneWay:
    """A body that FFmpeg reads from its begin to its end.

    An MP4 whose index comes last cannot be played so, and FFmpeg would find out when it has read all of it: it is
    refused as soon as its pictures come and its index has not.
    """

    def __init__(self, name: str, body: Body) -> None:
        """``name`` is for the error."""
        self.name = body.name
        self._camera = name
        self._body = body
        self._position = 0
        self._box_at: int | None = 0
        """Where the next box begins; None: nothing to find out any more."""
        self._header = bytearray()
        """What has come of it."""
        self._is_refused = False

    def read(self, size: int) -> bytes:
        """Nothing after an error, as the body. Raises SourceUnsupported, and what the body raises."""
        data = b"" if self._is_refused else self._body.read(size)
        self._look(data)
        self._position += len(data)
        return data

    def _look(self, data: bytes) -> None:
        while self._box_at is not None:
            at = self._box_at + len(self._header) - self._position
            if at < len(data):
                self._header += data[at : at + _HEADER_BYTES - len(self._header)]
            if len(self._header) < _HEADER_BYTES:
                return
            size, name = int.from_bytes(self._header[:4]), bytes(self._header[4:8])
            if name == b"mdat":
                self._is_refused, self._box_at = True, None
                raise SourceUnsupported(
                    self._camera, f"{CANNOT_SKIP}: make the file with its index first (ffmpeg -movflags +faststart)"
                )
            if size == 1:
                size = int.from_bytes(self._header[8:])
            self._box_at = self._box_at + size if name in _BEFORE and size >= 8 else None
            del self._header[:size]
