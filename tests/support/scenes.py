"""Depth maps of a scene that is scripted: a ramp, with a box that comes near when the script says so."""

from __future__ import annotations

from dataclasses import dataclass, field

import av
import numpy as np

from streamd.config.sections import StreamConfig
from streamd.depth.calibration import Calibration
from streamd.depth.range import DepthRange
from streamd.media.frames import DepthFrame, FloatImage, Provenance, Stamp
from streamd.streams.events import ZoneEvent
from streamd.streams.zones import Zones
from streamd.telemetry.metrics import Metrics

FPS = 20
SIZE = (128, 72)
PICTURE = av.VideoFrame(1280, 720, "yuv420p")
MIDDLE = [[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]


def ramp(size: tuple[int, int] = SIZE) -> FloatImage:
    """(h, w): farthest on the left, nearest on the right; 0 to 1."""
    width, height = size
    return np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))


def box(depth: FloatImage, nearness: float, share: float = 0.25) -> FloatImage:
    """With a box in the middle, ``share`` of each side."""
    height, width = depth.shape
    down, across = int(height * share / 2), int(width * share / 2)
    drawn = depth.copy()
    drawn[height // 2 - down : height // 2 + down, width // 2 - across : width // 2 + across] = nearness
    return drawn


@dataclass
class Told:
    """An event, and the frame at which it came."""

    frame: int
    event: ZoneEvent

    @property
    def what(self) -> tuple[int, str, str]:
        return self.frame, self.event.zone, self.event.kind


@dataclass
class Scene:
    """Plays depth maps to the zones of a stream, in virtual time."""

    zones_given: list[dict[str, object]]
    calibration: Calibration | None = None
    settings: dict[str, object] = field(default_factory=dict)
    fps: float = FPS

    def __post_init__(self) -> None:
        self.metrics = Metrics()
        self.told: list[Told] = []
        self.frame = 0
        self.config = StreamConfig.model_validate({"source": "demo:", "zones": self.zones_given, **self.settings})
        self.range = DepthRange(self.config.range, self.config.compress)
        of_stream = self.metrics.of_stream("porch")
        self.zones = Zones("porch", self.config, of_stream, self._note, lambda: self.calibration)
        self.zones.run(True)

    def _note(self, event: ZoneEvent) -> None:
        self.told.append(Told(self.frame, event))

    def play(
        self,
        depth: FloatImage,
        *,
        model: str = "embedded",
        luma: FloatImage | None = None,
        picture: av.VideoFrame = PICTURE,
    ) -> None:
        time_s = self.frame / self.fps
        flat = np.zeros(depth.shape, np.uint8) if luma is None else (255 * luma).astype(np.uint8)
        provenance = Provenance(model, "ab", "inverse_depth", "openvino", "fp32")
        stamp = Stamp(self.frame, int(time_s * 90_000), time_s)
        self.range.normalise(depth, time_s, model)
        self.zones.look(DepthFrame(stamp, picture, depth, flat, depth, provenance), self.range.bounds)
        self.frame += 1

    def play_for(self, seconds: float, depth: FloatImage) -> None:
        for _ in range(round(seconds * self.fps)):
            self.play(depth)

    @property
    def kinds(self) -> list[str]:
        return [told.event.kind for told in self.told]

    def counted(self, kind: str, zone: str = "door") -> float:
        labels = {"stream": "porch", "zone": zone, "kind": kind}
        value = self.metrics.registry.get_sample_value("streamd_events_total", labels)
        assert value is not None
        return value


def zone(**more: object) -> dict[str, object]:
    given: dict[str, object] = {"name": "door", "polygon": MIDDLE, "near": 0.7, **more}
    return given
