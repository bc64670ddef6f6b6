"""LeReS (Yin et al., CVPR 2021; Adobe Research, non-commercial): a ResNet or ResNeXt under a decoder of its own."""

from __future__ import annotations

from streamd.depth.graph.ops import Ops, T
from streamd.depth.models.base import ModelSpec, Preprocessing

_ENCODER, _DECODER = "encoder_modules.encoder", "decoder_modules"
_EXPANSION = 4


def resnet50(ops: Ops[T], planes: T) -> T:
    """(n, 3, h, w) to (n, h, w), sides multiples of 32. Relative depth without bounds, larger is farther.

    Keys are those of the official res50.pth, without ``module.depth_model.``.
    """
    return _decoder(ops, _encoder(ops, planes, blocks=(3, 4, 6, 3), groups=1, width=64))


def resnext101(ops: Ops[T], planes: T) -> T:
    """As ``resnet50``, of res101.pth."""
    return _decoder(ops, _encoder(ops, planes, blocks=(3, 4, 23, 3), groups=32, width=256))


def _encoder(ops: Ops[T], x: T, *, blocks: tuple[int, ...], groups: int, width: int) -> list[T]:
    """Levels at 1/4, 1/8, 1/16 and 1/32. ``width``: of the first level's 3x3 convolutions, over all groups."""
    x = ops.convolution(x, f"{_ENCODER}.conv1", 64, 7, stride=2, padding=3, bias=False, norm=f"{_ENCODER}.bn1")
    x = ops.max_pool(ops.relu(x), 3, stride=2, padding=1)
    levels = []
    for level, count in enumerate(blocks):
        for block in range(count):
            stride = 2 if level and not block else 1
            key = f"{_ENCODER}.layer{level + 1}.{block}"
            x = _bottleneck(ops, x, key, width << level, 64 * _EXPANSION << level, stride, groups)
        levels.append(x)
    return levels


def _bottleneck(ops: Ops[T], x: T, key: str, width: int, out_width: int, stride: int, groups: int) -> T:
    """torchvision's: the 3x3 convolution has the stride."""
    y = ops.convolution(x, f"{key}.conv1", width, bias=False, norm=f"{key}.bn1")
    y = ops.convolution(
        ops.relu(y), f"{key}.conv2", width, 3, stride=stride, groups=groups, bias=False, norm=f"{key}.bn2"
    )
    y = ops.convolution(ops.relu(y), f"{key}.conv3", out_width, bias=False, norm=f"{key}.bn3")
    if ops.channels(x) != out_width:
        x = ops.convolution(x, f"{key}.downsample.0", out_width, stride=stride, bias=False, norm=f"{key}.downsample.1")
    return ops.relu(ops.add(x, y))


def _decoder(ops: Ops[T], levels: list[T]) -> T:
    """From the coarsest level to the finest; each step doubles the size."""
    x = _residual(ops, levels[3], f"{_DECODER}.conv", 512)
    x = ops.double(ops.convolution(x, f"{_DECODER}.conv1", 256, 3), align_corners=True)
    for number in (2, 1, 0):
        key = f"{_DECODER}.ffm{number}"
        joined = ops.add(_residual(ops, levels[number], f"{key}.ftb1", 256), x)
        x = ops.double(_residual(ops, joined, f"{key}.ftb2", 256), align_corners=True)
    out = f"{_DECODER}.outconv.adapt_conv"
    x = ops.relu(ops.convolution(x, f"{out}.0", 128, 3, norm=f"{out}.1"))
    return ops.squeeze(ops.double(ops.convolution(x, f"{out}.3", 1, 3), align_corners=True), 1)


def _residual(ops: Ops[T], x: T, key: str, width: int) -> T:
    """The branch's first ReLU works in place in the reference: what it is added to has gone through it, too."""
    x = ops.relu(ops.convolution(x, f"{key}.conv1", width, 3))
    y = ops.convolution(x, f"{key}.conv_branch.1", width, 3, norm=f"{key}.conv_branch.2")
    y = ops.convolution(ops.relu(y), f"{key}.conv_branch.4", width, 3)
    return ops.relu(ops.add(x, y))


_PREPROCESSING = Preprocessing(
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    input_size=448,
    fit="exact",
    interpolation="linear",
    resized_as="uint8",
    enlargement="linear",
)
_LICENCE = "non-commercial"
_NOTICE = (
    "Adobe Research's licence: for non-commercial use only, not to be passed on. streamd does not ship these weights."
)

RESNET50 = ModelSpec(
    name="leres_resnet50",
    title="LeReS ResNet-50",
    licence=_LICENCE,
    network=resnet50,
    preprocessing=_PREPROCESSING,
    polarity="depth",
    least_timeout_s=10.0,
    least_memory_mb=1500,
    bring="res50.pth of github.com/aim-uofa/AdelaiDepth, LeReS",
    notice=_NOTICE,
)
RESNEXT101 = ModelSpec(
    name="leres_resnext101",
    title="LeReS ResNeXt-101 32x8d",
    licence=_LICENCE,
    network=resnext101,
    preprocessing=_PREPROCESSING,
    polarity="depth",
    least_timeout_s=20.0,
    least_memory_mb=3000,
    bring="res101.pth of github.com/aim-uofa/AdelaiDepth, LeReS",
    official_sha256="1d696b2ef3e8336b057d0c15bc82d2fecef821bfebe5ef9d7671a5ec5dde520b",
    notice=_NOTICE,
)
