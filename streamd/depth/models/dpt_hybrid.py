"""DPT-Hybrid of MiDaS v3 (Ranftl et al. 2021; MIT): ResNet-50 v2 and ViT-B/16 under a DPT decoder."""

from __future__ import annotations

import numpy as np

from streamd.depth.graph.ops import Ops, T
from streamd.depth.models import dpt, vit
from streamd.depth.models.base import Download, ModelSpec, Preprocessing
from streamd.depth.models.blocks import head
from streamd.media.frames import FloatImage

_BACKBONE = "pretrained.model.patch_embed.backbone"
_STAGES = ((256, 3), (512, 4), (1024, 9))
"""At 1/4, 1/8 and 1/16 of the size: (width, blocks)."""
_WIDTH = 768
_TAPS = ((8, 3, 768), (11, 4, 768))
_EPS = 1e-8
"""Of the weights' variances."""


def network(ops: Ops[T], planes: T) -> T:
    """(n, 3, h, w) to (n, h, w), sides multiples of 32. Relative inverse depth, never below 0.

    Keys are those of the official dpt_hybrid_384.pt.
    """
    fine, middle, coarse = _resnet(ops, planes)
    patches = ops.convolution(coarse, "pretrained.model.patch_embed.proj", _WIDTH)
    levels = [fine, middle, *vit.levels(ops, patches, blocks=12, heads=12, taps=_TAPS)]
    return head(ops, dpt.decoder(ops, levels), 32, align_corners=True)


def _resnet(ops: Ops[T], x: T) -> list[T]:
    """Big Transfer's (Kolesnikov et al. 2020), with its activations behind the sums: one level for each stage."""
    x = ops.relu(_convolution(ops, x, f"{_BACKBONE}.stem", ("conv", "norm"), 64, 7, 2))
    x = ops.max_pool(x, 3, stride=2, padding=(0, 1))
    levels = []
    for stage, (width, blocks) in enumerate(_STAGES):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _bottleneck(ops, x, f"{_BACKBONE}.stages.{stage}.blocks.{block}", width, stride)
        levels.append(x)
    return levels


def _bottleneck(ops: Ops[T], x: T, key: str, width: int, stride: int) -> T:
    y = ops.relu(_convolution(ops, x, key, ("conv1", "norm1"), width // 4))
    y = ops.relu(_convolution(ops, y, key, ("conv2", "norm2"), width // 4, 3, stride))
    y = _convolution(ops, y, key, ("conv3", "norm3"), width)
    if ops.channels(x) != width:
        x = _convolution(ops, x, f"{key}.downsample", ("conv", "norm"), width, 1, stride)
    return ops.relu(ops.add(y, x))


def _convolution(
    ops: Ops[T], x: T, key: str, names: tuple[str, str], width: int, kernel: int = 1, stride: int = 1
) -> T:
    """With standardised weights (Qiao et al. 2019) and a group norm; ``names`` are what the checkpoint calls the two.

    Padded as TensorFlow's SAME: at stride 2 it is lopsided, and constant since every side is even."""
    name, norm = (f"{key}.{each}" for each in names)
    inputs = ops.channels(x)

    def weights() -> tuple[FloatImage, None]:
        return _standardised(ops.parameters.take(f"{name}.weight", width, inputs, kernel, kernel)), None

    weight, _ = ops.layer(name, weights)
    assert weight is not None
    padding = (0, 0) if kernel < stride else ((kernel - stride) // 2, (kernel - stride + 1) // 2)
    return ops.group_norm(ops.convolve(x, weight, None, stride=stride, padding=padding, dilation=1), norm)


def _standardised(weight: FloatImage) -> FloatImage:
    """Each output channel to mean 0 and variance 1."""
    exact = weight.astype(np.float64)
    mean, variance = (part(exact, axis=(1, 2, 3), keepdims=True) for part in (np.mean, np.var))
    return np.asarray((exact - mean) / np.sqrt(variance + _EPS), np.float32)


SPEC = ModelSpec(
    name="dpt_hybrid",
    title="MiDaS v3 DPT-Hybrid",
    licence="MIT",
    network=network,
    preprocessing=Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), input_size=384, fit="minimal"),
    least_timeout_s=20.0,
    least_memory_mb=4000,
    download=Download(
        url="https://github.com/isl-org/MiDaS/releases/download/v3/dpt_hybrid_384.pt",
        sha256="501f0c75b3bca7daec6b3682c5054c09b366765aef6fa3a09d03a5cb4b230853",
    ),
)
