"""What the networks share."""

from __future__ import annotations

from streamd.depth.graph.ops import Ops, T


def residual_unit(ops: Ops[T], x: T, key: str, names: tuple[str, str]) -> T:
    """x + conv(relu(conv(relu(x)))) at one width: RefineNet's residual convolution unit (Lin et al. 2017).
    ``names`` are what the checkpoint calls its two convolutions."""
    y = x
    for name in names:
        y = ops.convolution(ops.relu(y), f"{key}.{name}", ops.channels(x), 3)
    return ops.add(y, x)
