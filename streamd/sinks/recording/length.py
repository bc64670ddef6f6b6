"""How long a recorded file is, by the file itself: also while it grows, and where power or disk cut it short.

Only what a recorder writes is understood: fragmented MP4 (ISO 14496-12, 8.8) and Matroska (RFC 9559). Only headers are
read; what is not complete does not count.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

LONGEST_S = 25 * 3600.0
"""No segment takes longer (``segment_seconds`` allows a day)."""
MAX_HEADER_BYTES = 1 << 20
MAX_STEPS = 400_000
"""Fragments of a file that are looked at: more than a day has."""
_MFRO_BYTES = 16
"""A finished file ends with the box mfro (8.8.11): size, type, version, size of mfra."""
_SEGMENT, _INFO, _DURATION, _CLUSTER, _TIMESTAMP = 0x18538067, 0x1549A966, 0x4489, 0x1F43B675, 0xE7
_DAMAGED = (struct.error, IndexError)


class Length(NamedTuple):
    seconds: float
    is_whole: bool
    """It has its end."""


class _Part(NamedTuple):
    """A box, or an element."""

    kind: bytes | int
    start: int
    """Of what it holds."""
    end: int


def measure(descriptor: int, size: int) -> Length:
    """Raises OSError. A file that is none of ours has no length, and neither has one that claims more than there is."""
    head = os.pread(descriptor, 4, 0)
    with suppress(*_DAMAGED):
        found = _matroska(descriptor, size) if head == b"\x1a\x45\xdf\xa3" else _mp4(descriptor, size)
        if 0 <= found.seconds <= LONGEST_S:
            return found
    return Length(0.0, is_whole=False)


# --- MP4


def _mp4(descriptor: int, size: int) -> Length:
    tail = os.pread(descriptor, _MFRO_BYTES, max(0, size - _MFRO_BYTES))
    is_whole = tail[4:8] == b"mfro"
    timescale, first = 0, 0
    for box in _boxes(descriptor, 0, size):
        if box.kind == b"moov":
            timescale, first = _timescale(_read(descriptor, box)), box.end
            break
    if not timescale:
        return Length(0.0, is_whole)
    if is_whole:
        first = _last_fragment(descriptor, size, int.from_bytes(tail[12:16])) or first
    fragment, last = None, None
    for box in _boxes(descriptor, first, size):
        if box.kind == b"moof":
            fragment = box
        elif box.kind == b"mdat" and fragment is not None:
            last = fragment
    return Length(_end(_read(descriptor, last)) / timescale if last else 0.0, is_whole)


def _boxes(descriptor: int, start: int, end: int) -> Iterator[_Part]:
    """Those that are complete."""
    for _ in range(MAX_STEPS):
        header = os.pread(descriptor, 16, start) if start + 8 <= end else b""
        if len(header) < 8:
            return
        size, begins = int.from_bytes(header[:4]), start + 8
        if size == 1:
            size, begins = int.from_bytes(header[8:16]), start + 16
        if size < begins - start or start + size > end:
            return
        yield _Part(header[4:8], begins, start + size)
        start += size


def _inner(data: bytes, kind: bytes) -> bytes:
    """What the first box of this kind holds; nothing without one."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] == kind:
            return data[at + 8 : at + size]
        at += max(size, 8)
    return b""


def _timescale(moov: bytes) -> int:
    mdhd = _inner(_inner(_inner(moov, b"trak"), b"mdia"), b"mdhd")
    return int.from_bytes(mdhd[20:24] if mdhd[:1] == b"\1" else mdhd[12:16])


def _last_fragment(descriptor: int, size: int, mfra_bytes: int) -> int:
    """Where it begins, by the index at the end; 0 when that does not tell."""
    tfra = _inner(os.pread(descriptor, min(mfra_bytes, 64 * MAX_HEADER_BYTES), max(0, size - mfra_bytes))[8:], b"tfra")
    is_long = tfra[:1] == b"\1"
    entry_bytes = (16 if is_long else 8) + sum((tfra[11] >> shift & 3) + 1 for shift in (4, 2, 0))
    count = int.from_bytes(tfra[12:16])
    entry = tfra[16 + (count - 1) * entry_bytes :] if count else b""
    return int.from_bytes(entry[8:16] if is_long else entry[4:8])


def _end(moof: bytes) -> int:
    """When the last picture of the fragment ends, in units of the track."""
    traf = _inner(moof, b"traf")
    tfhd, tfdt, trun = (_inner(traf, kind) for kind in (b"tfhd", b"tfdt", b"trun"))
    flags, at = int.from_bytes(tfhd[1:4]), 8
    at += 8 * bool(flags & 0x1) + 4 * bool(flags & 0x2)
    default = int.from_bytes(tfhd[at : at + 4]) if flags & 0x8 else 0
    begins = int.from_bytes(tfdt[4:12] if tfdt[:1] == b"\1" else tfdt[4:8])
    flags, (count,), at = int.from_bytes(trun[1:4]), struct.unpack_from(">I", trun, 4), 8
    at += 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4)
    if not flags & 0x100:
        return int(begins + count * default)
    step = 4 * sum(bool(flags & bit) for bit in (0x100, 0x200, 0x400, 0x800))
    return int(begins + sum(struct.unpack_from(">I", trun, at + sample * step)[0] for sample in range(count)))


# --- Matroska


def _matroska(descriptor: int, size: int) -> Length:
    whole, duration_ms, times = False, 0.0, [0, 0]
    for element in _elements(descriptor, 0, size):
        if element.kind == _SEGMENT:
            whole = element.end < size + 1 and _is_sized(descriptor, element)
        elif element.kind == _INFO:
            duration_ms = _duration(_read(descriptor, element))
        elif element.kind == _CLUSTER and not (whole and duration_ms):
            times = [times[1], _timestamp(os.pread(descriptor, 24, element.start))]
        elif element.kind == _CLUSTER:
            break
    if whole and duration_ms:
        return Length(duration_ms / 1000, is_whole=True)
    return Length((2 * times[1] - times[0]) / 1000, is_whole=whole)


def _is_sized(descriptor: int, segment: _Part) -> bool:
    """A muxer knows the size of a segment when it ends it."""
    return os.pread(descriptor, 8, segment.start - 8) != b"\x01" + b"\xff" * 7


def _elements(descriptor: int, start: int, end: int) -> Iterator[_Part]:
    """Those of the file and of its segment that are complete."""
    for _ in range(MAX_STEPS):
        header = os.pread(descriptor, 12, start)
        if len(header) < 2 or not header[0]:
            return
        id_bytes = 9 - header[0].bit_length()
        kind = int.from_bytes(header[:id_bytes])
        size, size_bytes = _vint(header[id_bytes:])
        begins = start + id_bytes + size_bytes
        if kind == _SEGMENT:
            yield _Part(kind, begins, end if begins + size > end else begins + size)
            start = begins
        elif begins + size > end:
            return
        else:
            yield _Part(kind, begins, begins + size)
            start = begins + size


def _vint(data: bytes) -> tuple[int, int]:
    """A number of variable length, and how many bytes it has. Raises IndexError."""
    count = 9 - data[0].bit_length()
    return int.from_bytes(data[:count]) & (1 << 7 * count) - 1, count


def _children(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data) and data[at]:
        id_bytes = 9 - data[at].bit_length()
        size, size_bytes = _vint(data[at + id_bytes :])
        begins = at + id_bytes + size_bytes
        yield int.from_bytes(data[at : at + id_bytes]), data[begins : begins + size]
        at = begins + size


def _duration(info: bytes) -> float:
    """In ms: the unit of what FFmpeg writes."""
    value = dict(_children(info)).get(_DURATION, b"")
    return float(struct.unpack(">d" if len(value) == 8 else ">f", value)[0]) if len(value) in (4, 8) else 0.0


def _timestamp(cluster: bytes) -> int:
    return int.from_bytes(dict(_children(cluster)).get(_TIMESTAMP, b""))


def _read(descriptor: int, part: _Part) -> bytes:
    return os.pread(descriptor, min(part.end - part.start, MAX_HEADER_BYTES), part.start)
