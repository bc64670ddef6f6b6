"""ZipDepth against its reference's layers, told again in plain torch from the names in the checkpoint."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from streamd.depth.graph.openvino import load_model
from streamd.depth.graph.torch import load_network
from streamd.depth.models import find_model
from streamd.errors import WeightsRejected
from streamd.jobs.picture import depth_of_picture
from tests.integration.conftest import MakeService
from tests.support.checkpoints import State, write_checkpoint
from tests.support.networks import Generated, generate

SPEC = find_model("zipdepth")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Generated:
    return generate("zipdepth", tmp_path_factory.mktemp("weights"))


@pytest.mark.parametrize(("width", "height", "count"), [(96, 64, 2), (224, 128, 1), (32, 32, 1)])
def test_equals_the_reference(made: Generated, width: int, height: int, count: int) -> None:
    planes = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(width))
    made.equals(reference, planes)


def test_a_picture_is_fed_and_enlarged_as_by_its_authors(make_service: MakeService, made: Generated) -> None:
    """451x300 enters as 192x128 here: the shorter side is given, bilinear on bytes, corners in place at the end."""
    coarse = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    bgr = np.asarray(cv2.resize(coarse, (451, 300), interpolation=cv2.INTER_CUBIC))
    small = np.asarray(cv2.resize(bgr, (192, 128), interpolation=cv2.INTER_LINEAR))
    with torch.inference_mode():
        planes = torch.from_numpy(small[..., ::-1].transpose(2, 0, 1)[None] / np.float32(255))
        output = reference(made.state, planes)
        enlarged = functional.interpolate(output[None], (300, 451), mode="bilinear", align_corners=True)[0, 0].numpy()
    service = make_service(name="zipdepth", weights=made.file, input_size=128, service={"strict": True})
    data = depth_of_picture(cv2.imencode(".png", bgr)[1].tobytes(), service, "depth", "npz")
    with np.load(io.BytesIO(data)) as npz:
        spread = enlarged.max() - enlarged.min()
        np.testing.assert_allclose(npz["network_output"], output[0], atol=1e-4 * spread)
        np.testing.assert_allclose(npz["inverse_depth"], enlarged, atol=1e-4 * spread)


def test_its_own_tables_may_be_missing(made: Generated, tmp_path: Path) -> None:
    bare = {key: value for key, value in made.state.items() if key not in ("mean", "std")}
    planes = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        found = load_network(SPEC, write_checkpoint("zipdepth", tmp_path / "bare.pth", bare))(planes)
        torch.testing.assert_close(found, load_network(SPEC, made.file)(planes))


def test_the_file_with_the_other_upsampler_is_refused(made: Generated, tmp_path: Path) -> None:
    """zipdepth_base.pth; the reference would run it with random numbers in the upsampler."""
    sibling = {key: value for key, value in made.state.items() if "where_conv" not in key}
    sibling |= {"decoder.convex_up.mask_pred.0.weight": torch.zeros(8, 32, 3, 3)}
    with pytest.raises(WeightsRejected) as caught:
        load_model(SPEC, write_checkpoint("zipdepth", tmp_path / "zipdepth_base.pth", sibling))
    assert caught.value.reason == "this is zipdepth_base.pth, which has another upsampler: take zipdepth_base_npu.pth"


def test_a_missing_key_is_named(made: Generated, tmp_path: Path) -> None:
    cut = {key: value for key, value in made.state.items() if key != "encoder.stage2.2.branch2.weight"}
    with pytest.raises(WeightsRejected, match=r"1 key missing \(encoder.stage2.2.branch2.weight\) of 283"):
        load_model(SPEC, write_checkpoint("zipdepth", tmp_path / "cut.pth", cut))


# -- the reference ---------------------------------------------------------------------------------


def reference(state: State, planes: Tensor) -> Tensor:
    """(n, 3, h, w) to (n, h, w): with every branch apart, in the order of the paper."""
    net = _Layers(state)
    half = net.unit("encoder.stem_half", (planes - state["mean"]) / state["std"], stride=2)
    s1 = net.blocks("encoder.stage1", net.unit("encoder.stem_quarter", half, stride=2), 2)
    s2 = net.blocks("encoder.stage2", net.block("encoder.down2", s1, stride=2), 2)
    s2 = s2 + net.norm("encoder.stage2.2.bn", net.dilated(s2, 1) + net.dilated(s2, 2))
    strips = s2.mean(3, keepdim=True) + s2.mean(2, keepdim=True)
    gate = net.norm("encoder.stage2.3.gate_conv.1", net.conv("encoder.stage2.3.gate_conv.0", strips))
    s2 = s2 * gate.sigmoid()
    s3 = net.blocks("encoder.stage3", net.block("encoder.down3", s2, stride=2), 6)
    squeezed = functional.relu(net.conv("encoder.stage3.6.fc.0", s3.mean((2, 3), keepdim=True)))
    s3 = s3 * net.conv("encoder.stage3.6.fc.2", squeezed).sigmoid()
    shares = net.conv("encoder.stage3.7.context_weight", s3).flatten(2).softmax(2)
    context = (s3.flatten(2) * shares).sum(2)[..., None, None]
    hidden = net.norm("encoder.stage3.7.transform.1", net.conv("encoder.stage3.7.transform.0", context))
    s3 = s3 + net.conv("encoder.stage3.7.transform.3", functional.relu(hidden))
    s4 = net.blocks("encoder.stage4", net.block("encoder.down4", s3, stride=2), 2)
    pooled = [net.unit("encoder.spp.cv1", s4)]
    for _ in range(3):
        pooled.append(functional.max_pool2d(pooled[-1], 5, 1, 2))
    s4 = net.unit("encoder.spp.cv2", torch.cat(pooled, 1))
    raised = functional.interpolate(net.conv("encoder.cross_scale.low_to_high", s4), size=s3.shape[2:])
    lowered = functional.avg_pool2d(net.conv("encoder.cross_scale.high_to_low", s3), 2)
    s3, s4 = s3 + 0.3 * raised, s4 + 0.3 * lowered
    x = net.unit("decoder.proj4", s4)
    for key, level in (("fuse3", s3), ("fuse2", s2), ("fuse1", s1), ("fuse_half", half)):
        up = functional.interpolate(x, size=level.shape[2:], mode="bilinear")
        joined = net.conv(f"decoder.{key}.proj_high", level) + net.conv(f"decoder.{key}.proj_low", up)
        x = functional.relu(net.norm(f"decoder.{key}.bn", joined))
    depth = net.conv("decoder.head_half", x)
    key = "decoder.convex_up.where_conv"
    y = functional.relu(net.norm(f"{key}.1", net.conv(f"{key}.0", x)))
    y = functional.relu(net.norm(f"{key}.4", net.conv(f"{key}.3", y)))
    alpha = functional.interpolate(net.conv(f"{key}.6", y), scale_factor=2, mode="bilinear").sigmoid()
    smooth = functional.interpolate(depth, scale_factor=2, mode="bilinear")
    return functional.relu(alpha * functional.interpolate(depth, scale_factor=2) + (1 - alpha) * smooth)[:, 0]


class _Layers:
    def __init__(self, state: State) -> None:
        self._state = state

    def conv(self, key: str, x: Tensor, *, stride: int = 1, dilation: int = 1) -> Tensor:
        weight = self._state[f"{key}.weight"]
        groups, padding = x.shape[1] // weight.shape[1], dilation * (weight.shape[-1] // 2)
        return functional.conv2d(x, weight, self._state.get(f"{key}.bias"), stride, padding, dilation, groups)

    def norm(self, key: str, x: Tensor) -> Tensor:
        mean, var, weight, bias = (
            self._state[f"{key}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.batch_norm(x, mean, var, weight, bias)

    def unit(self, key: str, x: Tensor, *, stride: int = 1) -> Tensor:
        return functional.relu(self.norm(f"{key}.bn", self.conv(f"{key}.conv", x, stride=stride)))

    def block(self, key: str, x: Tensor, *, stride: int = 1) -> Tensor:
        wide, point = (
            self.norm(f"{key}.{branch}.1", self.conv(f"{key}.{branch}.0", x, stride=stride))
            for branch in ("branch_3x3", "branch_1x1")
        )
        return functional.relu(wide + point + x if wide.shape == x.shape else wide + point)

    def blocks(self, key: str, x: Tensor, count: int) -> Tensor:
        for number in range(count):
            x = self.block(f"{key}.{number}", x)
        return x

    def dilated(self, x: Tensor, dilation: int) -> Tensor:
        return self.conv(f"encoder.stage2.2.branch{dilation}", x, dilation=dilation)
