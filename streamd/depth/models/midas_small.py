"""MiDaS v2.1 small (Ranftl et al., TPAMI 2022; MIT): EfficientNet-Lite3 under a RefineNet decoder.

Written anew so that the official midas_v21_small_256.pt loads key for key. The encoder is timm's
``tf_efficientnet_lite3``, whose 440 keys and feature maps equal those of gen-efficientnet, which
MiDaS used; a timm that ever names or shapes them otherwise fails the strict loading.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from streamd.depth.models.layers import ResidualUnit, double
from streamd.depth.models.weights import load_network

_ENCODER_WIDTHS = (32, 48, 136, 384)
_DECODER_WIDTHS = (64, 128, 256, 512)


def load(path: Path) -> nn.Module:
    """The network in eval mode and float32: (n, 3, h, w) to (n, h, w), sides multiples of 32.

    Output is relative inverse depth, never below 0. Raises WeightsRejected.
    """
    return load_network(MidasSmall, path, floats={torch.float32})


class MidasSmall(nn.Module):
    """Module names are the checkpoint's."""

    def __init__(self) -> None:
        super().__init__()
        self.pretrained = _encoder()
        self.scratch = _Decoder()

    def forward(self, x: Tensor) -> Tensor:
        levels = []
        for stage in self.pretrained.children():
            x = stage(x)
            levels.append(x)
        depth: Tensor = self.scratch(*levels)
        return depth.squeeze(1)


def _encoder() -> nn.Module:
    """Four stages, to 1/4, 1/8, 1/16 and 1/32 of the size."""
    net: Any = timm.create_model("tf_efficientnet_lite3", pretrained=False)
    stages = nn.Module()
    # timm's bn1 holds the activation that was a module of its own in the reference, at index 2.
    stages.layer1 = nn.Sequential(net.conv_stem, net.bn1, nn.Identity(), *net.blocks[0:2])
    stages.layer2 = nn.Sequential(*net.blocks[2:3])
    stages.layer3 = nn.Sequential(*net.blocks[3:5])
    stages.layer4 = nn.Sequential(*net.blocks[5:7])
    return stages


class _Decoder(nn.Module):
    """From the coarsest level to the finest, each one twice the size and half the width of the last."""

    def __init__(self) -> None:
        super().__init__()
        for level, (encoded, width) in enumerate(zip(_ENCODER_WIDTHS, _DECODER_WIDTHS, strict=True), start=1):
            self.add_module(f"layer{level}_rn", nn.Conv2d(encoded, width, 3, padding=1, bias=False))
            self.add_module(f"refinenet{level}", _Fusion(width, width if level == 1 else width // 2))
        self.output_conv = nn.Sequential(
            nn.Conv2d(64, 32, 3, padding=1),
            nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 1, 1),
            nn.ReLU(),
        )

    def forward(self, *levels: Tensor) -> Tensor:
        """Encoder outputs, finest first, to (n, 1, h, w) at twice the finest."""
        path = None
        for level in (4, 3, 2, 1):
            narrowed = self.get_submodule(f"layer{level}_rn")(levels[level - 1])
            path = self.get_submodule(f"refinenet{level}")(narrowed, path)
        depth: Tensor = self.output_conv(path)
        return depth


class _Fusion(nn.Module):
    """Joins a level with what came from below it, refines, and doubles the size."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(width, out_width, 1)
        self.resConfUnit1 = ResidualUnit(width, ("conv1", "conv2"))
        self.resConfUnit2 = ResidualUnit(width, ("conv1", "conv2"))

    def forward(self, level: Tensor, below: Tensor | None) -> Tensor:
        joined = level if below is None else below + self.resConfUnit1(level)
        refined: Tensor = self.resConfUnit2(joined)
        out: Tensor = self.out_conv(double(refined, align_corners=True))
        return out
