"""Dense prediction transformers (Ranftl et al. 2021), as MiDaS v3 has them: what stands on every backbone."""

from __future__ import annotations

from collections.abc import Sequence

from streamd.depth.graph.ops import Ops, T
from streamd.depth.models.blocks import fusion

_WIDTH = 256


def decoder(ops: Ops[T], levels: Sequence[T]) -> T:
    """From the coarsest level to the finest: ``levels`` are (n, c, h, w), the finest first, to (n, 256, 2h, 2w) of it.

    Each path is enlarged to the size of the level above it, whatever that is.
    """
    narrowed = [
        ops.convolution(level, f"scratch.layer{number}_rn", _WIDTH, 3, bias=False)
        for number, level in enumerate(levels, start=1)
    ]
    path: T | None = None
    for number in range(len(levels), 0, -1):
        like = narrowed[number - 2] if number > 1 else None
        path = fusion(ops, narrowed[number - 1], path, f"scratch.refinenet{number}", _WIDTH, like=like)
    assert path is not None
    return path
