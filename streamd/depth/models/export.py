"""Torch networks for those who hold no torch: load, ask, and turn into an OpenVINO model."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path

import numpy as np
import torch

from streamd.depth.models.base import ModelSpec
from streamd.depth.ov import openvino
from streamd.errors import WeightsRejected
from streamd.media.frames import FloatImage


class TorchNetwork:
    """The reference that every other runtime is measured against: torch, eager, float32."""

    def __init__(self, spec: ModelSpec, weights: Path) -> None:
        """Raises WeightsRejected."""
        self._weights = weights
        self._module: torch.nn.Module = importlib.import_module(spec.network).load(weights)

    def __call__(self, planes: FloatImage) -> FloatImage:
        """(n, 3, h, w) to (n, h, w), float32. Raises WeightsRejected when it gives no finite depth."""
        with torch.inference_mode():
            depth = self._module(torch.from_numpy(planes))
        if not torch.isfinite(depth).all():
            raise WeightsRejected(str(self._weights), "the network gives NaN or infinite depth")
        return np.asarray(depth.numpy(), np.float32)

    def to_openvino(self, example: FloatImage) -> openvino.Model:
        """The same function of (n, 3, h, w) for any n, h and w."""
        planes = torch.from_numpy(example)
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # torch's own, on its tracer
            # Not checked here: the caller proves more. Its check would import torch.distributed, 1 s.
            traced = torch.jit.trace(self._module, planes, check_trace=False)  # type: ignore[no-untyped-call]
            return openvino.convert_model(traced, example_input=planes, input=[-1, 3, -1, -1])
