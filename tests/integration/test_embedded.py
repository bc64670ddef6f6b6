from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from streamd.depth.graph.torch import TorchNetwork, load_network
from streamd.depth.models import find_model
from streamd.depth.preprocess import still_input
from streamd.errors import WeightsRejected

CHECK = Path(__file__).parent.parent / "data" / "embedded-check.npz"


def load(path: Path) -> TorchNetwork:
    return load_network(find_model("embedded"), path)


@pytest.fixture(scope="module")
def weights() -> Path:
    return Path(str(resources.files("streamd") / "assets" / "embedded.safetensors"))


@pytest.fixture(scope="module")
def network(weights: Path) -> torch.nn.Module:
    return load(weights)


@pytest.mark.parametrize("picture", ["coffee", "chelsea"])
def test_gives_what_it_gave_when_it_was_trained(network: torch.nn.Module, picture: str) -> None:
    with np.load(CHECK) as check:
        rgb, expected = check[f"{picture}_input_rgb_u8"], check[f"{picture}_depth"]
    planes = still_input(rgb, find_model("embedded").preprocessing)
    with torch.inference_mode():
        depth = network(torch.from_numpy(planes)[None])[0].numpy()
    np.testing.assert_allclose(depth, expected, atol=2e-5, rtol=0)


def test_takes_any_batch_and_size(network: torch.nn.Module) -> None:
    with torch.inference_mode():
        assert network(torch.zeros(3, 3, 64, 96)).shape == (3, 64, 96)


def test_computes_in_full_precision(network: torch.nn.Module) -> None:
    assert {weight.dtype for weight in network.buffers()} == {torch.float32}
    assert not network.training


def test_a_missing_key_is_refused(weights: Path, tmp_path: Path) -> None:
    state = load_file(weights)
    del state["h2.bias"]
    save_file(state, tmp_path / "cut.safetensors")
    with pytest.raises(WeightsRejected, match=r"1 key missing \(h2.bias\) of \d+$"):
        load(tmp_path / "cut.safetensors")
