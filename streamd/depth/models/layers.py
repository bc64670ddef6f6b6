"""What the networks share."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional


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
