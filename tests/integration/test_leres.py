"""LeReS against torchvision's encoders under its decoder, in plain torch by the names in the checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor
from torch.nn import functional

from streamd.depth.checkpoint import read_state
from streamd.depth.graph.openvino import build_model, load_model
from streamd.depth.graph.parameters import Parameters
from streamd.depth.graph.torch import TorchNetwork
from streamd.depth.models import find_model
from streamd.depth.ov import openvino as ov
from streamd.errors import WeightsRejected
from tests.support.checkpoints import State, official_keys, random_state, write_checkpoint

PREFIX = "module.depth_model."
ENCODERS = {
    "leres_resnet50": torchvision.models.resnet50,
    "leres_resnext101": torchvision.models.resnext101_32x8d,
}


def repeated(name: str) -> State:
    """The official shapes, each tensor one number repeated: a small file."""
    return {
        key: torch.tensor(1) if key.endswith("tracked") else torch.full((1,), 0.5).expand(shape)
        for key, shape in official_keys(name)[1].items()
    }


@pytest.mark.parametrize(
    ("name", "sizes"), [("leres_resnet50", [(96, 64, 2), (64, 64, 1)]), ("leres_resnext101", [(64, 64, 2)])]
)
def test_equals_the_reference(name: str, sizes: list[tuple[int, int, int]]) -> None:
    state = random_state(name, seed=1)
    bare = {key.removeprefix(PREFIX): value for key, value in state.items()}
    arrays = {key: value.numpy() for key, value in bare.items()}
    network = find_model(name).network
    ours = TorchNetwork(network, Parameters(arrays, Path("random")), (32, 32))
    model = build_model(network, Parameters(arrays, Path("random")))
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    encoder = ENCODERS[name]()
    encoder.fc = torch.nn.Identity()
    start = "encoder_modules.encoder."
    encoder.load_state_dict({key.removeprefix(start): bare[key] for key in bare if key.startswith(start)})
    encoder.eval()
    for width, height, count in sizes:
        planes = torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(width))
        with torch.inference_mode():
            expected, depth = reference(encoder, bare, planes).numpy(), ours(planes).numpy()
        assert depth.shape == (count, height, width)
        spread = expected.max() - expected.min()
        assert expected.std() > 0.05 * abs(expected.mean())
        np.testing.assert_allclose(depth, expected, atol=1e-5 * spread)
        np.testing.assert_allclose(compiled(planes.numpy())[0], expected, atol=3e-5 * spread)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_official_layout_is_taken_with_and_without_its_prefix(name: str, tmp_path: Path) -> None:
    state = repeated(name)
    beside = {"shift_model": {"a": torch.zeros(1)}, "focal_model": {"a": torch.zeros(2)}, "epoch": 3}
    torch.save({"depth_model": state, **beside}, tmp_path / "official.pth")
    torch.save({key.removeprefix(PREFIX): value for key, value in state.items()}, tmp_path / "bare.pth")
    torch.save({key.removeprefix("module."): value for key, value in state.items()}, tmp_path / "half.pth")
    load_model(find_model(name), tmp_path / "official.pth")
    keys = read_state(tmp_path / "official.pth").keys()
    for file in ("bare.pth", "half.pth"):
        assert read_state(tmp_path / file).keys() == keys


def test_the_other_backbone_is_refused(tmp_path: Path) -> None:
    """The test script of the authors pairs res50.pth with resnext101."""
    file = write_checkpoint("leres_resnet50", tmp_path / "res50.pth", repeated("leres_resnet50"))
    with pytest.raises(
        WeightsRejected, match=r"306 keys missing \(encoder_modules.encoder.layer3.10.bn1.bias, .* of 712"
    ):
        load_model(find_model("leres_resnext101"), file)


# -- the reference ---------------------------------------------------------------------------------


def reference(encoder: Any, state: State, planes: Tensor) -> Tensor:
    """(n, 3, h, w) to (n, h, w)."""
    x = encoder.maxpool(encoder.relu(encoder.bn1(encoder.conv1(planes))))
    stages = (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4)
    levels = [x := stage(x) for stage in stages]
    x = convolved(state, "conv1", branched(state, "conv", levels[3]))
    for number, level in ((2, levels[2]), (1, levels[1]), (0, levels[0])):
        joined = branched(state, f"ffm{number}.ftb1", level) + doubled(x)
        x = branched(state, f"ffm{number}.ftb2", joined)
    x = doubled(x)
    x = functional.relu(normed(state, "outconv.adapt_conv.1", convolved(state, "outconv.adapt_conv.0", x)))
    return doubled(convolved(state, "outconv.adapt_conv.3", x))[:, 0]


def branched(state: State, key: str, x: Tensor) -> Tensor:
    """As its modules do it: the first ReLU works in place, on what the sum then reads."""
    x = convolved(state, f"{key}.conv1", x)
    y = functional.relu_(x)
    y = functional.relu_(normed(state, f"{key}.conv_branch.2", convolved(state, f"{key}.conv_branch.1", y)))
    return functional.relu(x + convolved(state, f"{key}.conv_branch.4", y))


def doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


def convolved(state: State, key: str, x: Tensor) -> Tensor:
    return functional.conv2d(x, state[f"decoder_modules.{key}.weight"], state[f"decoder_modules.{key}.bias"], padding=1)


def normed(state: State, key: str, x: Tensor) -> Tensor:
    mean, var, weight, bias = (
        state[f"decoder_modules.{key}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return functional.batch_norm(x, mean, var, weight, bias)
