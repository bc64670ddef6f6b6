"""From relative inverse depth to values of a range that does not flicker.

Scale and shift of the network's output differ per frame; normalising each frame by its own
minimum and maximum makes the brightness pump (MiDaS#174, Depth-Anything-V2#85).
"""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np

from streamd.media.frames import ByteImage, FloatImage

LOW_PERCENTILE, HIGH_PERCENTILE = 1.0, 99.0
ATTACK_S, RELEASE_S = 0.25, 3.0
"""Time constants: the range opens fast, so that nothing is clipped for long, and closes slowly."""
CUT_CORRELATION = 0.5
"""Below this the picture before and this one show different scenes."""
LOG_STRENGTH = 9.0
MIN_SHARE = 0.1
"""Of the range: a scene that filled less of it says little of how to show it."""
SETTLED = 0.04
"""Of the range: how far its bounds may be from those of the depth."""
STILL_LUMA = 2
"""Code values that a pixel may change by and still count as unchanged."""

Map = FloatImage | ByteImage
Mode = Literal["smooth", "frame"] | tuple[float, float]


class DepthRange:
    """Causal: uses past frames only. One per stream; one thread."""

    def __init__(self, mode: Mode = "smooth", compress: Literal["linear", "log"] = "linear") -> None:
        self._mode = mode
        self._compress = compress
        self._bounds: tuple[float, float] | None = None
        self._previous: FloatImage | None = None
        self._model = ""
        self._time_s = 0.0
        self.bounds = (0.0, 1.0)
        """The inverse depths that were 0 and 1 last."""
        self.is_settled = True
        """Whether the same depth would be shown alike from now on, and not pass over to another range."""

    def normalise(self, inverse_depth: FloatImage, time_s: float, model: str = "") -> FloatImage:
        """(h, w) inverse depth at ``time_s`` to (h, w) float32 in [0, 1], 1 nearest."""
        low, high = self.bounds = self._range(inverse_depth, time_s, model)
        normalised = (inverse_depth - np.float32(low)) * np.float32(1 / (high - low))
        np.clip(normalised, 0.0, 1.0, out=normalised)
        if self._compress == "log":
            normalised = np.log1p(LOG_STRENGTH * normalised) / np.float32(math.log1p(LOG_STRENGTH))
        return normalised

    def _range(self, depth: FloatImage, time_s: float, model: str) -> tuple[float, float]:
        if isinstance(self._mode, tuple):
            near, far = self._mode
            return min(near, far), max(near, far)
        if self._mode == "frame":
            return _apart(float(depth.min()), float(depth.max()))
        now = percentiles(depth)
        if not (math.isfinite(now[0]) and math.isfinite(now[1])):  # one bad frame must not spoil those after it
            return _apart(*(self._bounds or (0.0, 1.0)))
        before = self._previous
        if self._bounds is None or before is None or is_cut(before, depth):
            self._bounds = now
        elif model != self._model or before.shape != depth.shape:
            self._bounds = _carried_over(self._bounds, percentiles(before), now)
        else:
            elapsed_s = max(0.0, time_s - self._time_s)
            low, high = self._bounds
            self._bounds = (
                low + (now[0] - low) * _gain(elapsed_s, opens=now[0] < low),
                high + (now[1] - high) * _gain(elapsed_s, opens=now[1] > high),
            )
        self._previous, self._time_s, self._model = depth, time_s, model
        low, high = _apart(*self._bounds)
        self.is_settled = max(abs(now[0] - low), abs(now[1] - high)) <= SETTLED * (high - low)
        return low, high


def is_cut(before: Map, depth: Map) -> bool:
    """Whether two maps show different scenes. A cut between scenes with alike depth is none that anyone would see in
    the colours."""
    if before.shape != depth.shape:  # another network, or another size of its input
        before = cv2.resize(before, depth.shape[::-1], interpolation=cv2.INTER_AREA)
    return _correlation(before[::4, ::4].astype(np.float32), depth[::4, ::4].astype(np.float32)) < CUT_CORRELATION


def _carried_over(
    bounds: tuple[float, float], before: tuple[float, float], now: tuple[float, float]
) -> tuple[float, float]:
    """The bounds that show the scene as those before showed it, though another network has another scale: what was at
    these percentiles keeps its colour."""
    low, high = _apart(*bounds)
    far, near = ((value - low) / (high - low) for value in before)
    if near - far < MIN_SHARE:
        return now
    span = (now[1] - now[0]) / (near - far)
    return now[0] - far * span, now[0] + (1 - far) * span


def percentiles(depth: FloatImage) -> tuple[float, float]:
    """Robust bounds of one frame: a few wild pixels do not count."""
    flat = depth.ravel()
    last = flat.size - 1
    ranks = (int(last * LOW_PERCENTILE / 100), int(last * HIGH_PERCENTILE / 100))
    ordered = np.partition(flat, ranks)
    return float(ordered[ranks[0]]), float(ordered[ranks[1]])


def _gain(elapsed_s: float, *, opens: bool) -> float:
    return 1 - math.exp(-elapsed_s / (ATTACK_S if opens else RELEASE_S))


def _apart(low: float, high: float) -> tuple[float, float]:
    """A flat picture has no range; do not divide by nothing."""
    min_span = max(1e-6, 1e-3 * abs(high))
    return (low, high) if high - low >= min_span else (low, low + min_span)


def _correlation(a: FloatImage, b: FloatImage) -> float:
    a, b = a - a.mean(), b - b.mean()
    power = float((a * a).sum()) * float((b * b).sum())
    return float((a * b).sum()) / math.sqrt(power) if power > 0 else 1.0


class FlickerMeter:
    """Mean change of the shown depth where the picture did not change, as a fraction of the range."""

    def __init__(self, smoothing: float = 0.05) -> None:
        self._smoothing = smoothing
        self._normalised: FloatImage | None = None
        self._luma: ByteImage | None = None
        self.ratio = 0.0

    def update(self, normalised: FloatImage, luma: ByteImage) -> float:
        """Takes (h, w) of what was shown and of what was seen; returns the smoothed ratio."""
        before, self._normalised = self._normalised, normalised
        seen, self._luma = self._luma, luma
        if before is None or seen is None or before.shape != normalised.shape:
            return self.ratio
        still = np.maximum(luma, seen) - np.minimum(luma, seen) < STILL_LUMA  # uint8 would wrap below zero
        if still.any():
            change = float(np.abs(normalised - before)[still].mean())
            self.ratio += self._smoothing * (change - self.ratio)
        return self.ratio

    def hold(self) -> float:
        """For a picture that changes nothing of what is shown."""
        self.ratio -= self._smoothing * self.ratio
        return self.ratio
