"""ZipDepth base (Tosi et al. 2026; MIT): a RepVGG encoder with cheap context under a light decoder.

What is linear and has no bend between is one convolution here: the branches of a block, the two dilations of a
context block. What is 1x1 comes before a doubling instead of behind it: the same numbers, at a quarter of the pixels.
"""

from __future__ import annotations

import numpy as np

from streamd.depth.graph.ops import Ops, T
from streamd.depth.models.base import Download, ModelSpec, Preprocessing
from streamd.media.frames import FloatImage

_STAGES = (("stage1", 48, 2), ("stage2", 96, 2), ("stage3", 192, 6), ("stage4", 384, 2))
"""At 1/4, 1/8, 1/16 and 1/32 of the size: (key, width, blocks)."""
_FUSIONS = (("fuse3", 192), ("fuse2", 144), ("fuse1", 96), ("fuse_half", 32))
_GROUPS = 4
"""Of the 1x1 convolutions between levels."""
_CROSS_SHARE = 0.3
_TABLES = {
    "mean": np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 3, 1, 1),
    "std": np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1),
}


def network(ops: Ops[T], planes: T) -> T:
    """(n, 3, h, w) in [0, 1] to (n, h, w), sides multiples of 32. Relative inverse depth, never below 0.

    Keys are those of the official zipdepth_base_npu.pth.
    """
    ops.parameters.tell_apart(
        "decoder.convex_up.mask_pred.",
        "this is zipdepth_base.pth, which has another upsampler: take zipdepth_base_npu.pth",
    )
    half = _convolution(ops, _normalised(ops, planes), "encoder.stem_half", 24, 3, 2)
    x = _convolution(ops, half, "encoder.stem_quarter", 48, 3, 2)
    levels = [half]
    for number, (key, width, blocks) in enumerate(_STAGES, start=1):
        if number > 1:
            x = _block(ops, x, f"encoder.down{number}", width, stride=2)
        for block in range(blocks):
            x = _block(ops, x, f"encoder.{key}.{block}", width)
        if key == "stage2":
            x = _strips(ops, _dilations(ops, x, "encoder.stage2.2"), "encoder.stage2.3.gate_conv")
        elif key == "stage3":
            x = _context(ops, _excitation(ops, x, "encoder.stage3.6.fc"), "encoder.stage3.7")
        levels.append(x)
    levels[-2:] = _exchange(ops, levels[-2], _pyramid(ops, levels[-1], "encoder.spp"), "encoder.cross_scale")
    x = _convolution(ops, levels.pop(), "decoder.proj4", 288)
    for key, width in _FUSIONS:
        x = _fusion(ops, levels.pop(), x, f"decoder.{key}", width)
    return ops.squeeze(_doubled(ops, x, "decoder.convex_up.where_conv"), 1)


def _normalised(ops: Ops[T], planes: T) -> T:
    mean, std = (ops.parameters.table(key, table) for key, table in _TABLES.items())
    return ops.multiply(ops.add(planes, ops.constant(-mean)), ops.constant(1 / std))


def _convolution(ops: Ops[T], x: T, key: str, width: int, kernel: int = 1, stride: int = 1) -> T:
    norm = f"{key}.bn"
    return ops.relu(ops.convolution(x, f"{key}.conv", width, kernel, stride=stride, bias=False, norm=norm))


def _block(ops: Ops[T], x: T, key: str, width: int, stride: int = 1) -> T:
    """RepVGG's (Ding et al. 2021): a 3x3 and a 1x1 convolution and, where it fits, the input itself, as one 3x3."""
    inputs = ops.channels(x)

    def weights() -> tuple[FloatImage, FloatImage]:
        weight, offset = _folded(ops, f"{key}.branch_3x3.0", f"{key}.branch_3x3.1", width, inputs, 3, 3)
        point, point_offset = _folded(ops, f"{key}.branch_1x1.0", f"{key}.branch_1x1.1", width, inputs, 1, 1)
        weight[:, :, 1:2, 1:2] += point
        if inputs == width and stride == 1:
            weight[range(width), range(width), 1, 1] += 1
        return weight, (offset + point_offset)[:, None, None]

    weight, offset = ops.layer(key, weights)
    assert weight is not None
    return ops.relu(ops.convolve(x, weight, offset, stride=stride, padding=(1, 1), dilation=1))


def _folded(ops: Ops[T], key: str, norm: str, *shape: int) -> tuple[FloatImage, FloatImage]:
    scale, shift = ops.batch_norm(norm, shape[0])
    return ops.parameters.take(f"{key}.weight", *shape) * scale[:, None, None, None], shift


def _dilations(ops: Ops[T], x: T, key: str) -> T:
    """x + depthwise 3x3 + depthwise 3x3 of dilation 2, as one depthwise 5x5."""
    width = ops.channels(x)

    def weights() -> tuple[FloatImage, FloatImage]:
        scale, shift = ops.batch_norm(f"{key}.bn", width)
        weight = np.zeros((width, 1, 5, 5), np.float32)
        weight[:, :, 1:4, 1:4] = ops.parameters.take(f"{key}.branch1.weight", width, 1, 3, 3)
        weight[:, :, ::2, ::2] += ops.parameters.take(f"{key}.branch2.weight", width, 1, 3, 3)
        weight *= scale[:, None, None, None]
        weight[:, :, 2, 2] += 1
        return weight[:, None], shift[:, None, None]

    weight, offset = ops.layer(key, weights)
    assert weight is not None
    return ops.convolve(x, weight, offset, stride=1, padding=(2, 2), dilation=1)


def _strips(ops: Ops[T], x: T, key: str) -> T:
    """Gated by the means of its row and column."""
    width = ops.channels(x)

    def weights() -> tuple[FloatImage, FloatImage]:
        weight, shift = _folded(ops, f"{key}.0", f"{key}.1", width, 1, 1, 1)
        return weight[:, 0], shift[:, None, None]

    scale, shift = ops.layer(key, weights)
    assert scale is not None
    assert shift is not None
    rows = ops.add(ops.multiply(ops.mean(x, (3,)), scale), shift)
    columns = ops.multiply(ops.mean(x, (2,)), scale)
    return ops.multiply(x, ops.activation(ops.add(rows, columns), "sigmoid"))


def _excitation(ops: Ops[T], x: T, key: str) -> T:
    """Squeeze-and-excitation (Hu et al. 2018)."""
    hidden = ops.relu(ops.convolution(ops.mean(x, (2, 3)), f"{key}.0", 24, bias=False))
    gate = ops.activation(ops.convolution(hidden, f"{key}.2", ops.channels(x), bias=False), "sigmoid")
    return ops.multiply(x, gate)


def _context(ops: Ops[T], x: T, key: str) -> T:
    """GCNet's (Cao et al. 2019): the pixels' weighted mean, transformed, is added to all."""
    weight = ops.softmax(ops.reshape(ops.convolution(x, f"{key}.context_weight", 1), (0, 1, -1)))
    mean = ops.matmul(ops.reshape(x, (0, 0, -1)), weight, transpose_b=True)
    mean = ops.reshape(mean, (0, 0, 1, 1))
    hidden = ops.convolution(mean, f"{key}.transform.0", 48, norm=f"{key}.transform.1")
    return ops.add(x, ops.convolution(ops.relu(hidden), f"{key}.transform.3", ops.channels(x)))


def _pyramid(ops: Ops[T], x: T, key: str) -> T:
    """Spatial pyramid pooling by repetition, as in YOLOv5."""
    pooled = [_convolution(ops, x, f"{key}.cv1", 96)]
    for _ in range(3):
        pooled.append(ops.max_pool(pooled[-1], 5, stride=1, padding=2))
    return _convolution(ops, ops.concat(pooled, 1), f"{key}.cv2", ops.channels(x))


def _exchange(ops: Ops[T], fine: T, coarse: T, key: str) -> tuple[T, T]:
    """Each of two levels gets a share of the other."""
    raised = _mixed(ops, coarse, f"{key}.low_to_high", ops.channels(fine))
    lowered = _mixed(ops, ops.average_pool(fine, 2), f"{key}.high_to_low", ops.channels(coarse))
    return ops.add(fine, ops.resize(raised, "nearest", scale=2)), ops.add(coarse, lowered)


def _mixed(ops: Ops[T], x: T, key: str, width: int) -> T:
    inputs = ops.channels(x) // _GROUPS

    def weights() -> tuple[FloatImage, None]:
        return _dense(ops.parameters.take(f"{key}.weight", width, inputs, 1, 1)) * np.float32(_CROSS_SHARE), None

    weight, _ = ops.layer(key, weights)
    assert weight is not None
    return ops.convolve(x, weight, None, stride=1, padding=(0, 0), dilation=1)


def _fusion(ops: Ops[T], fine: T, coarse: T, key: str, width: int) -> T:
    """Joins a level with what comes from below it, at the size of the finer."""

    def weights(part: str, inputs: int, scale: FloatImage) -> FloatImage:
        weight = ops.parameters.take(f"{key}.{part}.weight", width, inputs // _GROUPS, 1, 1)
        return _dense(weight) * scale[:, None, None, None]

    def high() -> tuple[FloatImage, FloatImage]:
        scale, shift = ops.batch_norm(f"{key}.bn", width)
        return weights("proj_high", ops.channels(fine), scale), shift[:, None, None]

    def low() -> tuple[FloatImage, None]:
        scale, _ = ops.batch_norm(f"{key}.bn", width)
        return weights("proj_low", ops.channels(coarse), scale), None

    (high_weight, offset), (low_weight, _) = ops.layer(f"{key}.high", high), ops.layer(f"{key}.low", low)
    assert high_weight is not None
    assert low_weight is not None
    kept = ops.convolve(fine, high_weight, offset, stride=1, padding=(0, 0), dilation=1)
    below = ops.convolve(coarse, low_weight, None, stride=1, padding=(0, 0), dilation=1)
    return ops.relu(ops.add(kept, ops.double(below, align_corners=False)))


def _dense(weight: FloatImage) -> FloatImage:
    """A grouped 1x1 convolution as a plain one, which oneDNN is faster at: (width, inputs of a group, 1, 1) to
    (width, inputs, 1, 1)."""
    width, inputs = weight.shape[:2]
    dense = np.zeros((_GROUPS, width // _GROUPS, _GROUPS, inputs, 1, 1), np.float32)
    for group in range(_GROUPS):
        dense[group, :, group] = weight.reshape(_GROUPS, -1, inputs, 1, 1)[group]
    return dense.reshape(width, _GROUPS * inputs, 1, 1)


def _doubled(ops: Ops[T], x: T, key: str) -> T:
    """Depth between its nearest and its bilinear doubling: each pixel chooses."""
    depth = ops.convolution(x, "decoder.head_half", 1, 3)
    y = ops.relu(ops.convolution(x, f"{key}.0", 16, bias=False, norm=f"{key}.1"))
    y = ops.relu(ops.convolution(y, f"{key}.3", 16, 5, groups=16, bias=False, norm=f"{key}.4"))
    choice = ops.convolution(y, f"{key}.6", 1, bias=False)
    doubled = ops.double(ops.concat([choice, depth], 1), align_corners=False)
    share, smooth = ops.activation(ops.slice(doubled, 1, 0, 1), "sigmoid"), ops.slice(doubled, 1, 1)
    sharp = ops.resize(depth, "nearest", scale=2)
    minus = ops.constant(np.array(-1, np.float32))
    return ops.relu(ops.add(smooth, ops.multiply(share, ops.add(sharp, ops.multiply(smooth, minus)))))


SPEC = ModelSpec(
    name="zipdepth",
    title="ZipDepth base",
    licence="MIT",
    network=network,
    preprocessing=Preprocessing(
        input_size=384, fit="lower_bound", interpolation="linear", resized_as="uint8", enlargement="corners"
    ),
    download=Download(
        url="https://github.com/fabiotosi92/ZipDepth/raw/main/checkpoints/zipdepth_base_npu.pth",
        sha256="627c04fda584133ead4310074884a4a037061b4c01ba86e73e492ea30fab570d",
        size=27_295_474,
    ),
    notice="MIT by its authors, but distilled from Depth Anything V2 Large, whose weights are CC-BY-NC-4.0; "
    "they say nothing on that. streamd does not ship these weights.",
)
