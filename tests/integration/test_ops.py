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
PAIRS = torch.randn(1, 12, 6, 6, generator=RANDOM)
FACTORS, VARIANCES = torch.randn(5, 12, generator=RANDOM), torch.rand(5, generator=RANDOM) + 0.5
KERNEL = torch.randn(12, 3, 1, 1, generator=RANDOM)


def wide(planes: Tensor) -> Tensor:
    """Twelve channels, far from 0 and partly below it."""
    return functional.conv2d(planes, KERNEL) + 3 * torch.arange(12)[:, None, None] - 9


def normed(x: Tensor) -> Tensor:
    """By a batch norm of the last axis."""
    mean, scale, shift = FACTORS[:, :3].unbind(1)
    return (x - mean) / (VARIANCES + 1e-5).sqrt() * scale + shift


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
        (
            lambda ops, x: ops.attention(x, ops.multiply(x, x), x, ops.constant(PAIRS.numpy())),
            lambda x: functional.scaled_dot_product_attention(x, x * x, x, PAIRS),
        ),
        (
            lambda ops, x: ops.linear(ops.transpose(x, (0, 2, 3, 1)), "l", 5, bias=False, norm="b"),
            lambda x: normed(functional.linear(x.movedim(1, 3), FACTORS)),
        ),
    ],
    ids=["group_norm", "max_pool", "attention", "linear"],
)
def test_equals_torch(layer: Layer, expected: Callable[[Tensor], Tensor]) -> None:
    planes = torch.randn(2, 3, 6, 10, generator=torch.Generator().manual_seed(2))

    def network(ops: Ops[Any], planes: Any) -> Any:
        x = ops.convolution(planes, "c", 12)
        return ops.mean(layer(ops, x), (1,))

    def weights() -> Parameters:
        offset = 3 * torch.arange(12.0) - 9
        state = {"c.weight": KERNEL, "c.bias": offset, "n.weight": WEIGHT, "n.bias": BIAS}
        norm = (*FACTORS[:, :3].unbind(1), VARIANCES, torch.tensor(1))
        parts = ("running_mean", "weight", "bias", "running_var", "num_batches_tracked")
        state |= {"l.weight": FACTORS} | {f"b.{part}": value for part, value in zip(parts, norm, strict=True)}
        parameters = Parameters({key: value.numpy() for key, value in state.items()}, Path("random.pt"))
        for prefix in ("n.", "l.", "b."):
            parameters.pass_over_all(prefix)
        return parameters

    wanted = expected(wide(planes)).mean(1, keepdim=True).numpy()
    compiled = ov.Core().compile_model(build_model(network, weights()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(compiled(planes.numpy())[0], wanted, atol=2e-5)
    np.testing.assert_allclose(TorchNetwork(network, weights(), (6, 10))(planes).numpy(), wanted, atol=2e-5)
