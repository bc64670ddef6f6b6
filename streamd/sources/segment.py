"""What is in the segments of a playlist, below what servers wrap around it."""

from __future__ import annotations

import re

from streamd.sources.budget import MIB
from streamd.sources.hls_key import ClosableFile

_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF")
_MAX_DISGUISE_BYTES = MIB // 4
_PACKET_BYTES = 188
_TRANSPORT_STREAM = re.compile(rb"G.{187}G.{187}G.{187}G", re.DOTALL)


class Undisguised:
    """MPEG-TS behind a picture, as hosts of pictures are given it, from its first packet on."""

    def __init__(self, file: ClosableFile) -> None:
        """Raises ValueError when there is only a picture."""
        self._file = file
        self._held = b""
        while (found := _TRANSPORT_STREAM.search(self._held)) is None:
            data = self._file.read(_MAX_DISGUISE_BYTES)
            self._held += data
            if not data or len(self._held) > _MAX_DISGUISE_BYTES:
                raise ValueError("is a picture")
        self._held = self._held[found.start() :]

    def read(self, size: int) -> bytes:
        if self._held:
            data, self._held = self._held[:size], self._held[size:]
            return data
        return self._file.read(size)

    def close(self) -> None:
        self._file.close()


def is_picture(head: bytes) -> bool:
    """``head`` is how it begins. A key of 16 bytes may begin like that by chance."""
    return len(head) > 16 and head.startswith(_PICTURES)


def skip(file: ClosableFile, count: int) -> None:
    """For servers that send the whole when they are asked for a part."""
    while count and (data := file.read(min(count, MIB))):
        count -= len(data)
