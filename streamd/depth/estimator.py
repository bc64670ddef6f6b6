"""What everything behind the network may know of it."""

from __future__ import annotations

from dataclasses import dataclass

from streamd.depth.models import ModelSpec
from streamd.media.frames import FloatImage, Provenance


@dataclass(frozen=True)
class ModelInfo:
    """Which network answers, and how."""

    spec: ModelSpec
    sha256: str
    runtime: str
    precision: str

    @property
    def provenance(self) -> Provenance:
        return Provenance(self.spec.name, self.sha256, self.spec.polarity, self.runtime, self.precision)


def as_inverse_depth(output: FloatImage, spec: ModelSpec) -> FloatImage:
    """Network output to relative inverse depth, larger is nearer.

    A network whose output grows with distance (LeReS) is turned round; it has no known scale or
    shift either, so mirroring keeps the order of depths.
    """
    return output if spec.polarity == "inverse_depth" else -output
