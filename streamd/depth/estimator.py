"""What everything behind the network may know of it."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from streamd.depth.models import ModelSpec
from streamd.media import FloatImage, Origin


@dataclass(frozen=True)
class ModelInfo:
    """Which network answers, and how."""

    spec: ModelSpec
    sha256: str
    runtime: str
    precision: str

    @property
    def origin(self) -> Origin:
        return Origin(self.spec.name, self.sha256, self.spec.polarity, self.runtime, self.precision)


class Estimator(Protocol):
    """A network that is ready to work."""

    @property
    def info(self) -> ModelInfo: ...

    def submit(self, planes: FloatImage) -> Future[FloatImage]:
        """(3, h, w) float32 network input to (h, w) float32 network output, as the network gave it.

        Any thread. The future fails with InferenceFailed when the worker is lost.
        """
        ...


def as_inverse_depth(output: FloatImage, spec: ModelSpec) -> FloatImage:
    """Network output to relative inverse depth, larger is nearer.

    A network whose output grows with distance (LeReS) is turned round; it has no known scale or
    shift either, so mirroring keeps all that it says about order.
    """
    return output if spec.polarity == "inverse_depth" else -output
