"""What inverse depth means at one moment: a share of the range shown, and metres where the stream is calibrated."""

from __future__ import annotations

import math
from dataclasses import dataclass

from streamd.config.zones import ZoneConfig
from streamd.depth.calibration import Calibration

NEAR_MARGIN = 0.05
"""What was near stays so until it is this share of the range, or of its distance, farther."""


@dataclass(frozen=True, slots=True)
class Scale:
    low: float
    """The inverse depth that is share 0."""
    high: float
    calibration: Calibration | None = None

    def share(self, inverse_depth: float) -> float:
        return (inverse_depth - self.low) / max(self.high - self.low, 1e-12)

    def metres(self, inverse_depth: float) -> float | None:
        """None without a calibration, and for what is beyond any distance."""
        metres = self.calibration.metres(inverse_depth) if self.calibration else None
        return None if metres is None or not math.isfinite(metres) else float(metres)

    def thresholds(self, zone: ZoneConfig) -> tuple[float, float] | None:
        """Inverse depths: beyond the first something is near, and beyond the second it still is. None without the
        calibration that a zone in metres needs."""
        if zone.metres is None:
            assert zone.near is not None
            near, kept = (self._of_share(share) for share in (zone.near, zone.near - NEAR_MARGIN))
            return near, kept
        if self.calibration is None:
            return None
        found = [self.calibration.inverse_depth(metres) for metres in (zone.metres, zone.metres * (1 + NEAR_MARGIN))]
        near_or_none, kept_or_none = found
        return None if near_or_none is None or kept_or_none is None else (float(near_or_none), float(kept_or_none))

    def _of_share(self, share: float) -> float:
        return self.low + share * (self.high - self.low)
