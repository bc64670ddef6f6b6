"""Networks of files, by a manifest: OpenVINO IR made on the spot; ONNX is in test_onnx.py."""

from __future__ import annotations

import io
import re
import tomllib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from streamd.depth.graph.openvino import load_model
from streamd.depth.models import find_model
from streamd.depth.ov import openvino as ov
from streamd.depth.preprocess import still_input
from streamd.depth.profile import check_weights
from streamd.depth.service import DepthService
from streamd.errors import WeightsRejected
from streamd.jobs.picture import depth_of_picture
from streamd.media.frames import FloatImage
from tests.integration.conftest import MakeService
from tests.support.small_networks import depth_of, write_ir, write_manifest

DOCUMENT = Path(__file__).parents[2] / "docs/models.md"
PLANES = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)


def run(manifest: Path, planes: FloatImage = PLANES) -> FloatImage:
    spec = find_model(str(manifest))
    assert spec.file is not None
    compiled = ov.Core().compile_model(load_model(spec, spec.file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(compiled(planes)[0])


@pytest.mark.parametrize(
    ("shape", "output"),
    [
        ((1, 3, 64, 64), None),
        ((1, 64, 64, 3), None),
        ((1, 3, 64, 64), (1, 64, 64)),
        ((1, 64, 64, 3), (64, 64)),
        ((1, 3, 64, 64), (64, 64, 1)),
        ((-1, 3, -1, -1), None),
        ((-1, -1, -1, 3), None),
    ],
)
def test_whatever_the_layout(shape: tuple[int, ...], output: tuple[int, ...] | None, tmp_path: Path) -> None:
    found = run(write_manifest(write_ir(tmp_path / "small.xml", shape, output=output)))
    np.testing.assert_allclose(found, depth_of(PLANES), atol=1e-5)


def test_half_precision_goes_in(tmp_path: Path) -> None:
    found = run(write_manifest(write_ir(tmp_path / "small.xml", (1, 3, 64, 64), dtype=np.float16)))
    np.testing.assert_allclose(found, depth_of(PLANES), atol=5e-3)


def test_a_size_that_follows_the_picture(tmp_path: Path) -> None:
    manifest = write_manifest(write_ir(tmp_path / "small.xml", (1, 3, -1, -1)), fit="lower_bound")
    planes = PLANES[:, :, :32].copy()
    np.testing.assert_allclose(run(manifest, planes), depth_of(planes), atol=1e-5)


@pytest.mark.parametrize(
    ("made", "given", "reason"),
    [
        (
            {"halved": True, "shape": (1, 3, -1, -1)},
            {"fit": "upper_bound"},
            "its output is 32x32, its input 64x64: they should be the same",
        ),
        ({"outputs": 2}, {}, r"it has 2 outputs \(.*\): it should have one"),
        ({"output": (4096,)}, {}, "its output is 4096: it should be one number for each pixel"),
        ({"halved": True}, {}, "its output is 32x32, its input 64x64: they should be the same"),
        ({}, {"size": "128"}, "its input is 64x64, and the manifest's size is 128x128"),
        ({}, {"fit": "minimal"}, 'its input is fixed at 64x64: set fit = "exact" and this size'),
    ],
)
def test_one_line_says_why_it_cannot_be_run(
    made: dict[str, Any], given: dict[str, str], reason: str, tmp_path: Path
) -> None:
    manifest = write_manifest(write_ir(tmp_path / "small.xml", **{"shape": (1, 3, 64, 64), **made}), **given)
    with pytest.raises(WeightsRejected, match=rf"^{tmp_path}/small.xml: weights refused: {reason}$"):
        run(manifest)


@pytest.mark.parametrize("name", ["small.xml", "small.onnx"])
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>\n", b"\x08\x07\x12\x04"])
def test_a_file_that_is_none(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "small.bin").write_bytes(b"")
    spec = find_model(str(write_manifest(tmp_path / name)))
    assert spec.file is not None
    with pytest.raises(WeightsRejected) as caught:
        load_model(spec, spec.file)
    assert "\n" not in str(caught.value)
    assert len(caught.value.reason) < 300


def answer(service: DepthService, rgb: np.ndarray) -> dict[str, Any]:
    _, picture = cv2.imencode(".png", rgb[..., ::-1])
    with np.load(io.BytesIO(depth_of_picture(picture.tobytes(), service, "depth", "npz"))) as arrays:
        return {key: arrays[key] for key in arrays}


def test_a_picture_goes_through_it(make_service: MakeService, tmp_path: Path) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (90, 160, 3), np.uint8)
    manifest = write_manifest(
        write_ir(tmp_path / "small.xml", (1, 48, 80, 3)), size="[80, 48]", colours='"bgr"', polarity='"depth"'
    )
    service = make_service(name=str(manifest), service={"strict": True})
    service.wait_ready(60)
    found = answer(service, rgb)
    planes = still_input(rgb, find_model(str(manifest)).preprocessing)[None]
    assert found["network_output"].shape == (48, 80)
    np.testing.assert_allclose(found["network_output"], depth_of(planes)[0], atol=1e-5)
    assert [str(found[key]) for key in ("model", "polarity", "runtime")] == ["small", "depth", "openvino"]
    assert found["inverse_depth"].shape == (90, 160)
    assert np.corrcoef(found["inverse_depth"].ravel(), rgb.mean(axis=2).ravel())[0, 1] < -0.2, "turned round"


def test_one_that_is_deleted_while_it_runs_takes_nothing_down(make_service: MakeService, tmp_path: Path) -> None:
    manifest = write_manifest(write_ir(tmp_path / "small.xml", (1, 3, 64, 64)))
    service = make_service(name=str(manifest))
    service.wait_ready(60)
    manifest.unlink()
    assert (service.status.state, service.status.full_input_size) == ("ready", 64)
    assert service.memory_limit == 1_000_000 * service.config.memory_limit_mb
    service.govern(None, 0.0)
    assert answer(service, np.zeros((64, 64, 3), np.uint8))["network_output"].shape == (64, 64)


def test_what_is_wrong_with_a_file_is_reported_as_that(make_service: MakeService, tmp_path: Path) -> None:
    manifest = write_manifest(write_ir(tmp_path / "small.xml", (1, 3, 64, 64), outputs=2))
    with pytest.raises(WeightsRejected, match="2 outputs"):
        make_service(name=str(manifest), service={"strict": True}).wait_ready(60)
    spec = find_model(str(manifest))
    assert spec.file is not None
    with pytest.raises(WeightsRejected, match="2 outputs"):
        check_weights(spec, spec.file)


MANIFESTS = re.findall(r"^```toml\n(name = .*?)```$", DOCUMENT.read_text(), re.M | re.S)


@pytest.mark.parametrize("text", MANIFESTS, ids=lambda text: tomllib.loads(text)["name"])
def test_what_the_documents_show(text: str, tmp_path: Path) -> None:
    """With a small network in place of the file that they name."""
    shown = tomllib.loads(text)
    write_ir(tmp_path / "small.xml", (1, 3, 256, 256))
    (tmp_path / "shown.toml").write_text(text.replace(shown["file"], "small.xml"))
    planes = np.random.default_rng(0).standard_normal((1, 3, 256, 256)).astype(np.float32)
    np.testing.assert_allclose(run(tmp_path / "shown.toml", planes), depth_of(planes), atol=1e-5)


def test_the_documents_show_some() -> None:
    assert len(MANIFESTS) >= 2
