"""Small networks in files of their own, as others write them: OpenVINO IR."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from streamd.depth.ov import openvino as ov
from streamd.depth.ov import opset
from streamd.media.frames import FloatImage

SHARES = np.array([0.5, 0.3, 0.2], np.float32)
"""Of the three channels in the depth that they give."""
MANIFEST = """\
name = "small"
file = "{file}"
size = {size}
fit = "{fit}"
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
colours = "rgb"
polarity = "inverse_depth"
licence = "MIT"
enlargement = "cubic"
"""


def write_ir(
    path: Path,
    shape: Sequence[int],
    *,
    output: Sequence[int] | None = None,
    outputs: int = 1,
    halved: bool = False,
    dtype: type = np.float32,
) -> Path:
    """Depth is a weighted sum of the channels. ``shape`` is NCHW or NHWC, -1 for any side; ``output`` is what the
    sum, which keeps its channel axis, is reshaped to."""
    planes = opset.parameter(ov.PartialShape(list(shape)), dtype, "image")
    axis = 3 if shape[3] == 3 and shape[1] != 3 else 1
    shares = SHARES.reshape([3 if each == axis else 1 for each in range(4)])
    numbers = opset.convert(planes, np.float32) if dtype is not np.float32 else planes
    depth = opset.reduce_sum(opset.multiply(numbers, opset.constant(shares)), opset.constant(np.array([axis])), True)
    if halved:
        sides = [1, 2, 2]
        depth = opset.avg_pool(depth, sides[1:], [0, 0], [0, 0], sides[1:], True)
    if output is not None:
        depth = opset.reshape(depth, opset.constant(np.array(output, np.int64)), False)
    ov.save_model(ov.Model([opset.result(depth) for _ in range(outputs)], [planes], "small"), str(path), False)
    return path


def write_manifest(file: Path, size: str = "64", fit: str = "exact", **others: str) -> Path:
    """``others``: values of other keys, as TOML."""
    path = file.with_suffix(".toml")
    lines = MANIFEST.format(file=file.name, size=size, fit=fit).splitlines()
    kept = [line for line in lines if line.partition(" = ")[0] not in others]
    path.write_text("\n".join([*kept, *(f"{key} = {value}" for key, value in others.items())]))
    return path


def depth_of(planes: FloatImage) -> FloatImage:
    """(1, 3, h, w) to (1, h, w): what the small networks give."""
    return np.asarray(np.einsum("nchw,c->nhw", planes, SHARES), np.float32)


def write_convolutions(path: Path, *, outlier: float) -> Path:
    """Four convolutions, (1, 3, h, w) to (1, h, w), as IR. One channel between the first and those behind it is
    ``outlier`` times as large, and they make up for it: the same depth, but in 8 bits the other channels are lost."""
    random = np.random.default_rng(0)
    scale = np.ones((8, 1, 1, 1), np.float32)
    scale[0] = outlier

    def convolve(x: ov.Output, weight: FloatImage) -> ov.Output:
        around = [weight.shape[-1] // 2] * 2
        return opset.convolution(x, opset.constant(weight), [1, 1], around, around, [1, 1]).output(0)

    def weights(*shape: int) -> FloatImage:
        return random.standard_normal(shape).astype(np.float32)

    planes = opset.parameter(ov.PartialShape([1, 3, -1, -1]), np.float32, "image")
    colours = weights(4, 3, 1, 1)
    blurs = np.tile(np.concatenate([colours, -colours]) / 25, (1, 1, 5, 5)).astype(np.float32)
    first = opset.relu(convolve(planes.output(0), blurs * scale)).output(0)
    mixes, kept = np.float32(0.25) * weights(8, 8, 1, 1), weights(8, 8, 1, 1)
    mixes[:, 0] = 0
    both = [convolve(first, each / scale.reshape(1, 8, 1, 1)) for each in (mixes, kept)]
    depth = convolve(opset.concat(both, 1).output(0), weights(1, 16, 1, 1))
    ov.save_model(ov.Model([opset.result(depth)], [planes], "convolutions"), str(path), False)
    return path
