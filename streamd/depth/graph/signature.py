"""What goes into the network of a file, and what comes out: whether streamd can run it, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamd.depth.models.base import Preprocessing
from streamd.depth.preprocess import network_size

Shape = Sequence[int | None]
"""None for what may have any size."""


@dataclass(frozen=True)
class Signature:
    """Of a network with one input and one output, for pictures one at a time."""

    nhwc: bool
    """The input's channels are last; else they come before height and width."""
    output_axes: tuple[int, ...]
    """Of size 1, beside height and width."""

    @classmethod
    def of(
        cls, inputs: Sequence[tuple[str, Shape]], outputs: Sequence[tuple[str, Shape]], how: Preprocessing
    ) -> Signature:
        """Takes names and shapes. Raises ValueError with the reason why it cannot be run."""
        shape, result = _only(inputs, "input"), _only(outputs, "output")
        if len(shape) != 4:
            raise ValueError(f"its input is {_size(shape)}: it should be a batch of pictures, NCHW or NHWC")
        nhwc = shape[1] not in (3, None) or (shape[1] is None and shape[3] == 3)
        channels, sides = (shape[3], shape[1:3]) if nhwc else (shape[1], shape[2:])
        if shape[0] not in (1, None) or channels not in (3, None):
            raise ValueError(f"its input is {_size(shape)}: it should be one picture of three channels")
        wanted = _wanted(sides, how)
        return cls(nhwc, _beside_sides(result, wanted))


def _only(ends: Sequence[tuple[str, Shape]], what: str) -> Shape:
    if len(ends) != 1:
        names = ", ".join(ascii(name)[1:-1][:40] for name, _ in ends[:4])
        raise ValueError(f"it has {len(ends)} {what}s ({names}): it should have one")
    return ends[0][1]


def _wanted(sides: Shape, how: Preprocessing) -> Shape:
    """(height, width) of the input."""
    if not how.one_size:
        if any(side is not None for side in sides):
            raise ValueError(f'its input is fixed at {_size(sides[::-1])}: set fit = "exact" and this size')
        return (None, None)
    width, height = network_size(1, 1, how)
    if any(side not in (None, wanted) for side, wanted in zip(sides, (height, width), strict=True)):
        raise ValueError(f"its input is {_size(sides[::-1])}, and the manifest's size is {width}x{height}")
    return (height, width)


def _beside_sides(shape: Shape, wanted: Shape) -> tuple[int, ...]:
    """The axes of an output that are neither height nor width."""
    match shape:
        case [_, _]:
            axes: tuple[int, ...] = ()
        case [first, _, last]:
            axes = (2,) if last == 1 and first != 1 else (0,)
        case [_, second, _, last]:
            axes = (0, 3) if last == 1 and second != 1 else (0, 1)
        case _:
            raise ValueError(f"its output is {_size(shape)}: it should be one number for each pixel")
    if any(shape[axis] not in (1, None) for axis in axes):
        raise ValueError(f"its output is {_size(shape)}: it should be one number for each pixel")
    sides = [side for axis, side in enumerate(shape) if axis not in axes]
    if any(None not in (side, want) and side != want for side, want in zip(sides, wanted, strict=True)):
        raise ValueError(
            f"its output is {_size(sides[::-1])}, its input {_size(wanted[::-1])}: they should be the same"
        )
    return axes


def _size(shape: Shape) -> str:
    return "x".join("?" if side is None else str(side) for side in shape) or "a number"
