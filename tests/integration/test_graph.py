"""Each operation of a network gives the same in both runtimes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streamd.depth.graph.openvino import build_model
from streamd.depth.graph.ops import Ops
from streamd.depth.graph.parameters import Parameters
from streamd.depth.graph.torch import TorchNetwork
from streamd.depth.ov import openvino as ov

Function = Callable[[Ops[Any], Any], Any]
GRID = np.random.default_rng(0).standard_normal((1, 2, 5, 7)).astype(np.float32)


def positions(ops: Ops[Any], x: Any) -> Any:
    return ops.mean(ops.resize_positions(ops.constant(GRID), x, 0.1), (1,))


def attention(ops: Ops[Any], x: Any) -> Any:
    """Heads are what was channels."""
    return ops.attention(x, ops.multiply(x, x), x)


OPERATIONS: dict[str, Function] = {
    "attention": attention,
    "average_pool": lambda ops, x: ops.average_pool(x, 2),
    "nearest": lambda ops, x: ops.resize(x, "nearest", scale=2),
    "positions": positions,
    "reshape_like": lambda ops, x: ops.reshape_like(ops.reshape(x, (0, 3, -1)), x),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("size", [(4, 6), (5, 7), (5, 12), (10, 4)])
@pytest.mark.parametrize("fixed", [True, False])
def test_runtimes_agree(name: str, size: tuple[int, int], fixed: bool) -> None:
    def network(ops: Ops[Any], planes: Any) -> Any:
        return OPERATIONS[name](ops, planes)

    planes = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    if name == "positions":
        planes = planes[:1]
    model = build_model(network, Parameters({}, Path("none")))
    if fixed:
        model.reshape([*planes.shape])
    found = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(planes.numpy())[0]
    expected = TorchNetwork(network, Parameters({}, Path("none")), size)(planes).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
