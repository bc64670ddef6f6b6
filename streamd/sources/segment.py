"""What is in the segments of a playlist, below what servers wrap around it."""

from __future__ import annotations

import re
import zlib
from typing import Protocol

from streamd.sources.budget import MIB, Budget

ENCODINGS = ("gzip", "x-gzip", "deflate")
_EITHER_HEADER = 47
"""Of zlib's ``wbits``: gzip or zlib."""
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF")
_MAX_DISGUISE_BYTES = MIB // 4
_PACKET_BYTES = 188
_TRANSPORT_STREAM = re.compile(rb"G.{187}G.{187}G.{187}G", re.DOTALL)


class ClosableFile(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


class Inflated:
    """What ``packed`` holds by its ``Content-Encoding``, as it is read. Raises ValueError."""

    def __init__(self, packed: ClosableFile, budget: Budget) -> None:
        """What it becomes counts too: a kilobyte may hold a megabyte."""
        self._packed, self._budget = packed, budget
        self._inflate = zlib.decompressobj(_EITHER_HEADER)
        self._held = b""

    def peek(self) -> bytes:
        """Some of what comes first."""
        self._held = self._held or self.read(64)
        return self._held

    def read(self, size: int) -> bytes:
        if self._held:
            data, self._held = self._held[:size], self._held[size:]
            return data
        data = b""
        while not data and not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._packed.read(size)
            if not packed:
                break
            try:
                data = self._inflate.decompress(packed, size)
            except zlib.error:
                raise ValueError("cannot be unpacked") from None
        self._budget.spend(len(data))
        return data

    def close(self) -> None:
        self._packed.close()


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
