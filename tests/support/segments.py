"""Recorded segments, made on the spot as a recorder makes them: numbered pictures at 25 fps of a given time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from streamd.media.depth16 import quantise
from streamd.media.encode import LiveEncoder
from streamd.media.frames import CLOCK_RATE, EncodedPacket, FloatImage, Stamp
from streamd.sinks.recording.names import SegmentName, name_segment
from streamd.sinks.recording.segment import SegmentWriter, open_segment
from tests.support.clips import HEIGHT, WIDTH, picture_of

FPS = 25
BEGIN = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
BEGIN_S = BEGIN.timestamp()
SHAPE = (32, 64)
END = b"....mfra\x00\x00\x00\x10mfro\x00\x00\x00\x00\x00\x00\x00\x18"
"""Of a segment that is whole."""


def record(root: Path, stream: str, second: int, view: str = "depth", data: bytes = END) -> str:
    """Writes ``data`` as a segment of that second; its path below ``root``."""
    path = f"{stream}/2026-11-25T03-41-{second:02}.500Z-{view}.mp4"
    (root / stream).mkdir(exist_ok=True)
    (root / path).write_bytes(data)
    return path


def depth_of(number: int) -> FloatImage:
    """Another range for each frame."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return ((rows * 7.0 + columns + number) * (1 + number % 5) - 20 * number).astype(np.float32)


def packets(
    count: int, first: int = 0, *, key_every: int = 50, size: tuple[int, int] = (WIDTH, HEIGHT), step: int = 1
) -> list[EncodedPacket]:
    """Only each ``step``-th is recorded, as of a still scene."""
    encoder, found = LiveEncoder(*size, fps=FPS), []
    for number in range(0, count, step):
        if number % key_every == 0:
            encoder.request_keyframe()
            encoder._last_keyframe = 0.0
        stamp = Stamp(number, 7 * CLOCK_RATE + number * CLOCK_RATE // FPS, 0.0)
        found += encoder.encode(picture_of(first + number, *size), stamp)
    return found


def depths(count: int, first: int = 0, *, step: int = 1) -> list[EncodedPacket]:
    found = []
    for number in range(0, count, step):
        codes, scale = quantise(depth_of(first + number))
        found.append(
            EncodedPacket(
                codes.tobytes(), number * CLOCK_RATE // FPS, True, 0.0, SHAPE[::-1], codec="gray16", scale=scale
            )
        )
    return found


def segment(
    root: Path,
    offset_s: float,
    units: list[EncodedPacket],
    *,
    stream: str = "porch",
    view: str = "depth",
    cut_short: bool = False,
    begin: datetime = BEGIN,
    ends_s: float = 0.0,
) -> SegmentName:
    """Begun ``offset_s`` after ``begin``. ``cut_short``: as kill -9 leaves it. ``ends_s``: until when its last picture
    was seen."""
    name = name_segment(stream, view, begin + timedelta(seconds=offset_s))
    (root / stream).mkdir(parents=True, exist_ok=True)
    writer: SegmentWriter = open_segment(root / name.path, units[0], lambda count: None, lambda: None)
    for unit in units:
        writer.write(unit)
    if cut_short:
        left = (root / name.path).read_bytes()
        writer.close()
        (root / name.path).write_bytes(left)
    else:
        writer.close(ends_s)
    return name
