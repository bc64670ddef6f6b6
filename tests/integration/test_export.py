"""Networks for other programs: each file is read by the program that it is for, and answers alike."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from streamd import cli
from streamd.cli import models
from streamd.depth.export import FORMATS, Source, export, reference, triton
from streamd.depth.export.reference import Reference
from streamd.depth.ov import openvino as ov
from streamd.errors import DepthError, SinkError, UsageError
from streamd.media.frames import ByteImage
from tests.integration.conftest import Installed

EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


@pytest.fixture
def source(embedded: Installed) -> Source:
    return Source(embedded.spec, embedded.weights, embedded.sha256)


def listed(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def picture() -> ByteImage:
    return np.random.default_rng(0).integers(0, 256, (1, 96, 160, 3), np.uint8)


def planes_of(picture: ByteImage) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Of the embedded network: mean and deviation are 0.5."""
    return ((picture / 255 - 0.5) / 0.5).transpose(0, 3, 1, 2).astype(np.float32)


def test_openvino(source: Source, embedded: Installed, tmp_path: Path, picture: ByteImage) -> None:
    made = export(source, "openvino", tmp_path / "a" / "b")
    assert listed(tmp_path) == ["a/b/embedded.bin", "a/b/embedded.xml"]
    assert made.error == 0
    assert made.size_bytes > 15_000_000
    model = ov.Core().read_model(made.path)
    assert model.get_rt_info(["streamd", "licence"]).astype(str) == "MIT"
    network = ov.Core().compile_model(model, "CPU", EXACT)
    planes = planes_of(picture)
    np.testing.assert_array_equal(network({"planes": planes})["depth"][0], embedded.compiled()(planes[0]))


def test_onnx(source: Source, embedded: Installed, tmp_path: Path, picture: ByteImage) -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("streamd.depth.ort").onnxruntime
    made = export(source, "onnx", tmp_path)
    assert listed(tmp_path) == ["embedded.onnx"]
    onnx.checker.check_model(str(made.path), full_check=True)
    session = onnxruntime.InferenceSession(str(made.path), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["weights_sha256"] == embedded.sha256
    planes = planes_of(picture)
    (depth,) = session.run(["depth"], {"planes": np.concatenate([planes, planes])})
    expected = embedded.compiled()(planes[0])
    np.testing.assert_allclose(depth, np.stack([expected] * 2), atol=1e-4 * float(np.ptp(expected)))


def test_torchscript(source: Source, embedded: Installed, tmp_path: Path, picture: ByteImage) -> None:
    import torch

    made = export(source, "torchscript", tmp_path)
    assert listed(tmp_path) == ["embedded.pt"]
    planes = planes_of(picture)
    with pytest.warns(FutureWarning), torch.no_grad():
        depth = torch.jit.load(str(made.path))(torch.from_numpy(planes)).numpy()  # type: ignore[no-untyped-call]
    expected = embedded.compiled()(planes[0])
    np.testing.assert_allclose(depth[0], expected, atol=1e-4 * float(np.ptp(expected)))


def test_torchscript_of_one_size(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tracing made constants of what depends on the size."""
    from streamd.depth.export import torchscript

    monkeypatch.setattr(torchscript, "trace", lambda *_: None)
    monkeypatch.setattr(torchscript.torch.jit, "save", lambda *_: None)  # type: ignore[attr-defined]
    compared = Reference(source)

    def run(planes: Any) -> Any:
        if planes.shape[2:] != (128, 256):
            raise RuntimeError("sizes of tensors must match")
        return compared._expected[0]

    monkeypatch.setattr(torchscript, "loaded", lambda _: run)
    made = export(source, "torchscript", tmp_path)
    assert (made.error, made.only) == (0, "256x128")


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_triton(
    backend: str,
    source: Source,
    embedded: Installed,
    tmp_path: Path,
    picture: ByteImage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its own server is not here; ``1/model.py`` runs as its python backend would run it."""
    if backend == "onnxruntime":
        pytest.importorskip("streamd.depth.ort")
    else:
        monkeypatch.setattr(triton, "find_spec", lambda _: None)
    export(source, "triton", tmp_path)
    models = ["1/model.onnx"] if backend == "onnxruntime" else ["1/model.bin", "1/model.xml"]
    assert listed(tmp_path / "embedded") == sorted([*models, "1/model.py", "config.pbtxt", "configs/python.pbtxt"])
    config = (tmp_path / "embedded/config.pbtxt").read_text()
    assert 'name: "embedded"' in config
    assert f'backend: "{backend}"' in config
    assert 'backend: "python"' in (tmp_path / "embedded/configs/python.pbtxt").read_text()

    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", played_triton())
    served: dict[str, Any] = {}
    exec((tmp_path / "embedded/1/model.py").read_text(), served)
    model = served["TritonPythonModel"]()
    model.initialize({"model_repository": str(tmp_path / "embedded"), "model_version": "1"})
    ((answer,),) = model.execute([{"pictures": np.concatenate([picture, picture])}])
    expected = embedded.compiled()(planes_of(picture)[0])
    assert answer.name == "depth"
    np.testing.assert_allclose(answer.value, np.stack([expected] * 2), atol=1e-4 * float(np.ptp(expected)))


def played_triton() -> ModuleType:
    module: Any = ModuleType("triton_python_backend_utils")
    module.get_input_tensor_by_name = lambda request, name: SimpleNamespace(as_numpy=lambda: request[name])
    module.Tensor = lambda name, value: SimpleNamespace(name=name, value=value)
    module.InferenceResponse = lambda tensors: tensors
    return module


def test_triton_of_a_network_of_one_size() -> None:
    config = triton.config("zipdepth", "onnxruntime", 384)
    assert "dims: [ 384, 384, 3 ]" in config
    assert "dims: [ 384, 384 ]" in config


def test_coreml_takes_the_place_of_what_was_there(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tools are not among ours."""

    class Model(SimpleNamespace):
        def save(self, path: str) -> None:
            Path(path, "Data").mkdir(parents=True)
            Path(path, "Data", "model").write_bytes(b"made")

    module: Any = ModuleType("coremltools")
    module.convert = lambda *_, **__: Model(user_defined_metadata={})
    module.TensorType = module.MagicMock = lambda *_, **__: None
    module.target = SimpleNamespace(macOS13=13)
    module.models = SimpleNamespace(MLModel=lambda *_, **__: None)
    monkeypatch.setitem(sys.modules, "coremltools", module)
    monkeypatch.delitem(sys.modules, "streamd.depth.export.coreml", raising=False)
    (tmp_path / "embedded.mlpackage").mkdir()
    (tmp_path / "embedded.mlpackage" / "old").touch()
    monkeypatch.setattr("streamd.depth.export.torchscript.trace", lambda *_: None)
    for _ in range(2):
        made = export(source, "coreml", tmp_path)
        assert (made.error, made.size_bytes, made.only) == (None, 4, "256x128")
        assert listed(tmp_path) == ["embedded.mlpackage/Data/model"]


@pytest.mark.parametrize(
    ("format", "package", "advice"),
    [
        ("onnx", "onnx", 'pip install "streamd[onnx]"'),
        ("torchscript", "torch", 'pip install "streamd[torch]"'),
        ("coreml", "coremltools", "pip install coremltools"),
    ],
)
def test_a_package_that_is_missing_is_named(
    format: Any, package: str, advice: str, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"streamd.depth.export.{format}", raising=False)
    with pytest.raises(UsageError) as caught:
        export(source, format, tmp_path)
    assert str(caught.value) == f"export to {format} needs {package}: {advice}"
    assert listed(tmp_path) == []


def test_what_answers_otherwise_is_not_kept(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "embedded.xml").write_bytes(b"before")
    from streamd.depth.export import openvino

    monkeypatch.setattr(openvino, "loaded", lambda _: lambda planes: np.zeros(planes[:, 0].shape, np.float32))
    with pytest.raises(DepthError, match=r"^the exported network differs by \d+ % from the one here: it is not kept$"):
        export(source, "openvino", tmp_path)
    assert listed(tmp_path) == ["embedded.xml"]
    assert (tmp_path / "embedded.xml").read_bytes() == b"before"


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (lambda expected: expected + 0.5 * reference.MAX_ERROR * np.ptp(expected), None),
        (lambda expected: expected + 2 * reference.MAX_ERROR * np.ptp(expected), "differs by"),
        (lambda expected: expected * np.nan, "differs by nan %"),
        (lambda expected: expected[:, 1:], "gives depth of"),
    ],
)
def test_the_comparison(answer: Callable[[Any], Any], line: str | None, source: Source) -> None:
    compared = Reference(source)
    assert [pictures.shape for pictures in compared.pictures] == [(2, 128, 256, 3), (1, 256, 128, 3)]
    answers = iter(compared._expected)
    if line is None:
        assert 0 < compared.check(lambda _: answer(next(answers))) < reference.MAX_ERROR
        return
    with pytest.raises(DepthError, match=line):
        compared.check(lambda _: answer(next(answers)))


def test_a_full_disk(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(SinkError, match="no space left on the disk"):
        export(source, "openvino", tmp_path)


def test_a_folder_that_cannot_be_made(source: Source, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match=rf"^{tmp_path}/file: {os.strerror(errno.EEXIST).lower()}$"):
        export(source, "openvino", tmp_path / "file")


class TestCommand:
    def test_it_says_what_it_made(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        given = ["models", "export", "embedded", "--format", "openvino", "--output", str(tmp_path)]
        assert cli.main(given) == 0
        assert capsys.readouterr().out == f"{tmp_path}/embedded.xml: 15.3 MB, loaded again, within 0 %\n"

    def test_what_is_missing(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["models", "export", "embedded"]) == 2
        line = "models export: say what and where: --format openvino|onnx|torchscript|coreml|triton --output DIR"
        assert capsys.readouterr().err == f"streamd: {line}\n"

    def test_it_knows_all_formats(self) -> None:
        assert models.EXPORTS == FORMATS
