"""From relative inverse depth to metres, by points of known distance: 1 / distance = a * inverse depth + b.

Scale and shift are the network's own and hold for one camera that does not move, one network and one size of its
input (MiDaS, arXiv:1907.01341, section 5). What they are is found by ordinary least squares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import overload

import numpy as np

from streamd.errors import UsageError
from streamd.media.frames import FloatImage

MIN_POINTS, MAX_POINTS = 2, 64
MAX_METRES = 10_000.0
MIN_SPAN = 0.02
"""Of the range of the picture: points whose inverse depths lie closer together say nothing of its scale."""
REVERSED = 0.15
"""Of the range of the points: a nearer point that is so much farther for the network is a mistake, not noise."""
ASSUMED_ERROR = 0.02
"""Of a distance: two points leave nothing to judge a fit by, and a few not much."""
ASSUMED_WEIGHT = 3
"""As of so many points more than the two that a line takes: with many of them it is what they say that counts."""
_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t for 95 %, two-sided, by degrees of freedom."""
_Z95 = 1.959964


@dataclass(frozen=True)
class Reading:
    """A point of known distance, and what the network says of it."""

    x: float
    y: float
    """Shares of the picture's width and height."""
    metres: float
    inverse_depth: float
    scatter: float = 0.0
    """Standard deviation from frame to frame of the value there; ``inverse_depth`` is an average."""


@dataclass(frozen=True)
class Calibration:
    """Immutable: any thread may ask it."""

    a: float
    """1/m for each unit of inverse depth."""
    b: float
    """1/m."""
    standard_error: float
    """Of 1 / distance at a point of a frame, 1/m: by what the readings lie beside the line, and by their scatter."""
    readings: tuple[Reading, ...]

    @overload
    def metres(self, inverse_depth: float) -> float: ...
    @overload
    def metres(self, inverse_depth: FloatImage) -> FloatImage: ...
    def metres(self, inverse_depth: float | FloatImage) -> float | FloatImage:
        """Distance of a value or of an array of them (float32); infinite where the line says so, as in the sky."""
        if isinstance(inverse_depth, np.ndarray):
            inverse = inverse_depth * np.float32(self.a) + np.float32(self.b)
            distance = np.full_like(inverse, np.inf)
            np.divide(np.float32(1), inverse, out=distance, where=inverse > 1 / MAX_METRES)
            return distance
        return _distance(self.a * inverse_depth + self.b)

    def inverse_depth(self, metres: float) -> float:
        """What the network says of something so far away."""
        return (1 / metres - self.b) / self.a

    def interval(self, inverse_depth: float) -> tuple[float, float]:
        """Within these metres a point lies, with a probability of 95 %; the far end may be infinite. The prediction
        interval of the line: it has in it how sure the line is, and how far points lie beside it."""
        offset = inverse_depth - self._mean
        error = self.standard_error * math.sqrt(1 + 1 / len(self.readings) + offset * offset / self._squares)
        inverse, margin = self.a * inverse_depth + self.b, _t95(ASSUMED_WEIGHT + len(self.readings) - 2) * error
        return _distance(inverse + margin), _distance(inverse - margin)

    @property
    def is_spread(self) -> bool:
        """Whether the readings differ, as a line needs."""
        return self._squares > 0

    @cached_property
    def _mean(self) -> float:
        return math.fsum(reading.inverse_depth for reading in self.readings) / len(self.readings)

    @cached_property
    def _squares(self) -> float:
        return math.fsum((reading.inverse_depth - self._mean) ** 2 for reading in self.readings)


def calibrate(readings: Sequence[Reading], range_of_picture: float = 0.0) -> Calibration:
    """The line through two or more readings. ``range_of_picture``: largest minus smallest inverse depth in it.
    Raises UsageError, in a line that says what to do, for readings that no line can be right for."""
    if not MIN_POINTS <= len(readings) <= MAX_POINTS:
        raise UsageError(f"points: {len(readings)}: from {MIN_POINTS} to {MAX_POINTS} are needed")
    depths = np.array([reading.inverse_depth for reading in readings])
    inverse = np.array([1 / reading.metres for reading in readings])
    span = float(np.ptp(depths))
    noise = math.sqrt(float(np.mean([reading.scatter**2 for reading in readings])))
    if not np.isfinite(depths).all():
        raise UsageError("points: the network gives no depth there: try again")
    if np.ptp(inverse) <= 1e-6 * inverse.max():
        raise UsageError("points: all are at the same distance: click one that is nearer, or farther")
    if span <= max(MIN_SPAN * range_of_picture, 2 * noise, 1e-5 * float(np.abs(depths).max())):
        raise UsageError("points: all are at the same depth for the network: click some that are nearer, or farther")
    _check_order(readings, max(REVERSED * span, 3 * noise))
    deviations = depths - depths.mean()
    a = float(deviations @ inverse / (deviations @ deviations))
    b = float(inverse.mean() - a * depths.mean())
    if a <= 0:
        raise UsageError("points: what is nearer has a smaller inverse depth: check the distances")
    if (a * depths + b <= 0).any():
        raise UsageError("points: no line fits these distances: check them")
    return Calibration(a, b, _standard_error(a * depths + b - inverse, inverse, a * noise), tuple(readings))


def _check_order(readings: Sequence[Reading], tolerance: float) -> None:
    """By pairs: among many points a mistake of one would only bend the line."""
    for (i, one), (j, other) in combinations(enumerate(readings, start=1), 2):
        nearer, farther = ((i, one), (j, other)) if one.metres < other.metres else ((j, other), (i, one))
        is_reversed = farther[1].inverse_depth - nearer[1].inverse_depth > tolerance
        if is_reversed and nearer[1].metres < farther[1].metres:
            raise UsageError(
                f"points: point {nearer[0]} ({nearer[1].metres:g} m) is farther away for the network than point "
                f"{farther[0]} ({farther[1].metres:g} m): check which is nearer"
            )


def _standard_error(residuals: FloatImage, inverse: FloatImage, noise: float) -> float:
    """Of a value in one frame: readings are averaged, so what they lie beside the line leaves out the noise of frames.
    Pooled with what is assumed of distances: a few points may lie on a line by chance."""
    assumed = ASSUMED_ERROR**2 * float(np.mean(inverse**2))
    seen = float(residuals @ residuals)
    degrees = ASSUMED_WEIGHT + len(residuals) - 2
    return math.hypot(math.sqrt((ASSUMED_WEIGHT * assumed + seen) / degrees), noise)


def _distance(inverse: float) -> float:
    return 1 / inverse if inverse > 1 / MAX_METRES else math.inf


def _t95(degrees: int) -> float:
    """By the first terms of its series in 1 / degrees where the table ends (Abramowitz and Stegun, 26.7.5)."""
    if degrees <= len(_T95):
        return _T95[degrees - 1]
    z = _Z95
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
