"""ONNX models of our networks, ONNX Runtime, and ONNX files that others made. Needs the extra `onnx`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamd.depth.files import sha256_of
from streamd.depth.graph import openvino as openvino_graph
from streamd.depth.graph.external import external_files
from streamd.depth.graph.ops import Ops
from streamd.depth.graph.parameters import Parameters
from streamd.depth.models import ModelSpec, find_model
from streamd.depth.ov import openvino as ov
from streamd.depth.profile import find_profile, measure, profile_path
from streamd.errors import InferenceFailed, WeightsRejected
from streamd.media.frames import FloatImage
from tests.integration.conftest import Installed, MakeService
from tests.integration.test_graph import OPERATIONS, Function
from tests.support.checkpoints import random_state
from tests.support.small_networks import SHARES, depth_of, write_ir, write_manifest

onnx = pytest.importorskip("onnx", reason='pip install "streamd[onnx]"')
onnxruntime = pytest.importorskip("streamd.depth.ort", reason='pip install "streamd[onnx]"').onnxruntime

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from streamd.depth.graph.onnx import build_model, build_onnx  # noqa: E402
from streamd.depth.runtimes.onnxruntime import open_network  # noqa: E402

NONE = Path("none")
MORE: dict[str, Function] = {
    **OPERATIONS,
    "attention": lambda ops, x: OPERATIONS["attention"](ops, ops.transpose(x, (0, 2, 3, 1))),
    "gelu": lambda ops, x: ops.activation(x, "gelu"),
    "hard_swish": lambda ops, x: ops.activation(x, "hard_swish"),
    "silu": lambda ops, x: ops.activation(x, "silu"),
    "relu6": lambda ops, x: ops.activation(ops.multiply(x, ops.constant(np.array(9, np.float32))), "relu6"),
    "cubic": lambda ops, x: ops.resize(x, "cubic", scale=2),
    "corners": lambda ops, x: ops.resize(x, "corners", like=ops.resize(x, "bilinear", scale=3)),
    "max_pool": lambda ops, x: ops.max_pool(x, 3, stride=2, padding=1),
    "normalise": lambda ops, x: ops.normalise(x, 1),
    "standardise": lambda ops, x: ops.standardise(ops.transpose(x, (0, 2, 3, 1)), 1e-5),
    "standardise_all": lambda ops, x: ops.standardise(ops.reshape(x, (0, 3, -1)), 1e-5),
    "roll": lambda ops, x: ops.roll(x, (1, -2), (2, 3)),
    "slice": lambda ops, x: ops.slice(ops.slice(x, 1, 0, 3, 2), 2, -3),
    "transposed": lambda ops, x: ops.convolve_transposed(
        x, weight(ops, 3, 4, 3, 3), None, stride=2, padding=1, output_padding=1
    ),
    "dilated": lambda ops, x: ops.convolve(x, weight(ops, 4, 3, 3, 3), None, stride=1, padding=(2, 1), dilation=2),
    "grouped": lambda ops, x: ops.convolve(
        x, weight(ops, 3, 2, 1, 3, 3), weight(ops, 6, 1, 1), stride=2, padding=(1, 1), dilation=1
    ),
}


def weight(ops: Ops[Any], *shape: int) -> Any:
    return ops.constant(np.random.default_rng(2).standard_normal(shape).astype(np.float32))


def session(model: Any) -> Any:
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def compiled(model: ov.Model) -> ov.CompiledModel:
    return ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


@pytest.mark.parametrize("name", MORE)
def test_each_operation_agrees(name: str) -> None:
    def network(ops: Ops[Any], planes: Any) -> Any:
        y = MORE[name](ops, planes)
        return ops.reshape(y, (0, 1, -1)) if name.startswith("standard") else ops.squeeze(ops.mean(y, (1,)), 1)

    ours = session(build_model(network, Parameters({}, NONE)))
    others = compiled(openvino_graph.build_model(network, Parameters({}, NONE)))
    for size in ((4, 6), (5, 7), (5, 12), (10, 4)):
        planes = np.random.default_rng(0).standard_normal((1, 3, *size)).astype(np.float32)
        (found,) = ours.run(None, {"planes": planes})
        np.testing.assert_allclose(found, others(planes)[0], atol=1e-5)


def state_of(name: str) -> dict[str, Any]:
    return {key.removeprefix("module.depth_model."): value.numpy() for key, value in random_state(name).items()}


@pytest.mark.parametrize(("name", "side"), [("midas_small", 64), ("zipdepth", 64), ("depth_anything_v2_small", 42)])
def test_a_network_agrees(name: str, side: int) -> None:
    state, network = state_of(name), find_model(name).network
    ours = session(build_model(network, Parameters(state, NONE)))
    others = compiled(openvino_graph.build_model(network, Parameters(state, NONE)))
    for count, height, width in ((1, side, side), (2, side, 2 * side)):
        planes = np.random.default_rng(0).standard_normal((count, 3, height, width)).astype(np.float32)
        (found,), expected = ours.run(None, {"planes": planes}), others(planes)[0]
        assert found.shape == (count, height, width)
        np.testing.assert_allclose(found, expected, atol=1e-4 * float(np.ptp(expected)))


def test_wrong_weights_are_named(tmp_path: Path, midas_small: Installed) -> None:
    with pytest.raises(WeightsRejected, match="keys missing"):
        build_onnx(find_model("zipdepth"), midas_small.weights)


class TestRuntime:
    def test_runs_the_embedded_network(self, make_service: MakeService, embedded: Installed) -> None:
        planes = np.random.default_rng(0).standard_normal((3, 64, 96)).astype(np.float32)
        service = make_service(runtime="onnxruntime", precision="auto")
        info = service.wait_ready(60)
        assert (info.runtime, info.precision) == ("onnxruntime", "fp32")
        expected = embedded.compiled()(planes)
        np.testing.assert_allclose(
            service.submit(info, planes).result(30), expected, atol=1e-4 * float(np.ptp(expected))
        )
        (kept,) = embedded.cache.glob("onnx/embedded-*.onnx")
        onnx.checker.check_model(str(kept), full_check=True)

    def test_a_provider_that_there_is_not(self, make_service: MakeService) -> None:
        expected = r"runtime onnxruntime:CoreML: this onnxruntime has no such provider; it has: .*CPU"
        with pytest.raises(InferenceFailed, match=expected):
            make_service(runtime="onnxruntime:CoreML", service={"strict": True}).wait_ready(60)

    def test_auto_takes_what_was_measured_to_be_fastest(self, make_service: MakeService, embedded: Installed) -> None:
        spec, cache = embedded.spec, embedded.cache
        profile = measure(spec, embedded.weights, embedded.sha256, cache)
        assert profile.others["onnxruntime"].error < 1e-4
        assert profile == find_profile(profile_path(cache, spec, embedded.sha256))
        info = make_service(runtime="auto", precision="fp32").wait_ready(60)
        times = {"openvino": profile.precisions["fp32"].ms, "onnxruntime": profile.others["onnxruntime"].ms}
        assert info.runtime == min(times, key=times.__getitem__)


def write_onnx(path: Path, shape: list[int | str], *, axis: int, outputs: int = 1) -> Path:
    """Depth is a weighted sum of the channels, which are at ``axis``."""
    shares = numpy_helper.from_array(SHARES.reshape([3 if each == axis else 1 for each in range(4)]), "shares")
    nodes = [
        helper.make_node("Mul", ["image", "shares"], ["parts"]),
        *(helper.make_node("ReduceSum", ["parts", "axis"], [f"depth{number}"]) for number in range(outputs)),
    ]
    results = [helper.make_tensor_value_info(f"depth{number}", TensorProto.FLOAT, None) for number in range(outputs)]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        results,
        [shares, numpy_helper.from_array(np.array([axis]), "axis")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


class TestFilesOfOthers:
    def run(self, manifest: Path, tmp_path: Path, planes: FloatImage) -> tuple[FloatImage, FloatImage]:
        """By OpenVINO, and by ONNX Runtime."""
        spec: ModelSpec = find_model(str(manifest))
        assert spec.file is not None
        digest = sha256_of(spec.file)
        infer = open_network(spec, spec.file, digest, tmp_path, provider="CPU", threads=1)
        return compiled(openvino_graph.load_model(spec, spec.file))(planes)[0], infer(planes)

    @pytest.mark.parametrize(
        ("shape", "axis"),
        [([1, 3, 64, 64], 1), ([1, 64, 64, 3], 3), (["n", 3, "h", "w"], 1), (["n", "h", "w", 3], 3)],
    )
    def test_both_runtimes_run_them(self, shape: list[int | str], axis: int, tmp_path: Path) -> None:
        planes = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
        manifest = write_manifest(write_onnx(tmp_path / "small.onnx", shape, axis=axis))
        for found in self.run(manifest, tmp_path, planes):
            np.testing.assert_allclose(found, depth_of(planes), atol=1e-5)

    def test_two_outputs(self, tmp_path: Path) -> None:
        manifest = write_manifest(write_onnx(tmp_path / "small.onnx", [1, 3, 64, 64], axis=1, outputs=2))
        spec = find_model(str(manifest))
        reason = r"it has 2 outputs \(depth0, depth1\): it should have one$"
        with pytest.raises(WeightsRejected, match=reason):
            openvino_graph.load_model(spec, tmp_path / "small.onnx")
        with pytest.raises(WeightsRejected, match=reason):
            open_network(spec, tmp_path / "small.onnx", "", tmp_path, provider="CPU", threads=1)

    def test_a_file_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "small.onnx").write_bytes(b"\x08\x07\x12\x04")
        spec = find_model(str(write_manifest(tmp_path / "small.onnx")))
        with pytest.raises(WeightsRejected, match=r"onnxruntime does not take it: [^\n]{,200}$"):
            open_network(spec, tmp_path / "small.onnx", "", tmp_path, provider="CPU", threads=1)


def test_what_onnxruntime_does_not_read_is_for_openvino(tmp_path: Path) -> None:
    spec = find_model(str(write_manifest(write_ir(tmp_path / "small.xml", (1, 3, 64, 64)))))
    with pytest.raises(WeightsRejected, match="onnxruntime does not take it"):
        open_network(spec, tmp_path / "small.xml", "", tmp_path, provider="CPU", threads=1)


def test_files_that_a_model_names_are_found(tmp_path: Path) -> None:
    """Written by onnx itself."""
    numbers = onnx.numpy_helper.from_array(np.ones((3, 40), np.float32), "numbers")
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [3, 40])
    node = onnx.helper.make_node("Identity", ["numbers"], ["y"])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [output], [numbers]))
    path = tmp_path / "model.onnx"
    onnx.save_model(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert external_files(path) == [tmp_path / "weights.bin"]
    assert (tmp_path / "weights.bin").stat().st_size == 480
