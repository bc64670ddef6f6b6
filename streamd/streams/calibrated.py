"""A calibration, and what it holds for: one camera, one network, one size of its input."""

from __future__ import annotations

from dataclasses import dataclass

from streamd.depth.calibration import Calibration
from streamd.media.frames import DepthFrame


@dataclass(frozen=True)
class CalibrationStatus:
    """For page and API."""

    calibrated: bool = False
    in_use: bool = False
    """Whether it holds for the newest frame."""
    reason: str | None = None
    """Why there is none any more, or why it is not in use."""


UNCALIBRATED = CalibrationStatus()


@dataclass(frozen=True)
class Calibrated:
    """Immutable: any thread may ask it."""

    calibration: Calibration
    model: str
    sha256: str
    """Of its weights."""
    input_size: int
    """As configured, px; the network may see smaller pictures for a while, for the sake of ``min_fps``."""
    size: tuple[int, int]
    """(width, height) of what the network gave."""
    source: str
    """Redacted: another password is no other camera."""
    made_at: float
    """Unix seconds."""

    def holds_for(self, frame: DepthFrame) -> bool:
        height, width = frame.inverse_depth.shape
        return self.sha256 == frame.provenance.sha256 and self.size == (width, height)

    def of(self, frame: DepthFrame) -> Calibration | None:
        """None: this frame is of another network, or another size."""
        return self.calibration if self.holds_for(frame) else None

    def status(self, newest: DepthFrame | None) -> CalibrationStatus:
        if newest is None:
            return CalibrationStatus(True, False, "there is no frame yet")
        if newest.provenance.sha256 != self.sha256:
            reason = f"it was made with {self.model}, and {newest.provenance.model} answers for now"
            return CalibrationStatus(True, False, reason)
        if not self.holds_for(newest):
            reason = "it was made with another size of the picture or of the network's input"
            return CalibrationStatus(True, False, reason)
        return CalibrationStatus(True, True)
