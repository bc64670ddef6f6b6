"""Depth Anything V2 small: timm's DINOv2 under a decoder told again in plain torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor
from torch.nn import functional

from streamd.depth.graph.openvino import load_model
from streamd.depth.models import find_model
from streamd.errors import WeightsRejected
from tests.support.checkpoints import State, write_checkpoint
from tests.support.networks import Generated, generate

SPEC = find_model("depth_anything_v2_small")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Generated:
    return generate("depth_anything_v2_small", tmp_path_factory.mktemp("weights"))


@pytest.mark.parametrize(("width", "height", "count"), [(98, 70, 2), (126, 518, 1), (518, 518, 1)])
def test_equals_the_reference(made: Generated, width: int, height: int, count: int) -> None:
    """518x518 is the size of the positions in the file, which are then taken as they are; not so if one side is."""
    planes = torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(width))
    made.equals(reference, planes)


def test_a_larger_sibling_is_refused(made: Generated, tmp_path: Path) -> None:
    key = "pretrained.patch_embed.proj.weight"
    base = write_checkpoint(
        "depth_anything_v2_small", tmp_path / "b.pth", {**made.state, key: torch.zeros(768, 3, 14, 14)}
    )
    with pytest.raises(WeightsRejected, match=rf"\({key}: 768x3x14x14 for 384x3x14x14\)"):
        load_model(SPEC, base)


# -- the reference ---------------------------------------------------------------------------------


def reference(state: State, planes: Tensor) -> Tensor:
    """(n, 3, h, w) to (n, h, w)."""
    height, width = (side // 14 for side in planes.shape[2:])
    with torch.device("meta"):
        backbone: Any = timm.create_model("vit_small_patch14_dinov2.lvd142m", pretrained=False, dynamic_img_size=True)
    mine = {key.removeprefix("pretrained."): value for key, value in state.items() if key.startswith("pretrained.")}
    del mine["mask_token"]
    backbone.load_state_dict(mine, assign=True)
    x = backbone.eval().patch_embed(planes).flatten(1, 2)  # of any size: channels come last, as a grid
    x = torch.cat([mine["cls_token"].expand(len(x), -1, -1), x], 1) + positions(mine["pos_embed"], height, width)
    levels = []
    for number, block in enumerate(backbone.blocks):
        x = block(x)
        if number in (2, 5, 8, 11):
            levels.append(backbone.norm(x)[:, 1:].transpose(1, 2).reshape(len(x), -1, height, width))
    return decode(state, levels, planes.shape[2:])


def positions(trained: Tensor, height: int, width: int) -> Tensor:
    """DINOv2's: the scale, not the size, is given to the interpolation, and is a little too large."""
    if (height, width) == (37, 37):
        return trained
    grid = trained[:, 1:].transpose(1, 2).reshape(1, -1, 37, 37)
    scale = ((height + 0.1) / 37, (width + 0.1) / 37)
    grid = functional.interpolate(grid, scale_factor=scale, mode="bicubic")
    return torch.cat([trained[:, :1], grid.flatten(2).transpose(1, 2)], 1)


def decode(state: State, levels: list[Tensor], size: torch.Size) -> Tensor:
    def conv(key: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = state[f"depth_head.{key}.weight"]
        return functional.conv2d(x, weight, state.get(f"depth_head.{key}.bias"), stride, weight.shape[-1] // 2)

    def residual(key: str, x: Tensor) -> Tensor:
        inner = conv(f"{key}.conv1", functional.relu(x))
        return x + conv(f"{key}.conv2", functional.relu(inner))

    rows = []
    for number, level in enumerate(levels):
        x, key = conv(f"projects.{number}", level), f"resize_layers.{number}"
        if number < 2:
            weight, bias = state[f"depth_head.{key}.weight"], state[f"depth_head.{key}.bias"]
            x = functional.conv_transpose2d(x, weight, bias, stride=weight.shape[-1])
        elif number == 3:
            x = conv(key, x, stride=2)
        rows.append(conv(f"scratch.layer{number + 1}_rn", x))
    path = torch.zeros(1)
    for number in (4, 3, 2, 1):
        key, row = f"scratch.refinenet{number}", rows[number - 1]
        joined = row if number == 4 else path + residual(f"{key}.resConfUnit1", row)
        target = rows[number - 2].shape[2:] if number > 1 else [2 * side for side in row.shape[2:]]
        path = functional.interpolate(
            residual(f"{key}.resConfUnit2", joined), size=target, mode="bilinear", align_corners=True
        )
        path = conv(f"{key}.out_conv", path)
    x = functional.interpolate(conv("scratch.output_conv1", path), size=size, mode="bilinear", align_corners=True)
    x = functional.relu(conv("scratch.output_conv2.0", x))
    return functional.relu(conv("scratch.output_conv2.2", x))[:, 0]
