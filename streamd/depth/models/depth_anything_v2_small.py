"""Depth Anything V2 small (Yang et al. 2024; Apache-2.0): DINOv2's ViT-S/14 under a DPT decoder."""

from __future__ import annotations

import numpy as np

from streamd.depth.graph.ops import Ops, T
from streamd.depth.models.base import Download, ModelSpec, Preprocessing
from streamd.depth.models.blocks import residual_unit

_PATCH, _WIDTH, _HEADS, _BLOCKS = 14, 384, 6, 12
_GRID = 37
"""Of the positions that were trained, patches a side."""
_TAPS = (2, 5, 8, 11)
_LEVELS = (48, 96, 192, 384)
_FEATURES = 64
_EPS = 1e-6
_OFFSET = 0.1
"""DINOv2's, of the scale of the positions."""


def network(ops: Ops[T], planes: T) -> T:
    """(n, 3, h, w) to (n, h, w), sides multiples of 14. Relative inverse depth, never below 0.

    Keys are those of the official depth_anything_v2_vits.pth.
    """
    ops.parameters.expect("pretrained.mask_token", 1, _WIDTH)
    patches = ops.convolution(planes, "pretrained.patch_embed.proj", _WIDTH, _PATCH, stride=_PATCH, padding=0)
    x = _tokens(ops, patches)
    levels: list[T] = []
    for number in range(_BLOCKS):
        x = _block(ops, x, f"pretrained.blocks.{number}")
        if number in _TAPS:
            levels.append(_level(ops, x, patches, len(levels)))
    return _decoder(ops, levels, planes)


def _tokens(ops: Ops[T], patches: T) -> T:
    """(n, c, h, w) to (n, 1 + h * w, c): the class token and the patches, with their positions."""
    positions = ops.parameter("pretrained.pos_embed", 1, 1 + _GRID * _GRID, _WIDTH)
    grid = ops.reshape(ops.slice(positions, 1, 1), (1, _GRID, _GRID, _WIDTH))
    grid = ops.resize_positions(ops.transpose(grid, (0, 3, 1, 2)), patches, _OFFSET)
    tokens = ops.transpose(ops.reshape(ops.add(patches, grid), (0, _WIDTH, -1)), (0, 2, 1))
    first = ops.add(ops.parameter("pretrained.cls_token", 1, 1, _WIDTH), ops.slice(positions, 1, 0, 1))
    nothing = ops.multiply(ops.slice(tokens, 1, 0, 1), ops.constant(np.array(0, np.float32)))
    return ops.concat([ops.add(nothing, first), tokens], 1)  # one class token for each picture


def _block(ops: Ops[T], x: T, key: str) -> T:
    x = ops.add(x, _scaled(ops, _attention(ops, ops.layer_norm(x, f"{key}.norm1", _EPS), f"{key}.attn"), f"{key}.ls1"))
    y = ops.linear(ops.layer_norm(x, f"{key}.norm2", _EPS), f"{key}.mlp.fc1", 4 * _WIDTH)
    return ops.add(x, _scaled(ops, ops.linear(ops.activation(y, "gelu"), f"{key}.mlp.fc2", _WIDTH), f"{key}.ls2"))


def _scaled(ops: Ops[T], x: T, key: str) -> T:
    return ops.multiply(x, ops.parameter(f"{key}.gamma", _WIDTH))


def _attention(ops: Ops[T], x: T, key: str) -> T:
    together = ops.reshape(ops.linear(x, f"{key}.qkv", 3 * _WIDTH), (0, 0, 3 * _HEADS, _WIDTH // _HEADS))
    heads = ops.transpose(together, (0, 2, 1, 3))
    query, keys, values = (ops.slice(heads, 1, at * _HEADS, (at + 1) * _HEADS) for at in range(3))
    mixed = ops.transpose(ops.attention(query, keys, values), (0, 2, 1, 3))
    return ops.linear(ops.reshape(mixed, (0, 0, _WIDTH)), f"{key}.proj", _WIDTH)


def _level(ops: Ops[T], x: T, patches: T, number: int) -> T:
    """Tokens back to a picture, at 4, 2, 1 and 1/2 times the grid of patches."""
    width, key = _LEVELS[number], f"depth_head.resize_layers.{number}"
    tokens = ops.layer_norm(ops.slice(x, 1, 1), "pretrained.norm", _EPS)
    y = ops.reshape_like(ops.transpose(tokens, (0, 2, 1)), patches)
    y = ops.convolution(y, f"depth_head.projects.{number}", width)
    if number < 2:
        scale = 4 >> number
        return ops.transposed_convolution(y, key, width, scale, stride=scale)
    return y if number == 2 else ops.convolution(y, key, width, 3, stride=2)


def _decoder(ops: Ops[T], levels: list[T], planes: T) -> T:
    """From the coarsest level to the finest, then to the size of the input."""
    key = "depth_head.scratch"
    rows = [
        ops.convolution(level, f"{key}.layer{number}_rn", _FEATURES, 3, bias=False)
        for number, level in enumerate(levels, start=1)
    ]
    path: T | None = None
    for number in (4, 3, 2, 1):
        finer = rows[number - 2] if number > 1 else None
        path = _fusion(ops, rows[number - 1], path, finer, f"{key}.refinenet{number}")
    assert path is not None
    x = ops.convolution(path, f"{key}.output_conv1", _FEATURES // 2, 3)
    x = ops.resize(x, "corners", like=planes)
    x = ops.relu(ops.convolution(x, f"{key}.output_conv2.0", 32, 3))
    return ops.squeeze(ops.relu(ops.convolution(x, f"{key}.output_conv2.2", 1)), 1)


def _fusion(ops: Ops[T], level: T, below: T | None, finer: T | None, key: str) -> T:
    """Joins a level with what came from below it, refines, and enlarges to the finer level's size.

    The 1x1 convolution comes before the enlarging: the same numbers, at a quarter of the pixels.
    """
    names = ("conv1", "conv2")
    if below is None:
        for name in names:
            ops.parameters.expect(f"{key}.resConfUnit1.{name}.weight", _FEATURES, _FEATURES, 3, 3)
            ops.parameters.expect(f"{key}.resConfUnit1.{name}.bias", _FEATURES)
        joined = level
    else:
        joined = ops.add(below, residual_unit(ops, level, f"{key}.resConfUnit1", names))
    refined = ops.convolution(residual_unit(ops, joined, f"{key}.resConfUnit2", names), f"{key}.out_conv", _FEATURES)
    if finer is None:
        return ops.double(refined, align_corners=True)
    return ops.resize(refined, "corners", like=finer)


SPEC = ModelSpec(
    name="depth_anything_v2_small",
    title="Depth Anything V2 small",
    licence="Apache-2.0",
    network=network,
    preprocessing=Preprocessing(
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        input_size=518,
        multiple_of=14,
        fit="lower_bound",
        enlargement="corners",
    ),
    least_timeout_s=20.0,
    least_memory_mb=2500,
    download=Download(
        url="https://huggingface.co/depth-anything/Depth-Anything-V2-Small/resolve/main/depth_anything_v2_vits.pth",
        sha256="715fade13be8f229f8a70cc02066f656f2423a59effd0579197bbf57860e1378",
        size=99_218_434,
    ),
)
