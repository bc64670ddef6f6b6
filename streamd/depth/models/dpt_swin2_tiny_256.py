"""DPT-Swin2-Tiny of MiDaS v3.1 (Birkl et al. 2023; MIT): Swin V2 (Liu et al. 2022) under a DPT decoder."""

from __future__ import annotations

import numpy as np

from streamd.depth.graph.ops import Ops, T
from streamd.depth.models import dpt
from streamd.depth.models.attention import relative_biases
from streamd.depth.models.base import Download, ModelSpec, Preprocessing
from streamd.depth.models.blocks import head
from streamd.media.frames import FloatImage

_SIZE, _PATCH, _WINDOW = 256, 4, 16
_STAGES = ((96, 2), (192, 2), (384, 6), (768, 2))
"""At 1/4, 1/8, 1/16 and 1/32 of the size: (width, blocks). The last block of each is a level."""
_HEAD_WIDTH = 32
_HIDDEN = 512
"""Width of the networks that give the biases of positions."""
_MAX_LOGIT_SCALE = np.float32(np.log(100))
_APART = -100.0
"""Added to the attention between places that only rolling brought together."""


def network(ops: Ops[T], planes: T) -> T:
    """(n, 3, 256, 256) to (n, 256, 256). Relative inverse depth, never below 0.

    Keys are those of the official dpt_swin2_tiny_256.pt.
    """
    model = "pretrained.model"
    x = ops.convolution(planes, f"{model}.patch_embed.proj", _STAGES[0][0], _PATCH, stride=_PATCH, padding=0)
    x = ops.layer_norm(ops.transpose(x, (0, 2, 3, 1)), f"{model}.patch_embed.norm")
    side, levels = _SIZE // _PATCH, []
    for stage, (width, blocks) in enumerate(_STAGES):
        if stage > 0:
            x, side = _merged(ops, x, f"{model}.layers.{stage - 1}.downsample", width, side), side // 2
        for block in range(blocks):
            shift = _WINDOW // 2 if block % 2 and side > _WINDOW else 0
            x = _block(ops, x, f"{model}.layers.{stage}.blocks.{block}", side, shift)
        levels.append(ops.transpose(x, (0, 3, 1, 2)))
    ops.parameters.expect(f"{model}.norm.weight", width)
    ops.parameters.expect(f"{model}.norm.bias", width)
    ops.parameters.expect(f"{model}.head.weight", 1000, width)
    ops.parameters.expect(f"{model}.head.bias", 1000)
    return head(ops, dpt.decoder(ops, levels), 32, align_corners=True)


def _merged(ops: Ops[T], x: T, key: str, width: int, side: int) -> T:
    """(n, h, w, c) to (n, h / 2, w / 2, width): four neighbours, column by column, become one token."""
    inputs, half = ops.width(x), side // 2
    x = ops.transpose(ops.reshape(x, (0, half, 2, half, 2, inputs)), (0, 1, 3, 4, 2, 5))
    x = ops.linear(ops.reshape(x, (0, half, half, 4 * inputs)), f"{key}.reduction", width, bias=False)
    return ops.layer_norm(x, f"{key}.norm")


def _block(ops: Ops[T], x: T, key: str, side: int, shift: int) -> T:
    """(n, h, w, c). What comes out of attention and MLP is normalised before it is added."""
    width, window = ops.width(x), min(_WINDOW, side)
    across = side // window
    y = ops.roll(x, (-shift, -shift), (1, 2)) if shift else x
    y = ops.transpose(ops.reshape(y, (0, across, window, across, window, width)), (0, 1, 3, 2, 4, 5))
    y = _attention(ops, ops.reshape(y, (0, across * across, window * window, width)), key, side, shift)
    y = ops.transpose(ops.reshape(y, (-1, across, across, window, window, width)), (0, 1, 3, 2, 4, 5))
    y = ops.reshape(y, (0, side, side, width))
    y = ops.roll(y, (shift, shift), (1, 2)) if shift else y
    x = ops.add(x, ops.layer_norm(y, f"{key}.norm1"))
    y = ops.activation(ops.linear(x, f"{key}.mlp.fc1", 4 * width), "gelu")
    return ops.add(x, ops.layer_norm(ops.linear(y, f"{key}.mlp.fc2", width), f"{key}.norm2"))


def _attention(ops: Ops[T], x: T, block: str, side: int, shift: int) -> T:
    """(n, windows, tokens, width) to (n * windows, tokens, width): each window by itself, by cosines.

    Windows that share their biases are pictures of one batch; where they do not, each has heads of its own.
    """
    key, width, heads = f"{block}.attn", ops.width(x), ops.width(x) // _HEAD_WIDTH
    tokens, groups = min(_WINDOW, side) ** 2, (side // _WINDOW) ** 2 if shift else 1
    together = ops.reshape(_projected(ops, x, key), (-1, groups, tokens, 3 * heads, _HEAD_WIDTH))
    together = ops.transpose(together, (0, 1, 3, 2, 4))
    query, keys, values = (
        ops.reshape(ops.slice(together, 2, at * heads, (at + 1) * heads), (0, groups * heads, tokens, _HEAD_WIDTH))
        for at in range(3)
    )
    scale, bias = ops.layer(f"{key}.bias", lambda: _tables(ops, block, side, heads, shift))
    assert scale is not None
    mixed = ops.attention(ops.multiply(ops.normalise(query), scale), ops.normalise(keys), values, bias)
    mixed = ops.transpose(ops.reshape(mixed, (0, groups, heads, tokens, _HEAD_WIDTH)), (0, 1, 3, 2, 4))
    return ops.linear(ops.reshape(mixed, (-1, tokens, width)), f"{key}.proj", width)


def _projected(ops: Ops[T], x: T, key: str) -> T:
    """To queries, keys and values, of which the keys have no bias."""
    take, width = ops.parameters.take, ops.width(x)

    def weights() -> tuple[FloatImage, FloatImage]:
        biases = take(f"{key}.q_bias", width), np.zeros(width, np.float32), take(f"{key}.v_bias", width)
        return take(f"{key}.qkv.weight", 3 * width, width), np.concatenate(biases)

    weight, offset = ops.layer(f"{key}.qkv", weights)
    assert weight is not None
    assert offset is not None
    return ops.add(ops.matmul(x, weight, transpose_b=True), offset)


def _tables(ops: Ops[T], block: str, side: int, heads: int, shift: int) -> tuple[FloatImage, FloatImage]:
    """What cosines are multiplied with, (groups * heads, 1, 1), and what is added to them."""
    key, window, take = f"{block}.attn", min(_WINDOW, side), ops.parameters.take
    scale = np.exp(np.minimum(take(f"{key}.logit_scale", heads, 1, 1), _MAX_LOGIT_SCALE))
    scale = scale * np.float32(_HEAD_WIDTH**0.5)  # which attention divides by
    places = np.arange(window)
    bias = relative_biases(_position_table(ops, key, heads, window), places[:, None] - places + window - 1)
    if shift:
        mask = ops.parameters.table(f"{block}.attn_mask", _mask(side, shift))
        bias = (bias + mask[:, None]).reshape(1, -1, window**2, window**2)
        scale = np.tile(scale, (len(mask), 1, 1))
    return scale, bias


def _position_table(ops: Ops[T], key: str, heads: int, window: int) -> FloatImage:
    """(heads, 2 * window - 1, 2 * window - 1): a small network's word on every offset, which it sees as a logarithm."""
    take = ops.parameters.take
    steps = np.arange(1 - window, window) * 8 / (window - 1)
    steps = np.sign(steps) * np.log2(np.abs(steps) + 1) / np.log2(8)
    offsets = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1)
    first, offset = take(f"{key}.cpb_mlp.0.weight", _HIDDEN, 2), take(f"{key}.cpb_mlp.0.bias", _HIDDEN)
    table = np.maximum(offsets @ first.T + offset, 0) @ take(f"{key}.cpb_mlp.2.weight", heads, _HIDDEN).T
    biases: FloatImage = (8 + 8 * np.tanh(table / 2)).astype(np.float32)  # 16 times a sigmoid
    return biases.transpose(2, 0, 1)


def _mask(side: int, shift: int) -> FloatImage:
    """(windows, tokens, tokens) of a picture that was rolled by ``shift``."""
    across, places = side // _WINDOW, np.arange(side)
    part = (places >= side - _WINDOW).astype(int) + (places >= side - shift)
    parts = (3 * part[:, None] + part).reshape(across, _WINDOW, across, _WINDOW).swapaxes(1, 2).reshape(across**2, -1)
    return np.where(parts[:, :, None] == parts[:, None, :], 0, _APART).astype(np.float32)


SPEC = ModelSpec(
    name="dpt_swin2_tiny_256",
    title="MiDaS v3.1 DPT-Swin2-Tiny",
    licence="MIT",
    network=network,
    preprocessing=Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), input_size=_SIZE, fixed=True, fit="exact"),
    least_timeout_s=10.0,
    least_memory_mb=2000,
    download=Download(url="https://github.com/isl-org/MiDaS/releases/download/v3_1/dpt_swin2_tiny_256.pt"),
)
