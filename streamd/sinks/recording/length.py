"""How long a recorded file is, by the file itself: also while it grows, and where power or disk cut it short.

A muxer does not know for how long the last picture of a file is shown: of a still scene, up to a second. ``prolong``
says so afterwards.

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


def prolong(descriptor: int, size: int, seconds: float) -> None:
    """Makes a finished file so long, by its last picture; it is never made shorter, and one that is not as our muxers
    make it stays as it is. Raises OSError."""
    head = os.pread(descriptor, 4, 0)
    with suppress(*_DAMAGED):
        (_prolong_matroska if head == b"\x1a\x45\xdf\xa3" else _prolong_mp4)(descriptor, size, seconds)


# --- MP4


def _mp4(descriptor: int, size: int) -> Length:
    timescale, last, is_whole = _last_of(descriptor, size)
    return Length(_Fragment(_read(descriptor, last)).end / timescale if last else 0.0, is_whole)


def _prolong_mp4(descriptor: int, size: int, seconds: float) -> None:
    timescale, last, _ = _last_of(descriptor, size)
    if last is None:
        return
    fragment = _Fragment(_read(descriptor, last))
    longer = round(seconds * timescale) - fragment.end
    at = fragment.last_duration_at
    if longer > 0 and at is not None:
        (duration,) = struct.unpack_from(">I", fragment.data, at)
        os.pwrite(descriptor, struct.pack(">I", duration + longer), last.start + at)


def _last_of(descriptor: int, size: int) -> tuple[int, _Part | None, bool]:
    """Ticks a second; the last fragment that is complete, its moof; and whether the file has its end."""
    tail = os.pread(descriptor, _MFRO_BYTES, max(0, size - _MFRO_BYTES))
    is_whole = tail[4:8] == b"mfro"
    timescale, first = 0, 0
    for box in _boxes(descriptor, 0, size):
        if box.kind == b"moov":
            timescale, first = _timescale(_read(descriptor, box)), box.end
            break
    if not timescale:
        return 0, None, is_whole
    if is_whole:
        first = _last_fragment(descriptor, size, int.from_bytes(tail[12:16])) or first
    fragment, last = None, None
    for box in _boxes(descriptor, first, size):
        if box.kind == b"moof":
            fragment = box
        elif box.kind == b"mdat" and fragment is not None:
            last = fragment
    return timescale, last, is_whole


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


def _find(data: bytes, kind: bytes, within: _Part | None = None) -> _Part:
    """The first box of this kind; an empty one without it."""
    at, end = (within.start, within.end) if within else (0, len(data))
    while at + 8 <= end:
        size = int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] == kind:
            return _Part(kind, at + 8, at + size)
        at += max(size, 8)
    return _Part(kind, 0, 0)


def _inner(data: bytes, kind: bytes) -> bytes:
    """What the first box of this kind holds; nothing without one."""
    box = _find(data, kind)
    return data[box.start : box.end]


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


class _Fragment:
    """When its last picture ends. Raises _DAMAGED."""

    def __init__(self, moof: bytes) -> None:
        self.data = moof
        traf = _find(moof, b"traf")
        tfhd, tfdt, trun = (_find(moof, kind, traf).start for kind in (b"tfhd", b"tfdt", b"trun"))
        flags, default_at = int.from_bytes(moof[tfhd + 1 : tfhd + 4]), tfhd + 8
        default_at += 8 * bool(flags & 0x1) + 4 * bool(flags & 0x2)
        has_default = bool(flags & 0x8)
        default = int.from_bytes(moof[default_at : default_at + 4]) if has_default else 0
        begins = int.from_bytes(moof[tfdt + 4 : tfdt + (12 if moof[tfdt] == 1 else 8)])
        flags, (count,), at = (
            int.from_bytes(moof[trun + 1 : trun + 4]),
            struct.unpack_from(">I", moof, trun + 4),
            trun + 8,
        )
        at += 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4)
        self.end = begins + count * default
        """Ticks."""
        self.last_duration_at: int | None = default_at if has_default and count == 1 else None
        """Where that of the last picture is; None where it shares it with others, or there is none."""
        if flags & 0x100 and count:
            step = 4 * sum(bool(flags & bit) for bit in (0x100, 0x200, 0x400, 0x800))
            self.end = begins + sum(struct.unpack_from(">I", moof, at + n * step)[0] for n in range(count))
            self.last_duration_at = at + (count - 1) * step


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


def _prolong_matroska(descriptor: int, size: int, seconds: float) -> None:
    for element in _elements(descriptor, 0, size):
        if element.kind == _INFO:
            info = _read(descriptor, element)
            found = next((child for child in _children(info) if child.kind == _DURATION), None)
            if found is not None and found.end - found.start == 8 and _duration(info) < 1000 * seconds:
                os.pwrite(descriptor, struct.pack(">d", 1000 * seconds), element.start + found.start)
            return


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


def _children(data: bytes) -> Iterator[_Part]:
    at = 0
    while at < len(data) and data[at]:
        id_bytes = 9 - data[at].bit_length()
        size, size_bytes = _vint(data[at + id_bytes :])
        begins = at + id_bytes + size_bytes
        yield _Part(int.from_bytes(data[at : at + id_bytes]), begins, begins + size)
        at = begins + size


def _child(data: bytes, kind: int) -> bytes:
    """What the last of this kind holds; nothing without one."""
    return {child.kind: data[child.start : child.end] for child in _children(data)}.get(kind, b"")


def _duration(info: bytes) -> float:
    """In ms: the unit of what FFmpeg writes."""
    value = _child(info, _DURATION)
    return float(struct.unpack(">d" if len(value) == 8 else ">f", value)[0]) if len(value) in (4, 8) else 0.0


def _timestamp(cluster: bytes) -> int:
    return int.from_bytes(_child(cluster, _TIMESTAMP))


def _read(descriptor: int, part: _Part) -> bytes:
    return os.pread(descriptor, min(part.end - part.start, MAX_HEADER_BYTES), part.start)
