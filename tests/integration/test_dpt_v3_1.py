"""MiDaS v3.1's small transformers: timm's backbones under a decoder told again in plain torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from timm.models.swin_transformer_v2 import checkpoint_filter_fn
from torch import Tensor
from torch.nn import functional

from streamd.config.sections import ModelConfig
from streamd.depth.graph.openvino import build_model
from streamd.depth.graph.parameters import Parameters
from streamd.depth.graph.torch import TorchNetwork
from streamd.depth.models import MODELS, check_input_size
from streamd.depth.ov import openvino as ov
from streamd.depth.preprocess import network_size
from streamd.errors import ConfigError, WeightsRejected
from tests.support.checkpoints import State, cheap_state, random_state, try_state
from tests.support.networks import agree

SIDES = {"dpt_swin2_tiny_256": 256, "dpt_levit_224": 224}
_MODEL = "pretrained.model."
_TABLES = ("attn_mask", "attention_bias_idxs")


@pytest.mark.parametrize("name", SIDES)
def test_equals_the_reference(name: str) -> None:
    """OpenVINO with the tables of the file, torch without them."""
    state, side = random_state(name, seed=1), SIDES[name]
    reference = REFERENCES[name](state)
    bare = {key: value for key, value in state.items() if not key.endswith(_TABLES)}
    assert len(bare) == len(state) - {"dpt_swin2_tiny_256": 2, "dpt_levit_224": 14}[name]
    model = build_model(MODELS[name].network, parameters(state), side)
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    eager = TorchNetwork(MODELS[name].network, parameters(bare), (side, side))
    planes = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected, depth = reference(planes).numpy(), eager(planes).numpy()
    agree(expected, planes, depth, compiled(planes.numpy())[0], variety=0.1, share=2e-5)


@pytest.mark.parametrize("name", SIDES)
class TestWeights:
    def test_those_of_the_official_file_are_taken(self, name: str) -> None:
        side = SIDES[name]
        assert try_state(name, cheap_state(name), side, side) == (1, side, side)

    def test_others_are_named(self, name: str) -> None:
        """The key that goes missing is one that gives no depth."""
        state, side = cheap_state(name), SIDES[name]
        last = next(key for key in reversed(state) if key.startswith(f"{_MODEL}head"))
        state["pretrained.model.head.fc.bias"] = state.pop(last)
        with pytest.raises(
            WeightsRejected, match=rf"1 key missing \({last}\), 1 key unexpected \({_MODEL}head.fc.bias\)"
        ):
            try_state(name, state, side, side)

    def test_those_of_a_sibling_are_refused(self, name: str) -> None:
        key, state, side = "scratch.layer1_rn.weight", cheap_state(name), SIDES[name]
        wide = state[key].shape[1]
        state[key] = np.broadcast_to(np.float32(1), (256, 128, 3, 3))
        with pytest.raises(WeightsRejected, match=rf"\({key}: 256x128x3x3 for 256x{wide}x3x3\)"):
            try_state(name, state, side, side)


@pytest.mark.parametrize("name", SIDES)
def test_what_the_network_sees(name: str) -> None:
    how, side = MODELS[name].preprocessing, SIDES[name]
    assert {network_size(*picture, how) for picture in ((1280, 720), (451, 300), (90, 800))} == {(side, side)}
    assert (how.mean, how.std, how.interpolation, how.resized_as) == ((0.5,) * 3, (0.5,) * 3, "cubic", "float64")
    assert how.enlargement == "cubic"
    with pytest.raises(ConfigError, match=f"{name} takes {side} only"):
        check_input_size(ModelConfig.model_validate({"name": name, "input_size": 384}))


def parameters(state: State) -> Parameters:
    return Parameters({key: value.numpy() for key, value in state.items()}, Path("random.pt"))


# -- the references: (n, 3, h, w) to (n, h, w) -----------------------------------------------------


Reference = Callable[[Tensor], Tensor]


def swin(state: State) -> Reference:
    """Writes the masks into ``state``, and a scale above the limit."""
    model: Any = timm.create_model("swinv2_tiny_window16_256").eval()
    for stage in (0, 1):
        state[f"{_MODEL}layers.{stage}.blocks.1.attn_mask"] = model.layers[stage].blocks[1].attn_mask
    state[f"{_MODEL}layers.2.blocks.3.attn.logit_scale"][5] = 6.0
    model.load_state_dict(checkpoint_filter_fn(own(state), model))

    def reference(planes: Tensor) -> Tensor:
        x, levels = model.patch_embed(planes), []
        for stage in model.layers:
            x = stage(x)
            levels.append(x.permute(0, 3, 1, 2))
        return head(state, decode(state, levels))

    return reference


def levit(state: State) -> Reference:
    """timm has kept the order of the tensors, but not their names; of two heads it has one here."""
    model: Any = timm.create_model("levit_384").eval()
    weights = [value for key, value in own(state).items() if not key.endswith(_TABLES)]
    model.load_state_dict(dict(zip(model.state_dict(), weights, strict=False)))

    def reference(planes: Tensor) -> Tensor:
        x, levels = model.stem(planes).flatten(2).transpose(1, 2), []
        for stage, blocks in zip(model.stages, (2, 1, 1), strict=True):
            x = stage.downsample(x)
            tokens = stage.blocks[:blocks](x).transpose(1, 2)
            levels.append(tokens.unflatten(2, (round(tokens.shape[2] ** 0.5), -1)))
            x = stage.blocks(x)
        path = decode(state, levels)
        for place in (0, 2):
            path = functional.hardswish(doubled_by_convolution(state, f"scratch.stem_transpose.{place}", path))
        return head(state, path)

    return reference


REFERENCES = {"dpt_swin2_tiny_256": swin, "dpt_levit_224": levit}


def own(state: State) -> State:
    return {key.removeprefix(_MODEL): value for key, value in state.items() if key.startswith(_MODEL)}


def doubled_by_convolution(state: State, key: str, x: Tensor) -> Tensor:
    x = functional.conv_transpose2d(x, state[f"{key}.c.weight"], stride=2, padding=1, output_padding=1)
    mean, variance, scale, shift = (
        state[f"{key}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return functional.batch_norm(x, mean, variance, scale, shift)


def decode(state: State, levels: list[Tensor]) -> Tensor:
    path, sizes = torch.zeros(1), [level.shape[2] for level in levels]
    for number in range(len(levels), 0, -1):
        level = conv(state, f"scratch.layer{number}_rn", levels[number - 1])
        key = f"scratch.refinenet{number}"
        joined = level if number == len(levels) else path + residual(state, f"{key}.resConfUnit1", level)
        path = residual(state, f"{key}.resConfUnit2", joined)
        size = sizes[number - 2] if number > 1 else 2 * sizes[0]
        path = functional.interpolate(path, size=(size, size), mode="bilinear", align_corners=True)
        path = conv(state, f"{key}.out_conv", path)
    return path


def head(state: State, path: Tensor) -> Tensor:
    x = conv(state, "scratch.output_conv.0", path)
    x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
    x = functional.relu(conv(state, "scratch.output_conv.2", x))
    return functional.relu(conv(state, "scratch.output_conv.4", x))[:, 0]


def residual(state: State, key: str, x: Tensor) -> Tensor:
    inner = conv(state, f"{key}.conv1", functional.relu(x))
    return x + conv(state, f"{key}.conv2", functional.relu(inner))


def conv(state: State, key: str, x: Tensor) -> Tensor:
    weight = state[f"{key}.weight"]
    return functional.conv2d(x, weight, state.get(f"{key}.bias"), padding=weight.shape[-1] // 2)
