"""What the network here makes of some pictures, in float32: exports have to agree with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamd.depth.graph.openvino import load_model
from streamd.depth.models import ModelSpec
from streamd.depth.ov import openvino as ov
from streamd.depth.profiler import calibration_inputs
from streamd.errors import DepthError
from streamd.media.frames import ByteImage, FloatImage

MAX_ERROR = 1e-3
"""Runtimes add up in other orders: 1e-6 to 1e-4 are usual."""
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}
"""For OpenVINO."""
_FRAMES = 2

Run = Callable[[FloatImage], FloatImage]
"""(n, 3, h, w) to (n, h, w), float32."""
RunPictures = Callable[[ByteImage], FloatImage]
"""(n, h, w, 3) RGB uint8 to (n, h, w) float32."""


@dataclass(frozen=True)
class Source:
    """The network that is exported."""

    spec: ModelSpec
    weights: Path
    sha256: str

    def facts(self) -> dict[str, str]:
        """What one who finds the file has to know of it."""
        spec, how = self.spec, self.spec.preprocessing
        return {
            "name": spec.name,
            "title": spec.title,
            "licence": spec.licence,
            "weights_sha256": self.sha256,
            "polarity": spec.polarity,
            "input": "planes: (RGB / 255 - mean) / std, float32, (n, 3, height, width)",
            "mean": " ".join(map(str, how.mean)),
            "std": " ".join(map(str, how.std)),
            "input_size": str(how.input_size),
            "fit": how.fit,
            "multiple_of": str(how.multiple_of),
            "interpolation": how.interpolation,
            "resized_as": how.resized_as,
            "enlargement": how.enlargement,
        }


class Reference:
    """Frames of the demo clip, lying and, where the network takes any size, upright."""

    def __init__(self, source: Source) -> None:
        """Raises WeightsRejected."""
        how = source.spec.preprocessing
        self._mean, self._std = (np.array(each, np.float32) for each in (how.mean, how.std))
        frames = calibration_inputs(how)[:_FRAMES].transpose(0, 2, 3, 1)
        lying = np.clip(np.rint((frames * self._std + self._mean) * 255), 0, 255).astype(np.uint8)
        upright = np.ascontiguousarray(lying[:1].transpose(0, 2, 1, 3))
        self.pictures: list[ByteImage] = [lying] if how.min_side == how.max_side else [lying, upright]
        network = ov.Core().compile_model(load_model(source.spec, source.weights), "CPU", EXACT)
        self._expected = [network(self.planes(pictures))[0].copy() for pictures in self.pictures]

    def planes(self, pictures: ByteImage) -> FloatImage:
        """(n, h, w, 3) RGB to the network's input."""
        normal = (pictures.astype(np.float32) / np.float32(255) - self._mean) / self._std
        return np.ascontiguousarray(normal.transpose(0, 3, 1, 2))

    @property
    def size(self) -> str:
        """Of the lying ones."""
        _, height, width, _ = self.pictures[0].shape
        return f"{width}x{height}"

    def check(self, run: Run, *, lying_only: bool = False) -> float:
        """The largest difference, as a share of the range of depth in its picture. Raises DepthError when it is more
        than runtimes differ by."""
        return self.check_pictures(lambda pictures: run(self.planes(pictures)), lying_only=lying_only)

    def check_pictures(self, run: RunPictures, *, lying_only: bool = False) -> float:
        """As ``check``, of one that normalises by itself."""
        errors = []
        for pictures, expected in list(zip(self.pictures, self._expected, strict=True))[: 1 if lying_only else None]:
            depth = run(pictures)
            if depth.shape != expected.shape:
                raise DepthError(f"the exported network gives depth of {depth.shape}, not {expected.shape}")
            for one, other in zip(depth, expected, strict=True):
                errors.append(np.abs(one - other).max() / max(np.ptp(other), np.finfo(np.float32).tiny))
        worst = float(np.max(errors))
        if not worst <= MAX_ERROR:  # as a NaN is not
            raise DepthError(f"the exported network differs by {100 * worst:.2g} % from the one here: it is not kept")
        return worst
