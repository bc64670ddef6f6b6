"""streamd's own small network, shipped inside the package: EfficientNet-Lite0 under a light decoder.

Trained by this project on procedural scenes, from timm's ImageNet weights (Apache-2.0) of the
encoder. Batch norms are folded into the convolutions, and the file holds float16.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from streamd.depth.models.layers import ResidualUnit, double
from streamd.depth.models.weights import load_network

_LEVELS = ((24, 32), (40, 48), (112, 64), (320, 96))
"""(encoder, decoder) widths at 1/4, 1/8, 1/16 and 1/32 of the size."""


def load(path: Path) -> nn.Module:
    """The network in eval mode and float32: (n, 3, h, w) to (n, h, w), sides multiples of 32.

    Output is relative inverse depth without bounds. Raises WeightsRejected.
    """
    return load_network(Embedded, path, floats={torch.float16, torch.float32})


class Embedded(nn.Module):
    """Module names are those of embedded.safetensors."""

    def __init__(self) -> None:
        super().__init__()
        self.enc = nn.Sequential(
            OrderedDict(
                stem=nn.Sequential(_convolution(3, 32, 3, stride=2), nn.ReLU6(), _Block(32, 16, expand=1)),
                s1=_stage(16, [(24, 2, 3, 2)]),
                s2=_stage(24, [(40, 2, 5, 2)]),
                s3=_stage(40, [(80, 3, 3, 2), (112, 3, 5, 1)]),
                s4=_stage(112, [(192, 4, 5, 2), (320, 1, 3, 1)]),
            )
        )
        self.lat = nn.ModuleList(nn.Conv2d(encoded, width, 3, padding=1) for encoded, width in _LEVELS)
        self.ctx = nn.Conv2d(320, 96, 1)
        self.f4 = _Fusion(96, 64, joins=False)
        self.f3 = _Fusion(64, 48)
        self.f2 = _Fusion(48, 32)
        self.f1 = _Fusion(32, 32)
        self.h1 = nn.Conv2d(32, 24, 3, padding=1)
        self.h2 = nn.Conv2d(24, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        levels = []
        for stage in self.enc:
            x = stage(x)
            levels.append(x)
        fine, middle, coarse, coarsest = (narrow(level) for narrow, level in zip(self.lat, levels[1:], strict=True))
        path = self.f4(coarsest + self.ctx(x.mean((2, 3), keepdim=True)))
        for fusion, level in ((self.f3, coarse), (self.f2, middle), (self.f1, fine)):
            path = fusion(path, level)
        depth = self.h2(functional.relu(self.h1(path)))
        return double(depth, align_corners=False).squeeze(1)


def _convolution(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Module:
    """With TensorFlow's SAME padding: at stride 2 it is lopsided, and constant since every side is even."""
    if stride == 1:
        return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups)
    before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
    conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups)
    return nn.Sequential(OrderedDict(pad=nn.ZeroPad2d((before, after, before, after)), conv=conv))


class _Block(nn.Module):
    """MobileNetV2's inverted residual; with ``expand=1`` a depthwise separable convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, expand: int = 6) -> None:
        super().__init__()
        wide = inputs * expand
        widen = [] if expand == 1 else [nn.Conv2d(inputs, wide, 1), nn.ReLU6()]
        depthwise = _convolution(wide, wide, kernel, stride=stride, groups=wide)
        self.body = nn.Sequential(*widen, depthwise, nn.ReLU6(), nn.Conv2d(wide, outputs, 1))
        self.adds = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.adds else y


def _stage(inputs: int, groups: Iterable[tuple[int, int, int, int]]) -> nn.Sequential:
    """``groups`` of (width, blocks, kernel, stride of the first block)."""
    blocks = []
    for width, count, kernel, stride in groups:
        for position in range(count):
            blocks.append(_Block(inputs, width, kernel, stride if position == 0 else 1))
            inputs = width
    return nn.Sequential(*blocks)


class _Fusion(nn.Module):
    """Joins what came from below with a level, refines, and doubles the size."""

    def __init__(self, width: int, out_width: int, *, joins: bool = True) -> None:
        super().__init__()
        if joins:
            self.r1 = ResidualUnit(width, ("a", "b"))
        self.r2 = ResidualUnit(width, ("a", "b"))
        self.out = nn.Conv2d(width, out_width, 1)

    def forward(self, path: Tensor, level: Tensor | None = None) -> Tensor:
        joined = path if level is None else path + self.r1(level)
        return double(self.out(self.r2(joined)), align_corners=False)
