"""Networks as ONNX models, built straight from their weights: for ONNX Runtime, and for whoever takes such files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from streamd.depth.checkpoint import Array, read_state
from streamd.depth.graph.ops import PLACES, Activation, Network, Ops, Padding, Resizing, both_sides
from streamd.depth.graph.parameters import Parameters
from streamd.depth.models.base import ModelSpec

OPSET = 17
"""The first with LayerNormalization; old enough for whatever reads ONNX."""
IR_VERSION = 8
"""Of the same time."""

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Value:
    name: str
    shape: Shape
    """None for what is unknown while the graph is built."""


class OnnxOps(Ops[Value]):
    """Values are outputs of nodes, and constants."""

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
        """Some may have come to no use."""

    def channels(self, x: Value) -> int:
        return _known(x.shape[1])

    def width(self, x: Value) -> int:
        return _known(x.shape[-1])

    def constant(self, value: Array) -> Value:
        name = f"constant_{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return Value(name, value.shape)

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
        groups = _known(weight.shape[0]) if len(weight.shape) == 5 else 1
        if groups > 1:
            stacked = self.constants[weight.name]
            weight = self.constant(stacked.reshape(-1, *stacked.shape[2:]))
        kernel, (before, after) = _known(weight.shape[-1]), padding
        return self._node(
            "Conv",
            (x.shape[0], weight.shape[0], None, None),
            *[x, weight, *self._bias(offset)],
            group=groups,
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[before, before, after, after],
            dilations=[dilation] * 2,
        )

    def convolve_transposed(
        self, x: Value, weight: Value, offset: Value | None, *, stride: int, padding: int, output_padding: int
    ) -> Value:
        return self._node(
            "ConvTranspose",
            (x.shape[0], weight.shape[1], None, None),
            *[x, weight, *self._bias(offset)],
            kernel_shape=[_known(weight.shape[-1])] * 2,
            strides=[stride] * 2,
            pads=[padding] * 4,
            output_padding=[output_padding] * 2,
        )

    def _bias(self, offset: Value | None) -> list[Value]:
        return [] if offset is None else [self.constant(self.constants[offset.name].reshape(-1))]

    def add(self, a: Value, b: Value) -> Value:
        return self._node("Add", _broadcast(a.shape, b.shape), a, b)

    def multiply(self, a: Value, b: Value) -> Value:
        return self._node("Mul", _broadcast(a.shape, b.shape), a, b)

    def matmul(self, a: Value, b: Value, *, transpose_b: bool = False) -> Value:
        if transpose_b:
            b = self._turned(b)
        return self._node("MatMul", (*_broadcast(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]), a, b)

    def _turned(self, x: Value) -> Value:
        """The last two axes change places."""
        if x.name in self.constants:
            return self.constant(np.ascontiguousarray(self.constants[x.name].swapaxes(-1, -2)))
        last = len(x.shape) - 1
        return self.transpose(x, [*range(last - 1), last, last - 1])

    def activation(self, x: Value, kind: Activation) -> Value:
        match kind:
            case "relu":
                return self._node("Relu", x.shape, x)
            case "relu6":
                return self._node("Clip", x.shape, x, self._number(0.0), self._number(6.0))
            case "gelu":
                bell = self._node("Erf", x.shape, self.multiply(x, self._number(math.sqrt(0.5))))
                return self.multiply(self.multiply(x, self._number(0.5)), self.add(bell, self._number(1.0)))
            case "sigmoid":
                return self._node("Sigmoid", x.shape, x)
            case "hard_swish":
                return self._node("HardSwish", x.shape, x)
            case "silu":
                return self.multiply(x, self._node("Sigmoid", x.shape, x))

    def attention(self, query: Value, keys: Value, values: Value, bias: Value | None = None) -> Value:
        scaled = self.multiply(query, self._number(self.width(query) ** -0.5))
        scores = self.matmul(scaled, keys, transpose_b=True)
        return self.matmul(self.softmax(scores if bias is None else self.add(scores, bias)), values)

    def softmax(self, x: Value, axis: int = -1) -> Value:
        return self._node("Softmax", x.shape, x, axis=axis)

    def standardise(self, x: Value, eps: float) -> Value:
        if x.shape[-1] is None:  # then the operation of this name lacks its weights
            centred = self.add(x, self.multiply(self.mean(x, [-1]), self._number(-1.0)))
            variance = self.mean(self.multiply(centred, centred), [-1])
            length = self._node("Sqrt", variance.shape, self.add(variance, self._number(eps)))
            return self._node("Div", x.shape, centred, length)
        ones = self.constant(np.ones(self.width(x), np.float32))
        return self._node("LayerNormalization", x.shape, x, ones, axis=-1, epsilon=eps)

    def normalise(self, x: Value, axis: int = -1, eps: float = 1e-12) -> Value:
        shape = _with(x.shape, {axis: 1})
        length = self._node("ReduceL2", shape, x, axes=[axis], keepdims=1)
        return self._node("Div", x.shape, x, self._node("Max", shape, length, self._number(eps)))

    def mean(self, x: Value, axes: Sequence[int]) -> Value:
        return self._node("ReduceMean", _with(x.shape, dict.fromkeys(axes, 1)), x, axes=list(axes), keepdims=1)

    def max_pool(self, x: Value, kernel: int, *, stride: int, padding: Padding = 0) -> Value:
        before, after = both_sides(padding)
        pads = [before, before, after, after]
        shape = (*x.shape[:2], None, None)
        return self._node("MaxPool", shape, x, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)

    def average_pool(self, x: Value, kernel: int) -> Value:
        sides = [kernel] * 2
        return self._node("AveragePool", (*x.shape[:2], None, None), x, kernel_shape=sides, strides=sides)

    def resize(self, x: Value, how: Resizing, *, scale: int = 0, like: Value | None = None) -> Value:
        if like is None:
            sizes = [self.constant(np.array([1, 1, scale, scale], np.float32))]
        else:
            sizes = [_NOTHING, self.concat([self.slice(self._shape(x), 0, 0, 2), self._sides(like)], 0)]
        return self._resized(x, how, *sizes)

    def resize_positions(self, x: Value, like: Value, offset: float) -> Value:
        return self._resized(x, "cubic", self._scales(x, like, offset))

    def _resized(self, x: Value, how: Resizing, *sizes: Value) -> Value:
        return self._node(
            "Resize",
            (*x.shape[:2], None, None),
            *[x, _NOTHING, *sizes],
            mode=how if how in ("nearest", "cubic") else "linear",
            coordinate_transformation_mode=PLACES[how],
            nearest_mode="floor",
            cubic_coeff_a=-0.75,
        )

    def _scales(self, x: Value, like: Value, offset: float) -> Value:
        """1, 1 and (after + offset) / before for height and width; 1 for both when neither changes."""
        before, after = self._sides(x), self._sides(like)
        changes = self._node("Not", (2,), self._node("Equal", (2,), before, after))
        old, new, any = (self._node("Cast", (2,), each, to=TensorProto.FLOAT) for each in (before, after, changes))
        any = self._node("ReduceMax", (1,), any, axes=[0], keepdims=1)
        scales = self._node("Div", (2,), self.add(new, self.multiply(any, self._number(offset))), old)
        return self.concat([self.constant(np.ones(2, np.float32)), scales], 0)

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        sides = [value.shape[axis] for value in values]
        total = None if None in sides else sum(map(_known, sides))
        return self._node("Concat", _with(values[0].shape, {axis: total}), *values, axis=axis)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        sides: list[int | None] = [x.shape[axis] if side == 0 else side for axis, side in enumerate(shape)]
        if -1 in sides:
            rest = [side for side in sides if side != -1]
            known = None not in (*rest, *x.shape)
            left = math.prod(map(_known, x.shape)) // math.prod(map(_known, rest)) if known else None
            sides[sides.index(-1)] = left
        return self._node("Reshape", tuple(sides), x, self._whole(shape))

    def reshape_like(self, x: Value, like: Value) -> Value:
        return self._node("Reshape", like.shape, x, self._shape(like))

    def squeeze(self, x: Value, axis: int) -> Value:
        shape = list(x.shape)
        del shape[axis]
        return self._node("Squeeze", tuple(shape), x, self._whole([axis]))

    def transpose(self, x: Value, order: Sequence[int]) -> Value:
        return self._node("Transpose", tuple(x.shape[axis] for axis in order), x, perm=list(order))

    def slice(self, x: Value, axis: int, start: int, stop: int | None = None, step: int = 1) -> Value:
        side = x.shape[axis]
        left = None if side is None else len(range(side)[start:stop:step])
        end = np.iinfo(np.int64).max if stop is None else stop
        bounds = [self._whole([number]) for number in (start, end, axis, step)]
        return self._node("Slice", _with(x.shape, {axis: left}), x, *bounds)

    def roll(self, x: Value, shifts: Sequence[int], axes: Sequence[int]) -> Value:
        for shift, axis in zip(shifts, axes, strict=True):
            if shift:
                x = self.concat([self.slice(x, axis, -shift), self.slice(x, axis, 0, -shift)], axis)
        return x

    # -- its own ---------------------------------------------------------------------------------------

    def _node(self, kind: str, shape: Shape, *inputs: Value, **attributes: Any) -> Value:
        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [x.name for x in inputs], [output], name=output, **attributes))
        return Value(output, shape)

    def _number(self, value: float) -> Value:
        return self.constant(np.array(value, np.float32))

    def _whole(self, values: Sequence[int]) -> Value:
        return self.constant(np.array(values, np.int64))

    def _shape(self, x: Value) -> Value:
        return self._node("Shape", (len(x.shape),), x)

    def _sides(self, x: Value) -> Value:
        """Height and width."""
        return self.slice(self._shape(x), 0, 2, 4)


_NOTHING = Value("", ())
"""An input that is left out."""


def _known(side: int | None) -> int:
    assert side is not None
    return side


def _with(shape: Shape, sides: dict[int, int | None]) -> Shape:
    """The same, but for these axes."""
    changed = list(shape)
    for axis, side in sides.items():
        changed[axis] = side
    return tuple(changed)


def _broadcast(a: Shape, b: Shape) -> Shape:
    rank = max(len(a), len(b))
    pairs = zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)
    return tuple(y if x == 1 else x if x is not None or y == 1 else y for x, y in pairs)


def build_onnx(spec: ModelSpec, weights: Path) -> onnx.ModelProto:
    """The network of ``spec`` with these weights: "planes" (n, 3, h, w) to "depth" (n, h, w), float32.

    Raises WeightsRejected.
    """
    how = spec.preprocessing
    only_side = how.max_side if how.min_side == how.max_side else None
    return build_model(spec.network, Parameters(read_state(weights), weights), only_side)


def build_model(network: Network, parameters: Parameters, only_side: int | None = None) -> onnx.ModelProto:
    """For any n, h and w, unless both sides are ``only_side``. Raises WeightsRejected."""
    ops = OnnxOps(parameters)
    depth = network(ops, Value("planes", (None, 3, only_side, only_side)))
    parameters.check()
    ops.nodes.append(helper.make_node("Identity", [depth.name], ["depth"], name="depth"))
    used = {name for node in ops.nodes for name in node.input}
    sides = ["height", "width"] if only_side is None else [only_side] * 2
    graph = helper.make_graph(
        ops.nodes,
        "depth",
        [helper.make_tensor_value_info("planes", TensorProto.FLOAT, ["n", 3, *sides])],
        [helper.make_tensor_value_info("depth", TensorProto.FLOAT, ["n", *sides])],
        [
            numpy_helper.from_array(np.ascontiguousarray(value), name)
            for name, value in ops.constants.items()
            if name in used
        ],
    )
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="streamd")
