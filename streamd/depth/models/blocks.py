"""What the networks share: RefineNet's decoder (Lin et al. 2017) as MiDaS has it."""

from __future__ import annotations

from streamd.depth.graph.ops import Ops, T


def residual_unit(ops: Ops[T], x: T, key: str, names: tuple[str, str]) -> T:
    """x + conv(relu(conv(relu(x)))) at one width: RefineNet's residual convolution unit.
    ``names`` are what the checkpoint calls its two convolutions."""
    y = x
    for name in names:
        y = ops.convolution(ops.relu(y), f"{key}.{name}", ops.channels(x), 3)
    return ops.add(y, x)


def fusion(ops: Ops[T], level: T, below: T | None, key: str, out_width: int, *, like: T | None = None) -> T:
    """Joins a level with what came from below it, refines, and doubles the size, or enlarges to that of ``like``.

    The 1x1 convolution comes before the enlarging: the same numbers, at a quarter of the pixels.
    """
    refine, names = f"{key}.resConfUnit1", ("conv1", "conv2")
    if below is None:
        for name in names:
            ops.parameters.expect(f"{refine}.{name}.weight", *(ops.channels(level),) * 2, 3, 3)
            ops.parameters.expect(f"{refine}.{name}.bias", ops.channels(level))
        joined = level
    else:
        joined = ops.add(below, residual_unit(ops, level, refine, names))
    refined = residual_unit(ops, joined, f"{key}.resConfUnit2", names)
    narrowed = ops.convolution(refined, f"{key}.out_conv", out_width)
    if like is None:
        return ops.double(narrowed, align_corners=True)
    return ops.resize(narrowed, "corners", like=like)


def head(ops: Ops[T], x: T, hidden: int, *, align_corners: bool) -> T:
    """(n, c, h, w) to depth, (n, 2h, 2w), never below 0. ``hidden`` is the width before the last convolution."""
    x = ops.convolution(x, "scratch.output_conv.0", ops.channels(x) // 2, 3)
    x = ops.double(x, align_corners=align_corners)
    x = ops.relu(ops.convolution(x, "scratch.output_conv.2", hidden, 3))
    return ops.squeeze(ops.relu(ops.convolution(x, "scratch.output_conv.4", 1)), 1)
