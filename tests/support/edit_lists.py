"""MP4 files that show parts of what they hold."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_PARENTS = (b"moov", b"trak", b"edts", b"mdia")


def edited(data: bytes, *parts: tuple[float, float]) -> bytes:
    """Shows of each track these parts, (start, length) in s, instead of all (ISO 14496-12, 8.6.6). ``data`` has its
    index at the end, and an edit list for each track that shows one part; its movie counts in ms."""
    return b"".join(_edited(data, 0, len(data), _scales(data), parts))


def _edited(
    data: bytes, start: int, end: int, scales: Iterator[int], parts: tuple[tuple[float, float], ...]
) -> Iterator[bytes]:
    while start < end:
        size, kind = struct.unpack_from(">I4s", data, start)
        body = data[start + 8 : start + size]
        if kind == b"elst":
            (first,) = struct.unpack_from(">i", body, 12)
            scale = next(scales)
            entries = [struct.pack(">IiI", round(1000 * s), first + round(at * scale), 1 << 16) for at, s in parts]
            body = struct.pack(">II", 0, len(entries)) + b"".join(entries)
        elif kind in _PARENTS:
            body = b"".join(_edited(data, start + 8, start + size, scales, parts))
        yield struct.pack(">I4s", len(body) + 8, kind) + body
        start += size


def _scales(data: bytes) -> Iterator[int]:
    """Units in a second of each track (8.4.2)."""
    at = data.index(b"mdhd")
    while at > 0:
        yield struct.unpack_from(">I", data, at + 16)[0]
        at = data.find(b"mdhd", at + 1)
