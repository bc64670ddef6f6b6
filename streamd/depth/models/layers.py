"""What the networks share."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional


def same_padding(kernel: int, stride: int) -> tuple[int, int, int, int]:
    """TensorFlow's SAME padding (left, right, top, bottom) of a map whose sides ``stride`` divides.

    A constant then: 3x3 at stride 2 has (0, 1, 0, 1) and 5x5 has (1, 2, 1, 2). Every input of a
    network is a multiple of 32, so this holds down to 1/32 of its size.
    """
    before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
    return before, after, before, after


def double(x: Tensor, *, align_corners: bool) -> Tensor:
    """(n, c, h, w) to (n, c, 2h, 2w), bilinear."""
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=align_corners)


class ResidualUnit(nn.Sequential):
    """x + conv(relu(conv(relu(x)))) at one width: RefineNet's residual convolution unit (Lin et al. 2017)."""

    def __init__(self, width: int, names: tuple[str, str]) -> None:
        """``names`` are what the checkpoint calls its two convolutions."""
        super().__init__(OrderedDict((name, nn.Conv2d(width, width, 3, padding=1)) for name in names))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for convolution in self:
            y = convolution(functional.relu(y))
        return y + x
