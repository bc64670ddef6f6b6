"""What the network says of points of a stream: over several frames for a calibration, of the newest for a value."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from streamd.depth.calibration import Calibration, Reading, calibrate
from streamd.depth.range import percentiles
from streamd.errors import PictureError
from streamd.media.frames import DepthFrame, FloatImage, NormalisedFrame
from streamd.streams.calibrated import Calibrated
from streamd.streams.stream import Stream

FRAMES, ENOUGH = 8, 3
"""That a calibration is made from, as far as they come within ``WAIT_S``; and what tells how they scatter."""
WAIT_S = 2.0
STILL = 2.5
"""So many times longer for ``ENOUGH``, where nothing changes and the network looks now and then only."""
FIRST_S = 10.0
"""For the first: a stream on demand has to wake up."""
_POLL_S = 0.01
_WINDOWS = 64
"""So many times a window goes into the shorter side of what the network gives; it has 3 x 3 values at least."""


@dataclass(frozen=True)
class Mark:
    """A point of known distance. ``x`` and ``y``: shares of the picture's width and height, from 0 to 1."""

    x: float
    y: float
    metres: float


@dataclass(frozen=True)
class Value:
    """Of a point of the newest frame."""

    inverse_depth: float
    share: float
    """Of the range shown, 1 is nearest."""
    calibration: Calibration | None
    """That of the frame."""


async def value_at(stream: Stream, x: float, y: float) -> Value:
    """Raises PictureError when there is no frame."""
    frame = await _first(stream)
    calibrated = stream.calibrated
    return Value(
        _at(frame.frame.inverse_depth, x, y, cv2.INTER_CUBIC),
        _at(frame.normalised, x, y, cv2.INTER_LINEAR),
        calibrated.of(frame.frame) if calibrated is not None else None,
    )


async def calibrate_by(
    stream: Stream, marks: Sequence[Mark], input_size: Callable[[], int | None], source: str
) -> Calibrated:
    """``input_size``: of the network, as configured, px; ``source``: redacted.
    Raises UsageError for marks that cannot be right, PictureError when there is no frame."""
    with stream.keep_awake():
        frame, read = await _read(stream, marks)
    around, there = np.median(read, axis=0)[0], np.array(read)[:, 1]
    scatter = np.std(there, axis=0, ddof=1) if len(read) >= ENOUGH else np.zeros(len(marks))
    readings = [
        Reading(mark.x, mark.y, mark.metres, float(depth), float(noise))
        for mark, depth, noise in zip(marks, around, scatter, strict=True)
    ]
    low, high = percentiles(frame.inverse_depth)
    height, width = frame.inverse_depth.shape
    made_by = frame.provenance
    calibration = calibrate(readings, high - low)
    size = input_size() or max(width, height)
    return Calibrated(calibration, made_by.model, made_by.sha256, size, (width, height), source, time.time())


async def _first(stream: Stream) -> NormalisedFrame:
    with stream.keep_awake():
        try:
            return await asyncio.wait_for(stream.frame(), FIRST_S)
        except TimeoutError:
            raise PictureError(f"no frame within {FIRST_S:.0f} s") from None


async def _read(stream: Stream, marks: Sequence[Mark]) -> tuple[DepthFrame, list[FloatImage]]:
    """The last frame that was read, and of each what it says of the marks. All are of one network, and none has the
    depth of one before."""
    loop = asyncio.get_running_loop()
    frame = (await _first(stream)).frame
    read, began = [_values(frame, marks)], loop.time()
    while len(read) < FRAMES and loop.time() - began < WAIT_S * (1 if len(read) >= ENOUGH else STILL):
        await asyncio.sleep(_POLL_S)
        newest = stream.newest
        if newest is None or newest.frame.inverse_depth is frame.inverse_depth:
            continue
        before, frame = frame, newest.frame
        if not _alike(before, frame):  # begun with another network: begin anew
            read.clear()
        read.append(_values(frame, marks))
    return frame, read


def _alike(one: DepthFrame, other: DepthFrame) -> bool:
    same_size = one.inverse_depth.shape == other.inverse_depth.shape
    return same_size and one.provenance.sha256 == other.provenance.sha256


def _values(frame: DepthFrame, marks: Sequence[Mark]) -> FloatImage:
    """(2, n): around each mark, and at it."""
    depth = frame.inverse_depth
    around = [_around(depth, mark.x, mark.y) for mark in marks]
    return np.array([around, [_at(depth, mark.x, mark.y, cv2.INTER_CUBIC) for mark in marks]], np.float32)


def _around(depth: FloatImage, x: float, y: float) -> float:
    """The median of a small window: an edge or a speck beside the point does not count."""
    height, width = depth.shape
    reach = max(1, min(height, width) // _WINDOWS // 2)
    column, row = min(int(x * width), width - 1), min(int(y * height), height - 1)
    window = depth[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
    return float(np.median(window))


def _at(values: FloatImage, x: float, y: float, interpolation: int) -> float:
    """As a snapshot of the picture's size has it there."""
    height, width = values.shape
    at = np.array([[x * width - 0.5]], np.float32), np.array([[y * height - 0.5]], np.float32)
    return float(cv2.remap(values, *at, interpolation, borderMode=cv2.BORDER_REPLICATE)[0, 0])
