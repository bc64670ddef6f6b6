from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from streamd.depth.graph.torch import TorchNetwork, load_network
from streamd.depth.models import find_model
from streamd.errors import WeightsRejected
from tests.support.checkpoints import midas_small_state, write_midas_small

SIZES = [(256, 128), (256, 192), (128, 256), (256, 256), (32, 64)]

State = dict[str, Tensor]


def load(path: Path) -> TorchNetwork:
    return load_network(find_model("midas_small"), path)


@pytest.fixture(scope="module")
def state() -> State:
    return midas_small_state(seed=1)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> torch.nn.Module:
    return load(write_midas_small(tmp_path_factory.mktemp("weights") / "random.pt", seed=1))


def picture(width: int, height: int, count: int = 1) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(width * height))


class TestNetwork:
    @pytest.mark.parametrize(("width", "height"), SIZES)
    def test_equals_the_reference(self, network: torch.nn.Module, state: State, width: int, height: int) -> None:
        planes = picture(width, height, count=2)
        with torch.inference_mode():
            depth, expected = network(planes), reference(state, planes)
        assert depth.shape == (2, height, width)
        assert depth.dtype == torch.float32
        assert expected.min() > 0
        assert expected.std() > 0.1 * expected.mean()
        torch.testing.assert_close(depth, expected, atol=1e-5, rtol=1e-5)

    def test_is_ready_to_infer(self, network: torch.nn.Module) -> None:
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())

    def test_depth_is_never_negative(self, state: State, tmp_path: Path) -> None:
        dark = {**state, "scratch.output_conv.4.bias": torch.tensor([-20.0])}
        torch.save(dark, tmp_path / "dark.pt")
        with torch.inference_mode():
            depth = load(tmp_path / "dark.pt")(picture(64, 64))
        assert depth.min() == 0


class TestAccepted:
    @pytest.mark.parametrize("wrap", [lambda s: {"state_dict": s}, lambda s: {"model": s, "optimizer": {"lr": 1e-4}}])
    def test_wrapped(self, state: State, tmp_path: Path, wrap: object) -> None:
        torch.save(wrap(state), tmp_path / "wrapped.pt")  # type: ignore[operator]
        load(tmp_path / "wrapped.pt")

    def test_safetensors_whatever_it_is_called(self, state: State, tmp_path: Path) -> None:
        save_file(state, tmp_path / "weights.bin")
        load(tmp_path / "weights.bin")


@pytest.fixture(scope="module")
def lean(state: State) -> State:
    """The same shapes, but each tensor one number repeated: a small file."""
    return {key: value.flatten()[0].clone().expand(value.shape) for key, value in state.items()}


class Evil:
    """Unpickling it makes a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


class TestRefused:
    def reason(self, path: Path) -> str:
        with pytest.raises(WeightsRejected) as caught:
            load(path)
        assert caught.value.file == str(path)
        assert "\n" not in caught.value.reason
        assert len(caught.value.reason) < 350
        return caught.value.reason

    def saved(self, content: object, tmp_path: Path) -> Path:
        torch.save(content, tmp_path / "bad.pt")
        return tmp_path / "bad.pt"

    def test_missing_keys(self, lean: State, tmp_path: Path) -> None:
        cut = {key: value for key, value in lean.items() if "refinenet1" not in key}
        reason = self.reason(self.saved(cut, tmp_path))
        assert reason.startswith(
            "10 keys missing (scratch.refinenet1.out_conv.bias, scratch.refinenet1.out_conv.weight, "
        )
        assert reason.endswith(", ...) of 482")

    def test_missing_and_unexpected_keys(self, lean: State, tmp_path: Path) -> None:
        renamed = {key.replace("pretrained.layer1.0", "conv_stem"): value for key, value in lean.items()}
        assert self.reason(self.saved(renamed, tmp_path)) == (
            "1 key missing (pretrained.layer1.0.weight), 1 key unexpected (conv_stem.weight) of 482"
        )

    def test_keys_that_would_garble_a_log(self, lean: State, tmp_path: Path) -> None:
        reason = self.reason(self.saved({**lean, "two\nlines\x1b[2J" + "x" * 999: torch.zeros(1)}, tmp_path))
        assert "two\\nlines\\x1b[2Jxxx" in reason

    def test_wrong_shape(self, lean: State, tmp_path: Path) -> None:
        bad = {**lean, "scratch.output_conv.4.bias": torch.zeros(2)}
        assert self.reason(self.saved(bad, tmp_path)) == (
            "1 tensor of the wrong shape (scratch.output_conv.4.bias: 2 for 1)"
        )

    @pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
    def test_wrong_type(self, lean: State, tmp_path: Path, dtype: torch.dtype) -> None:
        bad = {**lean, "scratch.output_conv.4.bias": torch.zeros(1, dtype=dtype)}
        given = str(dtype).removeprefix("torch.")
        assert self.reason(self.saved(bad, tmp_path)) == (
            f"1 tensor of the wrong type (scratch.output_conv.4.bias: {given} for float32)"
        )

    @pytest.mark.parametrize("number", [float("nan"), float("inf")])
    def test_numbers_that_are_none(self, lean: State, tmp_path: Path, number: float) -> None:
        weight = torch.ones(32, 3, 3, 3)
        weight[5, 1, 0, 2] = number
        bad = {**lean, "pretrained.layer1.0.weight": weight}
        assert self.reason(self.saved(bad, tmp_path)) == (
            "1 tensor with NaN or infinite numbers (pretrained.layer1.0.weight)"
        )

    @pytest.mark.parametrize("keep", [0, 5, 100, 50_000, -22, -1000])
    def test_cut_short(self, lean: State, tmp_path: Path, keep: int) -> None:
        path = self.saved(lean, tmp_path)
        path.write_bytes(path.read_bytes()[:keep])
        self.reason(path)

    def test_safetensors_cut_short(self, tmp_path: Path) -> None:
        save_file({"a": torch.ones(1000)}, tmp_path / "bad.safetensors")
        os.truncate(tmp_path / "bad.safetensors", 1000)
        assert "cut short" in self.reason(tmp_path / "bad.safetensors")

    @pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
    def test_code_in_a_pickle_is_not_run(self, lean: State, tmp_path: Path, save: object) -> None:
        trap = tmp_path / "trap"
        save({**lean, "extra": Evil(trap)}, tmp_path / "evil.pt")  # type: ignore[operator]
        assert "asks to run code" in self.reason(tmp_path / "evil.pt")
        assert not trap.exists()

    @pytest.mark.parametrize(
        "content", [[1, 2], {}, {"a": 1}, torch.zeros(3), {"state_dict": {"a": "b"}}, {1: torch.ones(1)}]
    )
    def test_not_a_checkpoint(self, tmp_path: Path, content: object) -> None:
        assert self.reason(self.saved(content, tmp_path)).startswith("not a checkpoint")

    def test_some_other_file(self, tmp_path: Path) -> None:
        (tmp_path / "page.pt").write_text("<!DOCTYPE html>\n<html>" + "not found" * 100)
        self.reason(tmp_path / "page.pt")

    def test_no_file(self, tmp_path: Path) -> None:
        assert self.reason(tmp_path / "none.pt") == "no such file or directory"


# -- the reference, told again without modules: from the names in the checkpoint and MiDaS's midas_net_custom.py -----

ENCODER = [["layer1.3", "layer1.4"], ["layer2.0"], ["layer3.0", "layer3.1"], ["layer4.0", "layer4.1"]]
HALVING = {"layer1.4", "layer2.0", "layer3.0", "layer4.0"}


def reference(state: State, x: Tensor) -> Tensor:
    """(n, 3, h, w) to (n, h, w)."""
    x = functional.relu6(norm(state, "pretrained.layer1.1", same(x, state["pretrained.layer1.0.weight"], stride=2)))
    levels = []
    for stages in ENCODER:
        for stage in stages:
            x = encode(state, f"pretrained.{stage}", x, 2 if stage in HALVING else 1)
        levels.append(x)
    path = None
    for index in (4, 3, 2, 1):
        level = functional.conv2d(levels[index - 1], state[f"scratch.layer{index}_rn.weight"], padding=1)
        fuse = f"scratch.refinenet{index}"
        joined = level if path is None else path + residual(state, f"{fuse}.resConfUnit1", level)
        path = residual(state, f"{fuse}.resConfUnit2", joined)
        path = functional.interpolate(path, scale_factor=2, mode="bilinear", align_corners=True)
        path = conv(state, f"{fuse}.out_conv", path)
    assert path is not None
    half = conv(state, "scratch.output_conv.0", path)
    full = functional.interpolate(half, scale_factor=2, mode="bilinear", align_corners=False)
    features = functional.relu(conv(state, "scratch.output_conv.2", full))
    return functional.relu(conv(state, "scratch.output_conv.4", features))[:, 0]


def encode(state: State, stage: str, x: Tensor, stride: int) -> Tensor:
    """One stage of EfficientNet-Lite: its first block may halve the size, the others add their input."""
    for block in (f"{stage}.{number}" for number in range(9) if f"{stage}.{number}.conv_dw.weight" in state):
        skip = x
        if f"{block}.conv_pwl.weight" in state:
            x = functional.relu6(norm(state, f"{block}.bn1", functional.conv2d(x, state[f"{block}.conv_pw.weight"])))
            x = functional.relu6(norm(state, f"{block}.bn2", same(x, state[f"{block}.conv_dw.weight"], stride)))
            x = norm(state, f"{block}.bn3", functional.conv2d(x, state[f"{block}.conv_pwl.weight"]))
        else:
            x = functional.relu6(norm(state, f"{block}.bn1", same(x, state[f"{block}.conv_dw.weight"], stride)))
            x = norm(state, f"{block}.bn2", functional.conv2d(x, state[f"{block}.conv_pw.weight"]))
        x = x + skip if x.shape == skip.shape else x
        stride = 1
    return x


def same(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Depthwise, or dense for the first layer of all, padded as TensorFlow does."""
    kernel = weight.shape[-1]
    padding: list[int] = []
    for side in (x.shape[3], x.shape[2]):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        padding += [total // 2, total - total // 2]
    groups = x.shape[1] // weight.shape[1]
    return functional.conv2d(functional.pad(x, padding), weight, stride=stride, groups=groups)


def norm(state: State, name: str, x: Tensor) -> Tensor:
    mean, var, weight, bias = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return functional.batch_norm(x, mean, var, weight, bias, eps=1e-3)


def conv(state: State, name: str, x: Tensor) -> Tensor:
    weight = state[f"{name}.weight"]
    return functional.conv2d(x, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2)


def residual(state: State, name: str, x: Tensor) -> Tensor:
    inner = conv(state, f"{name}.conv1", functional.relu(x))
    return x + conv(state, f"{name}.conv2", functional.relu(inner))
