"""Networks against a reference: weights made under the official keys, and what comes out of each runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from streamd.depth.graph.openvino import load_model
from streamd.depth.graph.torch import load_network
from streamd.depth.models import ModelSpec, find_model
from streamd.depth.ov import openvino as ov
from streamd.media.frames import FloatImage
from tests.support.checkpoints import State, random_state, write_checkpoint

FP32 = {"INFERENCE_PRECISION_HINT": "f32"}


@dataclass(frozen=True)
class Generated:
    """A model with random weights, on the disk and compiled for any size."""

    spec: ModelSpec
    state: State
    file: Path
    compiled: ov.CompiledModel

    def equals(self, reference: Callable[[State, Tensor], Tensor], planes: Tensor) -> None:
        """Both runtimes give what ``reference`` gives, to 1e-5 of its range."""
        with torch.inference_mode():
            expected, depth = reference(self.state, planes).numpy(), load_network(self.spec, self.file)(planes).numpy()
        agree(expected, planes, depth, self.compiled(planes.numpy())[0], variety=0.05, share=1e-5)


def generate(name: str, folder: Path) -> Generated:
    spec, state = find_model(name), random_state(name, seed=1)
    file = write_checkpoint(name, folder / "random.pth", state)
    return Generated(spec, state, file, ov.Core().compile_model(load_model(spec, file), "CPU", FP32))


def agree(
    expected: FloatImage, planes: Tensor, depth: FloatImage, compiled: FloatImage, *, variety: float, share: float
) -> None:
    """What torch and OpenVINO make of ``planes``, to a ``share`` of the range of what is expected, which varies by
    ``variety`` of its mean at least."""
    assert depth.shape == (len(planes), *planes.shape[2:])
    assert expected.min() > 0
    assert expected.std() > variety * expected.mean()
    spread = expected.max() - expected.min()
    np.testing.assert_allclose(depth, expected, atol=share * spread)
    np.testing.assert_allclose(compiled, expected, atol=share * spread)
