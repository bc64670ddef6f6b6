"""DPT-LeViT of MiDaS v3.1 (Birkl et al. 2023; MIT): LeViT-384 (Graham et al. 2021) under a DPT decoder of 3 levels."""

from __future__ import annotations

import numpy as np

from streamd.depth.graph.ops import Ops, T
from streamd.depth.models import dpt
from streamd.depth.models.attention import relative_biases
from streamd.depth.models.base import Download, ModelSpec, Preprocessing
from streamd.depth.models.blocks import head
from streamd.media.frames import FloatImage

_SIZE = 224
_STEM = (48, 96, 192, 384)
_STAGES = ((0, 384, 6, 14, 3), (10, 512, 9, 7, 11), (20, 768, 12, 4, 21))
"""(first block, width, heads, side of the grid, block that is a level). A block is attention or the MLP behind it."""
_UNUSED = (22, 24, 26)
"""Blocks of attention behind the last level."""
_KEY_WIDTH = 32
_MODEL = "pretrained.model"


def network(ops: Ops[T], planes: T) -> T:
    """(n, 3, 224, 224) to (n, 224, 224). Relative inverse depth, never below 0.

    Keys are those of the official dpt_levit_224.pt.
    """
    x = dpt.decoder(ops, _levels(ops, _patches(ops, planes)))
    for place, width in ((0, 128), (2, 64)):
        key = f"scratch.stem_transpose.{place}"
        x = ops.transposed_convolution(
            x, f"{key}.c", width, 3, stride=2, padding=1, output_padding=1, bias=False, norm=f"{key}.bn"
        )
        x = ops.activation(x, "hard_swish")
    return head(ops, x, 8, align_corners=True)


def _patches(ops: Ops[T], planes: T) -> T:
    """(n, 3, h, w) to (n, c, h / 16, w / 16)."""
    x = planes
    for place, width in enumerate(_STEM):
        key = f"{_MODEL}.patch_embed.{2 * place}"
        x = x if place == 0 else ops.activation(x, "hard_swish")
        x = ops.convolution(x, f"{key}.c", width, 3, stride=2, bias=False, norm=f"{key}.bn")
    return x


def _levels(ops: Ops[T], patches: T) -> list[T]:
    x, levels, before = ops.transpose(ops.reshape(patches, (0, _STEM[-1], -1)), (0, 2, 1)), [], 0
    for first, width, heads, side, level in _STAGES:
        if first > 0:
            x = _shrunk(ops, x, f"{_MODEL}.blocks.{first - 2}", width, before)
            x = _mlp(ops, x, f"{_MODEL}.blocks.{first - 1}.m")
        for block in range(first, first + 8, 2):
            if block in _UNUSED:
                _expect_blocks(ops, block, width, heads, side)
                continue
            x = ops.add(x, _attention(ops, x, f"{_MODEL}.blocks.{block}.m", heads, side))
            x = _mlp(ops, x, f"{_MODEL}.blocks.{block + 1}.m")
            if block + 1 == level:
                levels.append(ops.reshape(ops.transpose(x, (0, 2, 1)), (0, width, side, side)))
        before = side
    for name in ("head", "head_dist"):
        _expect_norm(ops, f"{_MODEL}.{name}.bn", width)
        ops.parameters.expect(f"{_MODEL}.{name}.l.weight", 1000, width)
        ops.parameters.expect(f"{_MODEL}.{name}.l.bias", 1000)
    return levels


def _attention(ops: Ops[T], x: T, key: str, heads: int, side: int) -> T:
    """Of (n, tokens, c). Values are twice as wide as keys."""
    together = _heads(ops, _linear(ops, x, f"{key}.qkv", 4 * heads * _KEY_WIDTH), heads)
    query, keys, values = (
        ops.slice(together, 3, start * _KEY_WIDTH, stop * _KEY_WIDTH) for start, stop in ((0, 1), (1, 2), (2, 4))
    )
    mixed = ops.attention(query, keys, values, _biases(ops, key, heads, side))
    return _joined(ops, mixed, f"{key}.proj.1", 2 * heads * _KEY_WIDTH, ops.width(x))


def _shrunk(ops: Ops[T], x: T, key: str, width: int, side: int) -> T:
    """From a grid of ``side``: every second token of every second row asks all. Values are four times as wide as
    keys."""
    inputs = ops.width(x)
    heads = inputs // _KEY_WIDTH
    grid = ops.reshape(x, (0, side, side, inputs))
    fewer = ops.slice(ops.slice(grid, 1, 0, step=2), 2, 0, step=2)
    query = _heads(ops, _linear(ops, ops.reshape(fewer, (0, -1, inputs)), f"{key}.q.1", inputs), heads)
    together = _heads(ops, _linear(ops, x, f"{key}.kv", 5 * inputs), heads)
    keys, values = ops.slice(together, 3, 0, _KEY_WIDTH), ops.slice(together, 3, _KEY_WIDTH)
    mixed = ops.attention(query, keys, values, _biases(ops, key, heads, side, step=2))
    return _joined(ops, mixed, f"{key}.proj.1", 4 * inputs, width)


def _heads(ops: Ops[T], x: T, heads: int) -> T:
    """(n, tokens, c) to (n, heads, tokens, c / heads)."""
    return ops.transpose(ops.reshape(x, (0, -1, heads, ops.width(x) // heads)), (0, 2, 1, 3))


def _joined(ops: Ops[T], x: T, key: str, inputs: int, width: int) -> T:
    """(n, heads, tokens, c) to (n, tokens, width)."""
    x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (0, -1, inputs))
    return _linear(ops, ops.activation(x, "hard_swish"), key, width)


def _mlp(ops: Ops[T], x: T, key: str) -> T:
    width = ops.width(x)
    y = ops.activation(_linear(ops, x, f"{key}.0", 2 * width), "hard_swish")
    return ops.add(x, _linear(ops, y, f"{key}.2", width))


def _linear(ops: Ops[T], x: T, key: str, width: int) -> T:
    return ops.linear(x, f"{key}.c", width, bias=False, norm=f"{key}.bn")


def _biases(ops: Ops[T], key: str, heads: int, side: int, step: int = 1) -> T:
    """Learned for how far, across and down, a key is from a query; queries are every ``step``-th place."""
    places, parameters = np.arange(side), ops.parameters
    parameters.pass_over(f"{key}.attention_bias_idxs")

    def weights() -> tuple[FloatImage, None]:
        table = parameters.take(f"{key}.attention_biases", heads, side * side).reshape(heads, side, side)
        return relative_biases(table, abs(places[::step, None] - places)), None

    biases, _ = ops.layer(f"{key}.biases", weights)
    assert biases is not None
    return biases


def _expect_blocks(ops: Ops[T], block: int, width: int, heads: int, side: int) -> None:
    """One of attention and its MLP."""
    attention, mlp = (f"{_MODEL}.blocks.{block + number}.m" for number in (0, 1))
    ops.parameters.expect(f"{attention}.attention_biases", heads, side * side)
    ops.parameters.pass_over(f"{attention}.attention_bias_idxs")
    _expect_linear(ops, f"{attention}.qkv", 4 * heads * _KEY_WIDTH, width)
    _expect_linear(ops, f"{attention}.proj.1", width, 2 * heads * _KEY_WIDTH)
    _expect_linear(ops, f"{mlp}.0", 2 * width, width)
    _expect_linear(ops, f"{mlp}.2", width, 2 * width)


def _expect_linear(ops: Ops[T], key: str, width: int, inputs: int) -> None:
    ops.parameters.expect(f"{key}.c.weight", width, inputs)
    _expect_norm(ops, f"{key}.bn", width)


def _expect_norm(ops: Ops[T], key: str, width: int) -> None:
    for part in ("weight", "bias", "running_mean", "running_var"):
        ops.parameters.expect(f"{key}.{part}", width)
    ops.parameters.expect(f"{key}.num_batches_tracked", kind="i")


SPEC = ModelSpec(
    name="dpt_levit_224",
    title="MiDaS v3.1 DPT-LeViT",
    licence="MIT",
    network=network,
    preprocessing=Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), input_size=_SIZE, fixed=True, fit="exact"),
    least_memory_mb=2000,
    download=Download(url="https://github.com/isl-org/MiDaS/releases/download/v3_1/dpt_levit_224.pt"),
)
