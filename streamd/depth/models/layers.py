"""What the networks share."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


def same_padding(kernel: int, stride: int) -> tuple[int, int, int, int]:
    """TensorFlow's SAME padding (left, right, top, bottom) for sides that ``stride`` divides.

    Constant, since every side that a network of ours sees is a multiple of 32 at its input: 3x3
    at stride 2 gives (0, 1, 0, 1), 5x5 gives (1, 2, 1, 2).
    """
    total = kernel - stride
    return total // 2, total - total // 2, total // 2, total - total // 2


def double(x: Tensor, align_corners: bool) -> Tensor:
    """(n, c, h, w) to (n, c, 2h, 2w), bilinear."""
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=align_corners)


class ResidualUnit(nn.Module):
    """x + conv(relu(conv(relu(x)))), RefineNet's unit (Lin et al. 2017)."""
