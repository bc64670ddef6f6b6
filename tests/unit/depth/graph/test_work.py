from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import streamd
from streamd.depth.graph.openvino import load_model
from streamd.depth.graph.work import gflop, peak_gflop, peak_model
from streamd.depth.models import find_model
from streamd.depth.ov import openvino as ov
from streamd.depth.ov import opset


def weight(*shape: int) -> Any:
    return opset.constant(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("layer", "flop"),
    [
        (lambda x: opset.convolution(x, weight(8, 3, 5, 5), [2, 2], [2, 2], [2, 2], [1, 1]), 2 * 8 * 3 * 25 * 8 * 16),
        (
            lambda x: opset.group_convolution(x, weight(3, 2, 1, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1]),
            2 * 6 * 9 * 16 * 32,
        ),
        (lambda x: opset.convolution_backprop_data(x, weight(3, 4, 2, 2), strides=[2, 2]), 2 * 3 * 4 * 4 * 16 * 32),
        (lambda x: opset.matmul(x, weight(32, 7), False, False), 2 * 3 * 16 * 32 * 7),
        (lambda x: opset.matmul(x, weight(16, 7), True, False), 2 * 3 * 32 * 16 * 7),
        (lambda x: opset.scaled_dot_product_attention(x, x, x), 2 * 2 * 3 * 16 * 16 * 32),
        (lambda x: opset.relu(x), 0),
    ],
)
def test_layers(layer: Callable[[Any], Any], flop: int) -> None:
    planes = opset.parameter(ov.PartialShape([-1, 3, -1, -1]), np.float32)
    assert gflop(ov.Model([opset.result(layer(planes))], [planes], "one"), 16, 32) == flop / 1e9


def test_a_network() -> None:
    """Its figure was worked out by hand once."""
    model = load_model(find_model("embedded"), Path(streamd.__file__).parent / "assets/embedded.safetensors")
    assert gflop(model, 128, 256) == pytest.approx(0.96, abs=0.01)
    assert gflop(model, 256, 256) == pytest.approx(2 * gflop(model, 128, 256), rel=1e-3)


def test_the_peak_is_of_one_convolution() -> None:
    model = peak_model(4, 8)
    (convolution,) = (node for node in model.get_ops() if node.get_type_name() == "Convolution")
    assert list(convolution.output(0).get_shape()) == [1, 8, 4, 4]
    assert peak_gflop(4, 8) == 2 * 8 * 8 * 9 * 4 * 4 / 1e9
