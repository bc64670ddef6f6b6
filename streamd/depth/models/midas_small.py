"""MiDaS v2.1 small (Ranftl et al., TPAMI 2022; MIT): EfficientNet-Lite3 under a RefineNet decoder."""

from __future__ import annotations

from streamd.depth.graph.ops import Ops, T
from streamd.depth.models.base import Download, ModelSpec, Preprocessing
from streamd.depth.models.blocks import fusion, head

_STAGES = (
    (("layer1.3", 1, 24, 3, 1), ("layer1.4", 3, 32, 3, 2)),
    (("layer2.0", 3, 48, 5, 2),),
    (("layer3.0", 5, 96, 3, 2), ("layer3.1", 5, 136, 5, 1)),
    (("layer4.0", 6, 232, 5, 2), ("layer4.1", 1, 384, 3, 1)),
)
"""To 1/4, 1/8, 1/16 and 1/32 of the size: (key, blocks, width, kernel, stride of the first block)."""
_DECODER_WIDTHS = (64, 128, 256, 512)
_EPS = 1e-3
"""Of the encoder's batch norms: TensorFlow's."""


def network(ops: Ops[T], planes: T) -> T:
    """(n, 3, h, w) to (n, h, w), sides multiples of 32. Relative inverse depth, never below 0.

    Keys are those of the official midas_v21_small_256.pt.
    """
    x = _convolution(ops, planes, "pretrained.layer1.0", 32, 3, 2, norm="pretrained.layer1.1")
    x = ops.activation(x, "relu6")
    levels = []
    for stages in _STAGES:
        for key, blocks, width, kernel, stride in stages:
            for block in range(blocks):
                x = _block(ops, x, f"pretrained.{key}.{block}", width, kernel, stride if block == 0 else 1)
        levels.append(x)
    return _decoder(ops, levels)


def _block(ops: Ops[T], x: T, key: str, width: int, kernel: int, stride: int) -> T:
    """MobileNetV2's inverted residual; the first of all is a depthwise separable convolution."""
    inputs = ops.channels(x)
    if key.startswith("pretrained.layer1.3"):
        y = _convolution(ops, x, f"{key}.conv_dw", inputs, kernel, stride, groups=inputs, norm=f"{key}.bn1")
        y = ops.activation(y, "relu6")
        y = _convolution(ops, y, f"{key}.conv_pw", width, 1, 1, norm=f"{key}.bn2")
    else:
        wide = 6 * inputs
        y = ops.activation(_convolution(ops, x, f"{key}.conv_pw", wide, 1, 1, norm=f"{key}.bn1"), "relu6")
        y = _convolution(ops, y, f"{key}.conv_dw", wide, kernel, stride, groups=wide, norm=f"{key}.bn2")
        y = ops.activation(y, "relu6")
        y = _convolution(ops, y, f"{key}.conv_pwl", width, 1, 1, norm=f"{key}.bn3")
    return ops.add(x, y) if inputs == width and stride == 1 else y


def _convolution(ops: Ops[T], x: T, key: str, width: int, kernel: int, stride: int, *, norm: str, groups: int = 1) -> T:
    """With TensorFlow's SAME padding: at stride 2 it is lopsided, and constant since every side is even."""
    padding = ((kernel - stride) // 2, (kernel - stride + 1) // 2)
    return ops.convolution(
        x, key, width, kernel, stride=stride, padding=padding, groups=groups, bias=False, norm=norm, eps=_EPS
    )


def _decoder(ops: Ops[T], levels: list[T]) -> T:
    """From the coarsest level to the finest, each one twice the size and half the width of the last."""
    path: T | None = None
    for level in (4, 3, 2, 1):
        width = _DECODER_WIDTHS[level - 1]
        narrowed = ops.convolution(levels[level - 1], f"scratch.layer{level}_rn", width, 3, bias=False)
        path = fusion(ops, narrowed, path, f"scratch.refinenet{level}", width if level == 1 else width // 2)
    assert path is not None
    return head(ops, path, 32, align_corners=False)


SPEC = ModelSpec(
    name="midas_small",
    title="MiDaS v2.1 small",
    licence="MIT",
    network=network,
    preprocessing=Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    download=Download(
        url="https://github.com/isl-org/MiDaS/releases/download/v2_1/midas_v21_small_256.pt",
        sha256="70d6b9c891758c67f974a6097fb0c608c7ee67fb81ac3e5588847d5596d56fca",
        size=85_761_505,
    ),
)
