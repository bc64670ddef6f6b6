"""One zone: how much of it is near in a frame, and when that becomes an event. Pure: time comes with the frames."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np

from streamd.config.zones import Polygon, ZoneConfig
from streamd.media.frames import ByteImage, FloatImage
from streamd.streams.events import Measured
from streamd.streams.scale import Scale

AREA_MARGIN = 0.5
"""What was near stays so until less than this share of ``min_area`` is."""
STEADY_FRAMES = 2
"""One alone may be a flicker of the network."""
BLUR_PX = 5
_SUBPIXEL_BITS = 8
_MAX_PX = 1e5
"""Points beyond it are drawn there: OpenCV's numbers have an end."""


class ZoneState(StrEnum):
    CLEAR = "clear"
    NEAR = "near"


@dataclass(frozen=True, slots=True)
class Sight:
    """One frame, for all zones of its stream."""

    depth: FloatImage
    """(h, w) inverse depth."""
    blurred: FloatImage
    """The same, where single pixels do not count."""

    @classmethod
    def of(cls, depth: FloatImage) -> Sight:
        return cls(depth, cv2.blur(depth, (BLUR_PX, BLUR_PX)))


class Area:
    """A polygon at the size of a depth map."""

    def __init__(self, polygon: Polygon, picture: tuple[int, int], map_size: tuple[int, int]) -> None:
        """``picture`` and ``map_size`` are (width, height), px."""
        drawn = _drawn(polygon, picture, map_size)
        rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
        self.pixels = int(np.count_nonzero(drawn))
        """0: it lies outside of the picture."""
        self._box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if self.pixels else np.s_[:0, :0]
        self._inside = np.ascontiguousarray(drawn[self._box])

    def share(self, sight: Sight, nearer_than: float) -> float:
        """How much of it is nearer. Noise, of which little is left when blurred, counts little."""
        exact, blurred = (self._count(depth, nearer_than) for depth in (sight.depth, sight.blurred))
        return min(exact, 2 * blurred) / self.pixels

    def nearest(self, sight: Sight) -> float:
        """Inverse depth."""
        return float(cv2.minMaxLoc(sight.blurred[self._box], self._inside)[1])

    def _count(self, depth: FloatImage, nearer_than: float) -> int:
        near = cv2.compare(depth[self._box], nearer_than, cv2.CMP_GT)
        return cv2.countNonZero(cv2.bitwise_and(near, self._inside))


def _drawn(polygon: Polygon, picture: tuple[int, int], map_size: tuple[int, int]) -> ByteImage:
    """(h, w): 255 inside. Shares of the picture when all are at most 1, else its pixels: as ``masks``."""
    points = np.array(polygon, np.float64)
    points = points * map_size if points.max() <= 1 else points * map_size / picture
    drawn = np.zeros(map_size[::-1], np.uint8)
    # A pixel reaches from x to x + 1, OpenCV's from x - 1/2 to x + 1/2.
    fixed = np.round((points.clip(-_MAX_PX, _MAX_PX) - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(drawn, [fixed], 255, shift=_SUBPIXEL_BITS)
    return drawn


class Debounce:
    """Whether something is near, from one frame to the next: once per approach, whatever trembles at the border."""

    def __init__(self, hold_s: float) -> None:
        self.state = ZoneState.CLEAR
        self._hold_s = hold_s
        self._near = False
        """By this frame and those before, with a margin; not for how long."""
        self._frames = 0
        self._since_s = 0.0

    def update(self, area: float, area_with_margin: float, min_area: float, time_s: float) -> bool:
        """Whether the state has changed. ``area`` is the share that is near, ``area_with_margin`` the one that counts
        where something was near before."""
        before = self._near
        self._near = area_with_margin >= min_area * AREA_MARGIN if before else area >= min_area
        if self._near == (self.state is ZoneState.NEAR):
            self._frames = 0
            return False
        if self._near != before:
            self._frames, self._since_s = 0, time_s
        self._frames += not self._near or area >= min_area
        if self._frames < STEADY_FRAMES or time_s - self._since_s < self._hold_s:
            return False
        self.state, self._frames = ZoneState.NEAR if self._near else ZoneState.CLEAR, 0
        return True


class ZoneWatch:
    """Of one zone, as long as network, scene and settings stay. One thread."""

    def __init__(self, config: ZoneConfig, area: Area) -> None:
        self.config = config
        self.measured: Measured | None = None
        self._area = area
        self._debounce = Debounce(config.hold_s)

    @property
    def state(self) -> ZoneState:
        return self._debounce.state

    def look(self, sight: Sight, thresholds: tuple[float, float], scale: Scale, time_s: float) -> bool:
        """Whether the state has changed. ``thresholds`` are inverse depths: near, and no more near."""
        area, kept = (self._area.share(sight, threshold) for threshold in thresholds)
        nearest = self._area.nearest(sight)
        self.measured = Measured(area, scale.share(nearest), scale.metres(nearest))
        return self._debounce.update(area, kept, self.config.min_area, time_s)
