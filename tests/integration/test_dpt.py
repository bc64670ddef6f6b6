"""MiDaS v3's transformers: timm's backbones under a decoder told again in plain torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional

from streamd.depth.graph.openvino import build_model
from streamd.depth.graph.ops import Network
from streamd.depth.graph.parameters import Parameters
from streamd.depth.graph.torch import TorchNetwork
from streamd.depth.models import MODELS, dpt_hybrid, dpt_large
from streamd.depth.ov import openvino as ov
from streamd.depth.preprocess import network_size
from streamd.errors import WeightsRejected
from tests.support.checkpoints import State, cheap_state, random_state, try_state
from tests.support.networks import agree

NAMES = ["dpt_hybrid", "dpt_large"]
SIZES = [(64, 32, 2), (96, 64, 1)]
Reference = Callable[[State, Tensor], Tensor]


class TestNetwork:
    """With narrow tokens: those of the official files take gigabytes."""

    def test_hybrid_equals_the_reference(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dpt_hybrid, "_WIDTH", 48)
        monkeypatch.setattr(dpt_hybrid, "_TAPS", ((8, 3, 48), (11, 4, 48)))
        narrow = {768: 48, 1536: 96, 2304: 144, 3072: 192}
        equals(dpt_hybrid.network, hybrid, random_state("dpt_hybrid", seed=1, sides=narrow))

    def test_large_equals_the_reference(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dpt_large, "_WIDTH", 64)
        monkeypatch.setattr(dpt_large, "_TAPS", ((5, 1, 256), (11, 2, 512), (17, 3, 64), (23, 4, 64)))
        narrow = {1024: 64, 2048: 128, 3072: 192, 4096: 256}
        equals(dpt_large.network, large, random_state("dpt_large", seed=1, sides=narrow))


def equals(network: Network, reference: Reference, state: State) -> None:
    def weights() -> Parameters:
        return Parameters({key: value.numpy() for key, value in state.items()}, Path("random.pt"))

    eager = TorchNetwork(network, weights(), (32, 32))
    compiled = ov.Core().compile_model(build_model(network, weights()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for width, height, count in SIZES:
        planes = torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(width))
        with torch.inference_mode():
            expected, depth = reference(state, planes).numpy(), eager(planes).numpy()
        agree(expected, planes, depth, compiled(planes.numpy())[0], variety=0.1, share=5e-5)


@pytest.mark.parametrize("name", NAMES)
class TestWeights:
    def test_those_of_the_official_file_are_taken(self, name: str) -> None:
        assert try_state(name, cheap_state(name), 96, 64) == (1, 64, 96)

    def test_others_are_named(self, name: str) -> None:
        state = cheap_state(name)
        state["pretrained.model.norm_pre.bias"] = state.pop("pretrained.model.head.bias")
        with pytest.raises(WeightsRejected, match=r"1 key missing \(pretrained.model.head.bias\), 1 key unexpected"):
            try_state(name, state, 32, 32)

    def test_a_grid_of_another_size_is_refused(self, name: str) -> None:
        key, state = "pretrained.model.pos_embed", cheap_state(name)
        state[key] = state[key][:, :197]
        with pytest.raises(WeightsRejected, match=rf"\({key}: 1x197x(\d+) for 1x577x\1\)"):
            try_state(name, state, 32, 32)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("picture", "size"),
    [
        ((1280, 720), (672, 384)),
        ((640, 480), (512, 384)),
        ((600, 360), (640, 384)),
        ((451, 300), (384, 256)),
        ((352, 288), (384, 320)),
    ],
)
def test_what_the_network_sees(name: str, picture: tuple[int, int], size: tuple[int, int]) -> None:
    how = MODELS[name].preprocessing
    assert network_size(*picture, how) == size
    assert (how.mean, how.std, how.interpolation, how.resized_as) == ((0.5,) * 3, (0.5,) * 3, "cubic", "float64")
    assert how.enlargement == "cubic"


# -- the reference: (n, 3, h, w) to (n, h, w) ------------------------------------------------------


def hybrid(state: State, planes: Tensor) -> Tensor:
    width = len(state["pretrained.model.norm.weight"])
    with torch.device("meta"):
        model: Any = timm.create_model("vit_base_r50_s16_384", embed_dim=width)
    load(model, state)
    levels, x = [], model.patch_embed.backbone.stem(planes)
    for stage in model.patch_embed.backbone.stages:
        x = stage(x)
        levels.append(x)
    patches = model.patch_embed.proj(x)
    return decode(state, levels[:2] + transform(state, model.blocks, patches, {8: 3, 11: 4}))


def large(state: State, planes: Tensor) -> Tensor:
    width = len(state["pretrained.model.norm.weight"])
    with torch.device("meta"):
        model: Any = VisionTransformer(img_size=384, embed_dim=width, depth=24, num_heads=16)
    load(model, state)
    patches = model.patch_embed.proj(planes)
    return decode(state, transform(state, model.blocks, patches, {5: 1, 11: 2, 17: 3, 23: 4}))


def load(model: torch.nn.Module, state: State) -> None:
    prefix = "pretrained.model."
    own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    model.load_state_dict(own, assign=True)
    model.eval()


def transform(state: State, blocks: list[torch.nn.Module], patches: Tensor, taps: dict[int, int]) -> list[Tensor]:
    first, trained = state["pretrained.model.cls_token"], state["pretrained.model.pos_embed"]
    grid = trained[:, 1:].transpose(1, 2).reshape(1, -1, 24, 24)
    grid = functional.interpolate(grid, size=patches.shape[2:], mode="bilinear", align_corners=False)
    x = torch.cat([first.expand(len(patches), -1, -1), patches.flatten(2).transpose(1, 2)], 1)
    x = x + torch.cat([trained[:, :1], grid.flatten(2).transpose(1, 2)], 1)
    levels = []
    for number, block in enumerate(blocks):
        x = block(x)
        if number in taps:
            levels.append(reassemble(state, f"pretrained.act_postprocess{taps[number]}", x, patches.shape[2:]))
    return levels


def reassemble(state: State, key: str, tokens: Tensor, size: torch.Size) -> Tensor:
    patches, first = tokens[:, 1:], tokens[:, :1]
    both = torch.cat([patches, first.expand_as(patches)], -1)
    x = functional.linear(both, state[f"{key}.0.project.0.weight"], state[f"{key}.0.project.0.bias"])
    x = conv(state, f"{key}.3", functional.gelu(x).transpose(1, 2).reshape(len(x), -1, *size))
    if f"{key}.4.weight" not in state:
        return x
    weight, bias = state[f"{key}.4.weight"], state[f"{key}.4.bias"]
    if (kernel := weight.shape[-1]) == 3:
        return functional.conv2d(x, weight, bias, stride=2, padding=1)
    return functional.conv_transpose2d(x, weight, bias, stride=kernel)


def decode(state: State, levels: list[Tensor]) -> Tensor:
    path = torch.zeros(1)
    for number in (4, 3, 2, 1):
        level = functional.conv2d(levels[number - 1], state[f"scratch.layer{number}_rn.weight"], padding=1)
        key = f"scratch.refinenet{number}"
        joined = level if number == 4 else path + residual(state, f"{key}.resConfUnit1", level)
        path = doubled(residual(state, f"{key}.resConfUnit2", joined))
        path = conv(state, f"{key}.out_conv", path)
    x = doubled(conv(state, "scratch.output_conv.0", path))
    x = functional.relu(conv(state, "scratch.output_conv.2", x))
    return functional.relu(conv(state, "scratch.output_conv.4", x))[:, 0]


def doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


def residual(state: State, key: str, x: Tensor) -> Tensor:
    inner = conv(state, f"{key}.conv1", functional.relu(x))
    return x + conv(state, f"{key}.conv2", functional.relu(inner))


def conv(state: State, key: str, x: Tensor) -> Tensor:
    weight = state[f"{key}.weight"]
    return functional.conv2d(x, weight, state[f"{key}.bias"], padding=weight.shape[-1] // 2)
