"""What streams tell: something is near in a zone or no more, a stream delivers or is away."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum


class ZoneEnd(StrEnum):
    """Why a zone is clear again."""

    GONE = "gone"
    AWAY = "away"
    """There are no pictures: the source is away, or the stream stops."""
    SCENE = "scene"
    """The camera shows another scene."""
    MODEL = "model"
    """Another network looks, or at another size."""
    SETTINGS = "settings"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Measured:
    """What a frame says of a zone."""

    area: float
    """Share of the zone's area that is near."""
    nearest_share: float
    """Of what is nearest in it: share of the range, 1 is nearest."""
    nearest_metres: float | None
    """None without a calibration."""

    @property
    def json(self) -> dict[str, float | None]:
        """Rounded to what it is worth."""
        metres = self.nearest_metres
        return {
            "area": round(self.area, 4),
            "nearest_share": round(self.nearest_share, 3),
            "nearest_metres": None if metres is None else round(metres, 2),
        }


@dataclass(frozen=True, slots=True)
class ZoneEvent:
    """``kind`` is near or clear."""

    stream: str
    zone: str
    kind: str
    reason: ZoneEnd | None
    """Why it is clear."""
    measured: Measured | None
    time: float = field(default_factory=time.time)
    """Unix seconds."""

    @property
    def type(self) -> str:
        return f"zone.{self.kind}"

    @property
    def json(self) -> dict[str, object]:
        nothing = {"area": 0.0, "nearest_share": None, "nearest_metres": None}
        return {
            "time": self.time,
            "stream": self.stream,
            "zone": self.zone,
            "kind": self.kind,
            "reason": self.reason,
            **(self.measured.json if self.measured else nothing),
        }


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """A stream delivers (``running``), or is ``away``: its camera is lost, it has ended or failed."""

    stream: str
    kind: str
    state: str
    reason: str | None
    time: float = field(default_factory=time.time)
    """Unix seconds."""

    @property
    def type(self) -> str:
        return f"stream.{self.kind}"

    @property
    def json(self) -> dict[str, object]:
        return {
            "time": self.time,
            "stream": self.stream,
            "kind": self.kind,
            "state": self.state,
            "reason": self.reason,
        }


Event = ZoneEvent | StreamEvent
