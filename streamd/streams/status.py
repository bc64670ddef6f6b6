"""The status of a stream at one moment, for the API, for systemd and for health checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamd.config.sections import RecordedView, StreamConfig
from streamd.states import Origin, SkipReason, StreamState
from streamd.streams.calibrated import UNCALIBRATED, CalibrationStatus
from streamd.streams.pushes import PushStatus
from streamd.streams.zones import ZoneStatus


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """Holds secrets, in its settings: what leaves the process is made in web/."""

    name: str
    origin: Origin
    state: StreamState
    reason: str | None
    settings: StreamConfig
    """In force."""
    wanted: StreamConfig
    """Will be in force soon, unless they are so already."""
    size: tuple[int, int] | None
    """(width, height) of the source, px; None before its first picture."""
    fps_in: float
    fps_out: float
    publishes: bool
    """Whether it has published in the last seconds."""
    inferred_share: float | None
    """Of the frames of the last seconds, those that the network saw; None when there were none."""
    skipped: Mapping[SkipReason, int]
    latency_p50_ms: float | None
    """Capture to publication of new depth, over the last seconds; None when there was none."""
    latency_p95_ms: float | None
    viewers: int
    recording_wanted: tuple[RecordedView, ...]
    recording_active: tuple[RecordedView, ...]
    recording_error: str | None
    """Why another one is not active, until it is again."""
    flicker: float
    stuck: bool
    """Its source delivers, nothing is published, and starting it anew has not helped."""
    calibration: CalibrationStatus = UNCALIBRATED
    zones: tuple[ZoneStatus, ...] = ()
    pushes: tuple[PushStatus, ...] = ()

    @property
    def is_in_force(self) -> bool:
        """Whether the wanted settings are in force."""
        return self.settings == self.wanted

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing to wait for: it delivers, has ended, or sleeps."""
        return self.state in (StreamState.RUNNING, StreamState.IDLE, StreamState.ENDED)
