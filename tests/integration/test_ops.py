"""What networks are written in, piece by piece: OpenVINO and torch give what torch's own functions do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from streamd.depth.graph.openvino import build_model
from streamd.depth.graph.ops import Ops
from streamd.depth.graph.parameters import Parameters
from streamd.depth.graph.torch import TorchNetwork
from streamd.depth.ov import openvino as ov

Layer = Callable[[Ops[Any], Any], Any]

RANDOM = torch.Generator().manual_seed(1)
WEIGHT, BIAS = torch.randn(2, 12, generator=RANDOM)
KERNEL = torch.randn(12, 3, 1, 1, generator=RANDOM)


def wide(planes: Tensor) -> Tensor:
    """Twelve channels, far from 0 and partly below it."""
    return functional.conv2d(planes, KERNEL) + 3 * torch.arange(12)[:, None, None] - 9


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (
            lambda ops, x: ops.group_norm(x, "n", groups=4, eps=1e-3),
            lambda x: functional.group_norm(x, 4, WEIGHT, BIAS, 1e-3),
        ),
        (
            lambda ops, x: ops.max_pool(x, 3, stride=2, padding=(0, 1)),
            lambda x: functional.max_pool2d(functional.pad(x, (0, 1, 0, 1), value=-torch.inf), 3, 2),
        ),
    ],
    ids=["group_norm", "max_pool"],
)
def test_equals_torch(layer: Layer, expected: Callable[[Tensor], Tensor]) -> None:
    planes = torch.randn(2, 3, 6, 10, generator=torch.Generator().manual_seed(2))

    def network(ops: Ops[Any], planes: Any) -> Any:
        x = ops.convolution(planes, "c", 12)
        return ops.mean(layer(ops, x), (1,))

    def weights() -> Parameters:
        offset = 3 * torch.arange(12.0) - 9
        state = {"c.weight": KERNEL, "c.bias": offset, "n.weight": WEIGHT, "n.bias": BIAS}
        parameters = Parameters({key: value.numpy() for key, value in state.items()}, Path("random.pt"))
        parameters.pass_over_all("n.")
        return parameters

    wanted = expected(wide(planes)).mean(1, keepdim=True).numpy()
    compiled = ov.Core().compile_model(build_model(network, weights()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(compiled(planes.numpy())[0], wanted, atol=2e-5)
    np.testing.assert_allclose(TorchNetwork(network, weights(), (6, 10))(planes).numpy(), wanted, atol=2e-5)
