from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from streamd.cli import main
from streamd.config.sections import ModelConfig, Runtime
from streamd.depth.runtimes import check_runtime, missing_package, module_of
from streamd.errors import ConfigError
from streamd.telemetry import logs
from tests.support.manifests import GOOD, written

TORCH = 'runtime torch: torch is not installed: pip install "streamd[torch]"'
ONNX = 'runtime onnxruntime: onnxruntime is not installed: pip install "streamd[onnx]"'


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with the core's packages only."""
    monkeypatch.setattr(logs, "set_up", lambda **_: None)  # of the whole process
    find, absent = importlib.util.find_spec, {"torch", "onnx", "onnxruntime"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else find(name))


@pytest.mark.usefixtures("bare")
class TestWithoutExtras:
    @pytest.mark.parametrize(("runtime", "line"), [("torch", TORCH), ("onnxruntime:CUDA", ONNX)])
    def test_one_line_says_what_to_do(
        self, runtime: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        config, picture = tmp_path / "c.toml", tmp_path / "p.png"
        config.write_text(f'[model]\nruntime = "{runtime}"\n[streams.a]\nsource = "demo:"\n')
        picture.write_bytes(b"none")
        for command in (
            ["check", str(config)],
            ["depth", str(picture), "--output", str(tmp_path / "d.png"), "--runtime", runtime],
            ["depth", str(picture), "--output", str(tmp_path / "d.png"), "--runtime", runtime, "--model", "embedded"],
        ):
            assert main(command) == 78
            assert capsys.readouterr().err == f"streamd: {line}\n"

    @pytest.mark.parametrize("runtime", ["auto", "openvino"])
    def test_the_core_is_enough(self, runtime: Runtime) -> None:
        check_runtime(ModelConfig(runtime=runtime))


def test_the_module_of_a_provider() -> None:
    assert [module_of(name) for name in ("openvino", "onnxruntime", "onnxruntime:CUDA")] == [
        "openvino",
        "onnxruntime",
        "onnxruntime",
    ]
    assert missing_package("openvino") is None


def test_what_a_runtime_cannot_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: find(name) or name)
    with pytest.raises(ConfigError, match=r"^model.precision: bf16: onnxruntime computes in fp32$"):
        check_runtime(ModelConfig(runtime="onnxruntime", precision="bf16"))
    path = str(written(tmp_path, GOOD.replace("onnx", "xml"), "garden.xml", "garden.bin"))
    runtimes: tuple[Runtime, ...] = ("onnxruntime", "torch")
    for runtime in runtimes:
        with pytest.raises(ConfigError, match=rf"^model.runtime: {runtime}: does not run .*/garden.xml$"):
            check_runtime(ModelConfig(runtime=runtime, name=path))
    check_runtime(ModelConfig(runtime="onnxruntime", name=str(written(tmp_path))))
