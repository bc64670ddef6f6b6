"""Networks as torch modules: the reference that the other runtimes are measured against."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from streamd.depth.checkpoint import Array, read_state
from streamd.depth.graph.ops import Activation, Network, Ops, Padding, Resizing, Weights, both_sides
from streamd.depth.graph.parameters import Parameters
from streamd.depth.models.base import ModelSpec


def load_network(spec: ModelSpec, weights: Path) -> TorchNetwork:
    """The network of ``spec`` with these weights. Raises WeightsRejected."""
    side = spec.preprocessing.min_side
    return TorchNetwork(spec.network, Parameters(read_state(weights), weights), (side, side))


class TorchNetwork(nn.Module):
    """In float32 and eval mode. Its weights are buffers: it is not for training."""

    def __init__(self, network: Network, parameters: Parameters, example: tuple[int, int]) -> None:
        """``example``: a (height, width) that it takes. Raises WeightsRejected."""
        super().__init__()
        self._network = network
        self._ops = TorchOps(parameters, self)
        self.eval()
        with torch.inference_mode():
            self(torch.zeros(1, 3, *example))
        parameters.check()

    def forward(self, planes: Tensor) -> Tensor:
        """(n, 3, h, w) to (n, h, w)."""
        return self._network(self._ops, planes)


class TorchOps(Ops[Tensor]):
    """Computes at once. The weights of the first run are kept in ``home``, under their layers' keys."""

    def __init__(self, parameters: Parameters, home: nn.Module) -> None:
        super().__init__(parameters)
        self._home = home
        self._layers: dict[str, tuple[str | None, str | None]] = {}

    def channels(self, x: Tensor) -> int:
        return int(x.shape[1])

    def width(self, x: Tensor) -> int:
        return int(x.shape[-1])

    def constant(self, value: Array) -> Tensor:
        return torch.from_numpy(np.array(value))

    def layer(self, key: str, weights: Weights) -> tuple[Tensor | None, Tensor | None]:
        if key not in self._layers:
            with torch.inference_mode(False):
                names = [self._keep(f"{key}.{part}", value) for part, value in enumerate(weights())]
            self._layers[key] = names[0], names[1]
        first, second = (None if name is None else self._home.get_buffer(name) for name in self._layers[key])
        return first, second

    def _keep(self, name: str, value: Array | None) -> str | None:
        if value is None:
            return None
        name = name.replace(".", "_")
        self._home.register_buffer(name, self.constant(value))
        return name

    def convolve(
        self,
        x: Tensor,
        weight: Tensor,
        offset: Tensor | None,
        *,
        stride: int,
        padding: tuple[int, int],
        dilation: int,
    ) -> Tensor:
        groups = weight.shape[0] if weight.ndim == 5 else 1
        weight = weight.flatten(0, 1) if weight.ndim == 5 else weight
        before, after = padding
        if before != after:
            x, before = functional.pad(x, (before, after, before, after)), 0
        bias = None if offset is None else offset.flatten()
        return functional.conv2d(x, weight, bias, stride, before, dilation, groups)

    def convolve_transposed(
        self, x: Tensor, weight: Tensor, offset: Tensor | None, *, stride: int, padding: int, output_padding: int
    ) -> Tensor:
        bias = None if offset is None else offset.flatten()
        return functional.conv_transpose2d(x, weight, bias, stride, padding, output_padding)

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def multiply(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b

    def matmul(self, a: Tensor, b: Tensor, *, transpose_b: bool = False) -> Tensor:
        return a @ (b.transpose(-1, -2) if transpose_b else b)

    def activation(self, x: Tensor, kind: Activation) -> Tensor:
        match kind:
            case "relu":
                return functional.relu(x)
            case "relu6":
                return functional.relu6(x)
            case "gelu":
                return functional.gelu(x)
            case "sigmoid":
                return torch.sigmoid(x)
            case "hard_swish":
                return functional.hardswish(x)
            case "silu":
                return functional.silu(x)

    def attention(self, query: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None) -> Tensor:
        return functional.scaled_dot_product_attention(query, keys, values, bias)

    def softmax(self, x: Tensor, axis: int = -1) -> Tensor:
        return x.softmax(axis)

    def standardise(self, x: Tensor, eps: float) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], eps=eps)

    def normalise(self, x: Tensor, axis: int = -1, eps: float = 1e-12) -> Tensor:
        return functional.normalize(x, dim=axis, eps=eps)

    def mean(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        return x.mean(tuple(axes), keepdim=True)

    def max_pool(self, x: Tensor, kernel: int, *, stride: int, padding: Padding = 0) -> Tensor:
        before, after = both_sides(padding)
        if before != after:
            x, before = functional.pad(x, (before, after, before, after), value=-torch.inf), 0
        return functional.max_pool2d(x, kernel, stride, before)

    def average_pool(self, x: Tensor, kernel: int) -> Tensor:
        return functional.avg_pool2d(x, kernel)

    def resize(self, x: Tensor, how: Resizing, *, scale: int = 0, like: Tensor | None = None) -> Tensor:
        mode = {"corners": "bilinear", "cubic": "bicubic"}.get(how, how)
        corners = None if how == "nearest" else how == "corners"
        if like is None:
            return functional.interpolate(x, scale_factor=float(scale), mode=mode, align_corners=corners)
        return functional.interpolate(x, size=like.shape[2:], mode=mode, align_corners=corners)

    def resize_positions(self, x: Tensor, like: Tensor, offset: float) -> Tensor:
        before, after = x.shape[2:], like.shape[2:]
        if before == after:
            return x
        scales = tuple((int(new) + offset) / int(old) for new, old in zip(after, before, strict=True))
        return functional.interpolate(x, scale_factor=scales, mode="bicubic")

    def concat(self, values: Sequence[Tensor], axis: int) -> Tensor:
        return torch.cat(list(values), axis)

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        return x.reshape([x.shape[axis] if side == 0 else side for axis, side in enumerate(shape)])

    def reshape_like(self, x: Tensor, like: Tensor) -> Tensor:
        return x.reshape(like.shape)

    def squeeze(self, x: Tensor, axis: int) -> Tensor:
        return x.squeeze(axis)

    def transpose(self, x: Tensor, order: Sequence[int]) -> Tensor:
        return x.permute(*order)

    def slice(self, x: Tensor, axis: int, start: int, stop: int | None = None, step: int = 1) -> Tensor:
        return x[(slice(None),) * (axis % x.ndim) + (slice(start, stop, step),)]

    def roll(self, x: Tensor, shifts: Sequence[int], axes: Sequence[int]) -> Tensor:
        return torch.roll(x, tuple(shifts), tuple(axes))
