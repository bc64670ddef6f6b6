"""streamd's own small network, shipped inside the package: EfficientNet-Lite0 under a light decoder.

Trained by this project on procedural scenes, from timm's ImageNet weights (Apache-2.0) of the
encoder. Batch norms are folded into the convolutions, and the file holds float16.
"""

from __future__ import annotations

from streamd.depth.graph.ops import Ops, T
from streamd.depth.models.base import ModelSpec, Preprocessing
from streamd.depth.models.blocks import residual_unit

_STAGES = (
    ("s1", ((24, 2, 3, 2),)),
    ("s2", ((40, 2, 5, 2),)),
    ("s3", ((80, 3, 3, 2), (112, 3, 5, 1))),
    ("s4", ((192, 4, 5, 2), (320, 1, 3, 1))),
)
"""To 1/4, 1/8, 1/16 and 1/32 of the size: groups of (width, blocks, kernel, stride of the first block)."""
_LEVELS = (32, 48, 64, 96)
"""Widths of the decoder, finest first."""


def network(ops: Ops[T], planes: T) -> T:
    """(n, 3, h, w) to (n, h, w), sides multiples of 32. Relative inverse depth without bounds.

    Keys are those of embedded.safetensors.
    """
    x = _convolution(ops, planes, "enc.stem.0", 32, 3, stride=2)
    x = _block(ops, ops.activation(x, "relu6"), "enc.stem.2", 16, expand=1)
    levels = []
    for stage, groups in _STAGES:
        number = 0
        for width, blocks, kernel, stride in groups:
            for block in range(blocks):
                x = _block(ops, x, f"enc.{stage}.{number}", width, kernel, stride if block == 0 else 1)
                number += 1
        levels.append(x)
    fine, middle, coarse, coarsest = (
        ops.convolution(level, f"lat.{index}", width, 3)
        for index, (level, width) in enumerate(zip(levels, _LEVELS, strict=True))
    )
    context = ops.convolution(ops.mean(x, (2, 3)), "ctx", 96)
    path = _fusion(ops, ops.add(coarsest, context), None, "f4", 64)
    for key, level, width in (("f3", coarse, 48), ("f2", middle, 32), ("f1", fine, 32)):
        path = _fusion(ops, path, level, key, width)
    depth = ops.convolution(ops.relu(ops.convolution(path, "h1", 24, 3)), "h2", 1)
    return ops.squeeze(ops.double(depth, align_corners=False), 1)


def _convolution(ops: Ops[T], x: T, key: str, width: int, kernel: int, *, stride: int = 1, groups: int = 1) -> T:
    """With TensorFlow's SAME padding: at stride 2 it is lopsided, and constant since every side is even."""
    if stride == 1:
        return ops.convolution(x, key, width, kernel, groups=groups)
    padding = ((kernel - stride) // 2, (kernel - stride + 1) // 2)
    return ops.convolution(x, f"{key}.conv", width, kernel, stride=stride, padding=padding, groups=groups)


def _block(ops: Ops[T], x: T, key: str, width: int, kernel: int = 3, stride: int = 1, expand: int = 6) -> T:
    """MobileNetV2's inverted residual; with ``expand=1`` a depthwise separable convolution."""
    inputs = ops.channels(x)
    wide, place, y = inputs * expand, 0, x
    if expand > 1:
        y = ops.activation(ops.convolution(y, f"{key}.body.0", wide), "relu6")
        place = 2
    y = _convolution(ops, y, f"{key}.body.{place}", wide, kernel, stride=stride, groups=wide)
    y = ops.convolution(ops.activation(y, "relu6"), f"{key}.body.{place + 2}", width)
    return ops.add(x, y) if inputs == width and stride == 1 else y


def _fusion(ops: Ops[T], path: T, level: T | None, key: str, out_width: int) -> T:
    """Joins what came from below with a level, refines, and doubles the size."""
    joined = path if level is None else ops.add(path, residual_unit(ops, level, f"{key}.r1", ("a", "b")))
    refined = residual_unit(ops, joined, f"{key}.r2", ("a", "b"))
    return ops.double(ops.convolution(refined, f"{key}.out", out_width), align_corners=False)


SPEC = ModelSpec(
    name="embedded",
    title="streamd embedded (coarse)",
    licence="MIT",
    network=network,
    preprocessing=Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="area"),
    coarse=True,
    embedded_weights="embedded.safetensors",
)
