"""The vision transformer (Dosovitskiy et al. 2021) under a DPT decoder: from patches to levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamd.depth.graph.ops import Ops, T

_GRID = 24
"""Of the positions that were trained, patches a side: 384 px."""
_EPS = 1e-6


def levels(ops: Ops[T], patches: T, *, blocks: int, heads: int, taps: Sequence[tuple[int, int, int]]) -> list[T]:
    """(n, c, h, w), of patches of 16x16 px, to one level for each of ``taps``: (block, number of the level, width)."""
    x = _tokens(ops, patches)
    found = {}
    for block in range(blocks):
        x = _block(ops, x, f"pretrained.model.blocks.{block}", heads)
        found[block] = x
    width = ops.channels(patches)
    ops.parameters.expect("pretrained.model.norm.weight", width)
    ops.parameters.expect("pretrained.model.norm.bias", width)
    ops.parameters.expect("pretrained.model.head.weight", 1000, width)
    ops.parameters.expect("pretrained.model.head.bias", 1000)
    return [_reassembled(ops, found[block], patches, number, out_width) for block, number, out_width in taps]


def _tokens(ops: Ops[T], patches: T) -> T:
    """(n, c, h, w) to (n, 1 + h * w, c): the class token and the patches, with their positions."""
    width = ops.channels(patches)
    positions = ops.parameter("pretrained.model.pos_embed", 1, 1 + _GRID * _GRID, width)
    grid = ops.reshape(ops.slice(positions, 1, 1), (1, _GRID, _GRID, width))
    grid = ops.resize(ops.transpose(grid, (0, 3, 1, 2)), "bilinear", like=patches)
    tokens = ops.transpose(ops.reshape(ops.add(patches, grid), (0, width, -1)), (0, 2, 1))
    first = ops.add(ops.parameter("pretrained.model.cls_token", 1, 1, width), ops.slice(positions, 1, 0, 1))
    nothing = ops.multiply(ops.slice(tokens, 1, 0, 1), ops.constant(np.array(0, np.float32)))
    return ops.concat([ops.add(nothing, first), tokens], 1)  # one class token for each picture


def _block(ops: Ops[T], x: T, key: str, heads: int) -> T:
    width = ops.width(x)
    x = ops.add(x, _attention(ops, ops.layer_norm(x, f"{key}.norm1", _EPS), f"{key}.attn", heads))
    y = ops.linear(ops.layer_norm(x, f"{key}.norm2", _EPS), f"{key}.mlp.fc1", 4 * width)
    return ops.add(x, ops.linear(ops.activation(y, "gelu"), f"{key}.mlp.fc2", width))


def _attention(ops: Ops[T], x: T, key: str, heads: int) -> T:
    width = ops.width(x)
    together = ops.reshape(ops.linear(x, f"{key}.qkv", 3 * width), (0, 0, 3 * heads, width // heads))
    together = ops.transpose(together, (0, 2, 1, 3))
    query, keys, values = (ops.slice(together, 1, at * heads, (at + 1) * heads) for at in range(3))
    mixed = ops.transpose(ops.attention(query, keys, values), (0, 2, 1, 3))
    return ops.linear(ops.reshape(mixed, (0, 0, width)), f"{key}.proj", width)


def _reassembled(ops: Ops[T], tokens: T, patches: T, number: int, width: int) -> T:
    """Tokens back to a picture, at 4, 2, 1 and 1/2 times the grid of ``patches`` for the levels 1 to 4."""
    key = f"pretrained.act_postprocess{number}"
    y = ops.transpose(_readout(ops, tokens, f"{key}.0.project.0"), (0, 2, 1))
    y = ops.convolution(ops.reshape_like(y, patches), f"{key}.3", width)
    if number < 3:
        scale = 8 >> number
        return ops.transposed_convolution(y, f"{key}.4", width, scale, stride=scale)
    return y if number == 3 else ops.convolution(y, f"{key}.4", width, 3, stride=2)


def _readout(ops: Ops[T], tokens: T, key: str) -> T:
    """Projects each patch together with the class token, whose share is the same for all and computed once."""
    width = ops.width(tokens)
    take = ops.parameters.take
    weight, offset = ops.layer(key, lambda: (take(f"{key}.weight", width, 2 * width), take(f"{key}.bias", width)))
    assert weight is not None
    assert offset is not None
    own, common = ops.slice(weight, 1, 0, width), ops.slice(weight, 1, width)
    shared = ops.add(ops.matmul(ops.slice(tokens, 1, 0, 1), common, transpose_b=True), offset)
    return ops.activation(ops.add(ops.matmul(ops.slice(tokens, 1, 1), own, transpose_b=True), shared), "gelu")
