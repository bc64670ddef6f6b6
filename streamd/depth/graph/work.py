"""How much a network computes."""

from __future__ import annotations

from math import prod

import numpy as np

from streamd.depth.ov import openvino as ov
from streamd.depth.ov import opset


def gflop(model: ov.Model, height: int, width: int) -> float:
    """Of one inference of this size: multiplications and additions of convolutions and matrix products, which are all
    but a few percent."""
    sized = model.clone()
    sized.reshape([1, 3, height, width])
    return sum(_flop(node) for node in sized.get_ordered_ops()) / 1e9


def _flop(node: ov.Node) -> int:
    kind = node.get_type_name()
    if kind not in (
        "Convolution",
        "GroupConvolution",
        "ConvolutionBackpropData",
        "MatMul",
        "ScaledDotProductAttention",
    ):
        return 0
    given = [[int(side) for side in node.input(index).get_shape()] for index in range(2)]
    made = [int(side) for side in node.output(0).get_shape()]
    match kind:
        case "Convolution":  # (width, inputs, k, k)
            return 2 * prod(made) * prod(given[1][1:])
        case "GroupConvolution":  # (groups, width, inputs, k, k)
            return 2 * prod(made) * prod(given[1][2:])
        case "ConvolutionBackpropData":  # (inputs, width, k, k)
            return 2 * prod(given[0]) * prod(given[1][1:])
        case "MatMul":
            shared = given[0][-2] if node.get_attributes()["transpose_a"] else given[0][-1]
            return 2 * prod(made) * shared
    return 2 * 2 * prod(given[0]) * given[1][-2]  # attention: queries by keys, and their shares by values


def peak_model(side: int = 32, channels: int = 512) -> ov.Model:
    """One convolution that is nothing but arithmetic: what a core can do at most is measured by it."""
    planes = opset.parameter([1, channels, side, side], np.float32)
    weight = opset.constant(np.random.default_rng(0).standard_normal((channels, channels, 3, 3), np.float32))
    made = opset.convolution(planes, weight, [1, 1], [1, 1], [1, 1], [1, 1])
    return ov.Model([opset.result(made)], [planes], "peak")


def peak_gflop(side: int = 32, channels: int = 512) -> float:
    return 2 * channels * channels * 9 * side * side / 1e9
