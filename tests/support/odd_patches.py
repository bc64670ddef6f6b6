"""What no muxer writes: a few bytes of a media file changed in place."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import av

Matrix = tuple[int, int, int, int]


def display_matrix(matrix: Matrix, width: int, height: int, track: int = 0) -> Callable[[Path], None]:
    """Of a track of an MP4 (ISO 14496-12, 8.3.2): x' = ax + cy, y' = bx + dy, moved back to 0."""
    a, b, c, d = matrix
    x, y = (width * (a < 0), height * (d < 0)) if a else (height * (c < 0), width * (b < 0))
    box = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, x << 16, y << 16, 1 << 30)

    def change(path: Path) -> None:
        data = bytearray(path.read_bytes())
        at = [match.end() for match in re.finditer(b"tkhd", data)][track] + 40
        data[at : at + 36] = box
        path.write_bytes(data)

    return change


def unknown_sound(path: Path) -> None:
    """The last sound track is of a codec that nobody knows, as Apple's spatial sound was."""
    data = bytearray(path.read_bytes())
    if b"stsd" in data:
        at = data.index(b"mp4a", data.rindex(b"stsd"))
        data[at : at + 4] = b"apac"
        at = data.index(b"esds", at)
        data[at : at + 4] = b"dapa"
    elif data.startswith(b"RIFF"):
        at = data.index(b"strf", data.index(b"auds")) + 8
        data[at : at + 2] = b"\x77\x77"
    elif data[0] == 0x47:
        _unknown_in_pmt(data)
    else:
        at = data.rindex(b"A_MPEG/L3", 0, data.index(b"\x1f\x43\xb6\x75"))
        data[at : at + 9] = b"A_MPEG/L9"
    path.write_bytes(data)


def _unknown_in_pmt(data: bytearray) -> None:
    """ISO 13818-1, 2.4.4.8: the type of each AAC stream becomes a private one, and the CRC fits again."""
    for at in range(0, len(data) - 187, 188):
        start = at + 5
        if not data[at + 1] & 0x40 or data[at + 3] & 0x20 or data[start] != 2:
            continue
        length = int.from_bytes(data[start + 1 : start + 3]) & 0xFFF
        end = start + 3 + length - 4
        entry = start + 12 + (int.from_bytes(data[start + 10 : start + 12]) & 0xFFF)
        while entry < end:
            if data[entry] == 0x0F:
                data[entry] = 0xEA
            entry += 5 + (int.from_bytes(data[entry + 3 : entry + 5]) & 0xFFF)
        data[end : end + 4] = _crc(bytes(data[start:end]))


def _crc(section: bytes) -> bytes:
    """CRC-32/MPEG-2."""
    crc = 0xFFFFFFFF
    for byte in section:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc.to_bytes(4)


def _headers(data: bytearray) -> list[int]:
    """Where the video's PES headers with stamps are (ISO 13818-1, 2.4.3.7)."""
    found, at = [], 0
    while (at := data.find(b"\x00\x00\x01\xe0", at)) >= 0:
        if data[at + 6] & 0xC0 == 0x80 and data[at + 7] & 0x80:
            found.append(at)
        at += 4
    return found


def missing_stamps(path: Path) -> None:
    """Every third picture has none."""
    data = bytearray(path.read_bytes())
    for at in _headers(data)[2::3]:
        data[at + 7] &= 0x3F
        data[at + 9 : at + 9 + data[at + 8]] = b"\xff" * data[at + 8]
    path.write_bytes(data)


def stray_stamp(path: Path) -> None:
    """One picture's is 1,000 s ahead."""
    data = bytearray(path.read_bytes())
    at = _headers(data)[8] + 9
    high, middle, low = data[at], int.from_bytes(data[at + 1 : at + 3]), int.from_bytes(data[at + 3 : at + 5])
    stamp = ((high >> 1 & 7) << 30 | (middle >> 1) << 15 | low >> 1) + 90_000_000
    data[at] = high & 0xF1 | stamp >> 29 & 0xE
    data[at + 1 : at + 3] = ((stamp >> 14 & 0xFFFE) | 1).to_bytes(2)
    data[at + 3 : at + 5] = ((stamp << 1 & 0xFFFE) | 1).to_bytes(2)
    path.write_bytes(data)


def repeated_sound_stamp(path: Path) -> None:
    """One sound packet has the time of the one before it."""
    copy = path.with_name(f"copy-{path.name}")
    with av.open(str(path)) as source, av.open(str(copy), "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        sound, before, count = source.streams.audio[0].index, (0, 0), 0
        for packet in source.demux():
            if packet.dts is None or packet.pts is None:
                continue
            if packet.stream_index == sound:
                count += 1
                if count == 10:
                    packet.pts, packet.dts = before
                before = packet.pts, packet.dts
            packet.stream = streams[packet.stream_index]
            target.mux(packet)
    copy.replace(path)


def cut(share: float) -> Callable[[Path], None]:
    """Only so much of it is there."""

    def change(path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return change


def twice(path: Path) -> None:
    """As ``cat`` joins it with itself."""
    path.write_bytes(2 * path.read_bytes())
