"""Networks as OpenVINO graphs, built straight from their weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from streamd.depth.checkpoint import Array, read_state
from streamd.depth.graph.file import read_model
from streamd.depth.graph.ops import PLACES, Activation, Network, Ops, Padding, Resizing, both_sides
from streamd.depth.graph.parameters import Parameters
from streamd.depth.models.base import ModelSpec
from streamd.depth.ov import openvino as ov
from streamd.depth.ov import opset

Value: TypeAlias = ov.Output


class OpenVinoOps(Ops[Value]):
    """Values are outputs of nodes."""

    def channels(self, x: Value) -> int:
        return int(x.get_partial_shape()[1].get_length())

    def width(self, x: Value) -> int:
        return int(x.get_partial_shape()[-1].get_length())

    def constant(self, value: Array) -> Value:
        return opset.constant(np.ascontiguousarray(value)).output(0)

    def convolve(
        self,
        x: Value,
        weight: Value,
        offset: Value | None,
        *,
        stride: int,
        padding: tuple[int, int],
        dilation: int,
    ) -> Value:
        before, after = padding
        convolution = opset.convolution if len(weight.shape) == 4 else opset.group_convolution
        y = convolution(x, weight, [stride] * 2, [before] * 2, [after] * 2, [dilation] * 2).output(0)
        return y if offset is None else self.add(y, offset)

    def convolve_transposed(
        self, x: Value, weight: Value, offset: Value | None, *, stride: int, padding: int, output_padding: int
    ) -> Value:
        y = opset.convolution_backprop_data(
            x,
            weight,
            strides=[stride] * 2,
            pads_begin=[padding] * 2,
            pads_end=[padding] * 2,
            dilations=[1, 1],
            output_padding=[output_padding] * 2,
        ).output(0)
        return y if offset is None else self.add(y, offset)

    def add(self, a: Value, b: Value) -> Value:
        return opset.add(a, b).output(0)

    def multiply(self, a: Value, b: Value) -> Value:
        return opset.multiply(a, b).output(0)

    def matmul(self, a: Value, b: Value, *, transpose_b: bool = False) -> Value:
        return opset.matmul(a, b, False, transpose_b).output(0)

    def activation(self, x: Value, kind: Activation) -> Value:
        match kind:
            case "relu":
                node = opset.relu(x)
            case "relu6":
                node = opset.clamp(x, 0.0, 6.0)
            case "gelu":
                node = opset.gelu(x, "erf")
            case "sigmoid":
                node = opset.sigmoid(x)
            case "hard_swish":
                node = opset.hswish(x)
            case "silu":
                node = opset.swish(x)
        return node.output(0)

    def attention(self, query: Value, keys: Value, values: Value, bias: Value | None = None) -> Value:
        return opset.scaled_dot_product_attention(query, keys, values, bias).output(0)

    def softmax(self, x: Value, axis: int = -1) -> Value:
        return opset.softmax(x, axis).output(0)

    def standardise(self, x: Value, eps: float) -> Value:
        return opset.mvn(x, _axes([-1]), True, eps, "inside_sqrt").output(0)

    def normalise(self, x: Value, axis: int = -1, eps: float = 1e-12) -> Value:
        return opset.normalize_l2(x, _axes([axis]), eps * eps, "max").output(0)

    def mean(self, x: Value, axes: Sequence[int]) -> Value:
        return opset.reduce_mean(x, _axes(axes), True).output(0)

    def max_pool(self, x: Value, kernel: int, *, stride: int, padding: Padding = 0) -> Value:
        before, after = both_sides(padding)
        return opset.max_pool(x, [stride] * 2, [1, 1], [before] * 2, [after] * 2, [kernel] * 2).output(0)

    def average_pool(self, x: Value, kernel: int) -> Value:
        return opset.avg_pool(x, [kernel] * 2, [0, 0], [0, 0], [kernel] * 2, True).output(0)

    def resize(self, x: Value, how: Resizing, *, scale: int = 0, like: Value | None = None) -> Value:
        if like is None:
            by, sizes = "scales", opset.constant(np.array([scale, scale], np.float32)).output(0)
        else:
            by, sizes = "sizes", _sides(like)
        return opset.interpolate(
            x,
            sizes,
            how if how in ("nearest", "cubic") else "linear_onnx",
            by,
            axes=_axes([2, 3]),
            coordinate_transformation_mode=PLACES[how],
            nearest_mode="floor",
            cube_coeff=-0.75,
        ).output(0)

    def resize_positions(self, x: Value, like: Value, offset: float) -> Value:
        """By matrices: OpenVINO's own cubic interpolation leaves a side as it is whose length stays."""
        before = [int(x.get_partial_shape()[axis].get_length()) for axis in (2, 3)]
        after = _sides(like)
        changes = opset.reduce_logical_or(opset.not_equal(after, _axes(before)), _axes([0]), True)
        longer = opset.multiply(opset.convert(changes, np.float32), _number(offset)).output(0)
        rows, columns = (
            _cubic(old, opset.gather(after, _axes([place]), _axes(0)).output(0), longer)
            for place, old in enumerate(before)
        )
        return opset.matmul(opset.matmul(rows, x, False, False), columns, False, True).output(0)

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        return opset.concat(list(values), axis).output(0)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        return opset.reshape(x, _axes(shape), True).output(0)

    def reshape_like(self, x: Value, like: Value) -> Value:
        return opset.reshape(x, opset.shape_of(like), False).output(0)

    def squeeze(self, x: Value, axis: int) -> Value:
        return opset.squeeze(x, _axes([axis])).output(0)

    def transpose(self, x: Value, order: Sequence[int]) -> Value:
        return opset.transpose(x, _axes(order)).output(0)

    def slice(self, x: Value, axis: int, start: int, stop: int | None = None, step: int = 1) -> Value:
        end = np.iinfo(np.int64).max if stop is None else stop
        return opset.slice(x, _axes([start]), _axes([end]), _axes([step]), _axes([axis])).output(0)

    def roll(self, x: Value, shifts: Sequence[int], axes: Sequence[int]) -> Value:
        return opset.roll(x, _axes(shifts), _axes(axes)).output(0)


def _axes(values: Sequence[int] | int) -> Value:
    return opset.constant(np.array(values, np.int64)).output(0)


def _sides(x: Value) -> Value:
    """Height and width."""
    return opset.gather(opset.shape_of(x), _axes([2, 3]), _axes(0)).output(0)


def _number(value: float) -> Value:
    return opset.constant(np.array(value, np.float32)).output(0)


def _cubic(old: int, new: Value, longer: Value) -> Value:
    """(new, old): cubic interpolation (a = -0.75) along one side, as if it became ``longer`` than ``new``."""
    places = opset.convert(opset.range(_axes(0), opset.squeeze(new, _axes([0])), _axes(1), "i64"), np.float32)
    places = opset.unsqueeze(opset.add(places, _number(0.5)), _axes([1]))
    step = opset.divide(_number(old), opset.add(opset.convert(new, np.float32), longer))
    places = opset.subtract(opset.multiply(places, step), _number(0.5))
    taps = np.arange(-2, old + 2)  # those outside are the outermost pixels again
    distance = opset.abs(opset.subtract(places, opset.constant(taps[None].astype(np.float32))))
    near = _polynomial(distance, (1.25, -2.25, 0.0, 1.0))
    far = opset.select(opset.less(distance, _number(2)), _polynomial(distance, (-0.75, 3.75, -6.0, 3.0)), _number(0))
    weights = opset.select(opset.less(distance, _number(1)), near, far)
    clamped = np.eye(old, dtype=np.float32)[taps.clip(0, old - 1)]
    return opset.matmul(weights, opset.constant(clamped), False, False).output(0)


def _polynomial(x: Value, factors: Sequence[float]) -> Value:
    """The highest power first."""
    value = _number(factors[0])
    for factor in factors[1:]:
        value = opset.add(opset.multiply(value, x), _number(factor)).output(0)
    return value


def load_model(spec: ModelSpec, weights: Path) -> ov.Model:
    """The network of ``spec`` with these weights: (n, 3, h, w) to (n, h, w), float32; n is 1 where it is in a file of
    its own. Raises WeightsRejected."""
    if spec.file is not None:
        return read_model(spec.file, spec.preprocessing)
    how = spec.preprocessing
    only_side = how.max_side if how.min_side == how.max_side else None
    return build_model(spec.network, Parameters(read_state(weights), weights), only_side)


def build_model(network: Network, parameters: Parameters, only_side: int | None = None) -> ov.Model:
    """(n, 3, h, w) to (n, h, w) for any n, h and w, unless both sides are ``only_side``. Raises WeightsRejected."""
    side = only_side or -1
    planes = opset.parameter(ov.PartialShape([-1, 3, side, side]), np.float32, "planes")
    depth = network(OpenVinoOps(parameters), planes.output(0))
    parameters.check()
    return ov.Model([opset.result(depth)], [planes], "depth")
