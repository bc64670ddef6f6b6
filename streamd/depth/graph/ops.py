"""What networks are written in: each is one function of an ``Ops`` and its input, for every runtime.

Values are (n, c, h, w) for pictures and (n, tokens, width) for transformers, float32. n, h and w may be unknown while a
graph is built; channels and widths are known.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np

from streamd.depth.checkpoint import Array
from streamd.depth.graph.parameters import Parameters
from streamd.media.frames import FloatImage

T = TypeVar("T")
Padding = int | tuple[int, int]
"""Before and after, of height and width alike; or one number for both."""
Weights = Callable[[], tuple[FloatImage, FloatImage | None]]
Resizing = Literal["bilinear", "corners", "nearest", "cubic"]
"""``corners`` is bilinear with the corners in place (``align_corners``); ``cubic`` has a = -0.75."""
PLACES: Mapping[Resizing, str] = {
    "bilinear": "half_pixel",
    "corners": "align_corners",
    "nearest": "asymmetric",
    "cubic": "half_pixel",
}
"""Where new pixels lie among the old ones, as ONNX and OpenVINO call it."""
Activation = Literal["relu", "relu6", "gelu", "sigmoid", "hard_swish", "silu"]


def both_sides(padding: Padding) -> tuple[int, int]:
    return (padding, padding) if isinstance(padding, int) else padding


class Ops(ABC, Generic[T]):
    """``T`` is a value of the runtime."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    # -- layers with weights, under the key of their module ---------------------------------------

    def convolution(
        self,
        x: T,
        key: str,
        width: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        padding: Padding | None = None,
        groups: int = 1,
        dilation: int = 1,
        bias: bool = True,
        norm: str | None = None,
        eps: float = 1e-5,
    ) -> T:
        """To ``width`` channels. ``padding`` None keeps the size at stride 1. ``norm`` is the key of a batch norm that
        follows: it is folded into the weights."""
        inputs = self.channels(x) // groups

        def weights() -> tuple[FloatImage, FloatImage | None]:
            weight = self.parameters.take(f"{key}.weight", width, inputs, kernel, kernel)
            offset = self.parameters.take(f"{key}.bias", width) if bias else None
            if norm is not None:
                scale, shift = self.batch_norm(norm, width, eps)
                weight = weight * scale[:, None, None, None]
                offset = shift if offset is None else offset * scale + shift
            if groups > 1:
                weight = weight.reshape(groups, width // groups, inputs, kernel, kernel)
            return weight, None if offset is None else offset[None, :, None, None]

        if padding is None:
            padding = dilation * (kernel // 2)
        weight, offset = self.layer(key, weights)
        assert weight is not None
        return self.convolve(x, weight, offset, stride=stride, padding=both_sides(padding), dilation=dilation)

    def transposed_convolution(
        self,
        x: T,
        key: str,
        width: int,
        kernel: int,
        *,
        stride: int,
        padding: int = 0,
        output_padding: int = 0,
        bias: bool = True,
        norm: str | None = None,
        eps: float = 1e-5,
    ) -> T:
        """To ``width`` channels, ``stride`` times as large."""
        inputs = self.channels(x)

        def weights() -> tuple[FloatImage, FloatImage | None]:
            weight = self.parameters.take(f"{key}.weight", inputs, width, kernel, kernel)
            offset = self.parameters.take(f"{key}.bias", width) if bias else None
            if norm is not None:
                scale, shift = self.batch_norm(norm, width, eps)
                weight = weight * scale[:, None, None]
                offset = shift if offset is None else offset * scale + shift
            return weight, None if offset is None else offset[None, :, None, None]

        weight, offset = self.layer(key, weights)
        assert weight is not None
        return self.convolve_transposed(
            x, weight, offset, stride=stride, padding=padding, output_padding=output_padding
        )

    def linear(self, x: T, key: str, width: int, *, bias: bool = True, norm: str | None = None) -> T:
        """Of the last axis. ``norm`` is the key of a batch norm that follows: it is folded into the weights."""
        inputs = self.width(x)

        def weights() -> tuple[FloatImage, FloatImage | None]:
            weight = self.parameters.take(f"{key}.weight", width, inputs)
            offset = self.parameters.take(f"{key}.bias", width) if bias else None
            if norm is not None:
                scale, shift = self.batch_norm(norm, width)
                weight = weight * scale[:, None]
                offset = shift if offset is None else offset * scale + shift
            return weight, offset

        weight, offset = self.layer(key, weights)
        assert weight is not None
        y = self.matmul(x, weight, transpose_b=True)
        return y if offset is None else self.add(y, offset)

    def layer_norm(self, x: T, key: str, eps: float = 1e-5) -> T:
        """Of the last axis."""
        width = self.width(x)
        take = self.parameters.take
        weight, offset = self.layer(key, lambda: (take(f"{key}.weight", width), take(f"{key}.bias", width)))
        assert weight is not None
        assert offset is not None
        return self.add(self.multiply(self.standardise(x, eps), weight), offset)

    def group_norm(self, x: T, key: str, groups: int = 32, eps: float = 1e-5) -> T:
        """Of (n, c, h, w): each group of channels to mean 0 and variance 1, then scaled."""
        take, width = self.parameters.take, self.channels(x)

        def weights() -> tuple[FloatImage, FloatImage]:
            return take(f"{key}.weight", width)[:, None, None], take(f"{key}.bias", width)[:, None, None]

        weight, offset = self.layer(key, weights)
        assert weight is not None
        assert offset is not None
        standard = self.reshape_like(self.standardise(self.reshape(x, (0, groups, -1)), eps), x)
        return self.add(self.multiply(standard, weight), offset)

    def parameter(self, key: str, *shape: int) -> T:
        """One that belongs to no layer, such as a token."""
        value, _ = self.layer(key, lambda: (self.parameters.take(key, *shape), None))
        assert value is not None
        return value

    def batch_norm(self, key: str, width: int, eps: float = 1e-5) -> tuple[FloatImage, FloatImage]:
        """What it does in inference: (scale, shift), each (width,)."""
        take = self.parameters.take
        weight, bias = take(f"{key}.weight", width), take(f"{key}.bias", width)
        mean, variance = take(f"{key}.running_mean", width), self.parameters.take_positive(f"{key}.running_var", width)
        self.parameters.expect(f"{key}.num_batches_tracked", kind="i")
        scale = weight.astype(np.float64) / np.sqrt(variance.astype(np.float64) + eps)
        return scale.astype(np.float32), (bias - mean * scale).astype(np.float32)

    # -- of the runtime ----------------------------------------------------------------------------

    @abstractmethod
    def channels(self, x: T) -> int:
        """Of (n, c, h, w)."""

    @abstractmethod
    def width(self, x: T) -> int:
        """Of the last axis."""

    @abstractmethod
    def constant(self, value: Array) -> T: ...

    def layer(self, key: str, weights: Weights) -> tuple[T | None, T | None]:
        """The values of a layer. What is computed at once keeps those of its first run."""
        first, second = (None if each is None else self.constant(each) for each in weights())
        return first, second

    @abstractmethod
    def convolve(self, x: T, weight: T, offset: T | None, *, stride: int, padding: tuple[int, int], dilation: int) -> T:
        """``weight`` is (width, inputs, k, k), with the groups before that where there are some; ``offset``
        (1, width, 1, 1)."""

    @abstractmethod
    def convolve_transposed(
        self, x: T, weight: T, offset: T | None, *, stride: int, padding: int, output_padding: int
    ) -> T:
        """``weight`` is (inputs, width, k, k)."""

    @abstractmethod
    def add(self, a: T, b: T) -> T: ...

    @abstractmethod
    def multiply(self, a: T, b: T) -> T: ...

    @abstractmethod
    def matmul(self, a: T, b: T, *, transpose_b: bool = False) -> T: ...

    @abstractmethod
    def activation(self, x: T, kind: Activation) -> T:
        """``gelu`` is the exact one (erf)."""

    @abstractmethod
    def attention(self, query: T, keys: T, values: T, bias: T | None = None) -> T:
        """(n, heads, tokens, width) each: softmax(query keys^T / sqrt(width) + bias) values. ``bias`` is
        (1, heads, tokens, tokens)."""

    @abstractmethod
    def softmax(self, x: T, axis: int = -1) -> T: ...

    @abstractmethod
    def standardise(self, x: T, eps: float) -> T:
        """The last axis to mean 0 and variance 1: a layer norm without weights."""

    @abstractmethod
    def normalise(self, x: T, axis: int = -1, eps: float = 1e-12) -> T:
        """To length 1 (L2) along this axis."""

    @abstractmethod
    def mean(self, x: T, axes: Sequence[int]) -> T:
        """The axes stay, of size 1."""

    @abstractmethod
    def max_pool(self, x: T, kernel: int, *, stride: int, padding: Padding = 0) -> T: ...

    @abstractmethod
    def average_pool(self, x: T, kernel: int) -> T:
        """Of squares side by side."""

    @abstractmethod
    def resize(self, x: T, how: Resizing, *, scale: int = 0, like: T | None = None) -> T:
        """(n, c, h, w) ``scale`` times as large, or as large as ``like``."""

    @abstractmethod
    def resize_positions(self, x: T, like: T, offset: float) -> T:
        """(n, c, h, w) as large as ``like``, cubic, as DINOv2 does it: where a side changes, both are sampled as if the
        new ones were ``offset`` longer (facebookresearch/dino#8)."""

    @abstractmethod
    def concat(self, values: Sequence[T], axis: int) -> T: ...

    @abstractmethod
    def reshape(self, x: T, shape: Sequence[int]) -> T:
        """0 keeps the axis in this place, -1 is what is left."""

    @abstractmethod
    def reshape_like(self, x: T, like: T) -> T:
        """To the shape of ``like``."""

    @abstractmethod
    def squeeze(self, x: T, axis: int) -> T:
        """Without this axis of size 1."""

    @abstractmethod
    def transpose(self, x: T, order: Sequence[int]) -> T: ...

    @abstractmethod
    def slice(self, x: T, axis: int, start: int, stop: int | None = None, step: int = 1) -> T: ...

    @abstractmethod
    def roll(self, x: T, shifts: Sequence[int], axes: Sequence[int]) -> T: ...

    # -- shorthands ----------------------------------------------------------------------------------

    def relu(self, x: T) -> T:
        return self.activation(x, "relu")

    def double(self, x: T, *, align_corners: bool) -> T:
        """(n, c, h, w) to (n, c, 2h, 2w), bilinear."""
        return self.resize(x, "corners" if align_corners else "bilinear", scale=2)


class Network(Protocol):
    """What every network is: (n, 3, h, w) to (n, h, w), and takes all weights of its official file."""

    def __call__(self, ops: Ops[T], planes: T) -> T: ...
