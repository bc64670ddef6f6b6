"""`streamd bench`, on the embedded network."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamd import cli
from streamd.depth import trial
from streamd.depth.models import find_model
from streamd.depth.runtimes import missing_package
from streamd.depth.service import DepthService
from streamd.depth.store import ModelStore
from streamd.errors import InferenceFailed, ModelMissing
from streamd.jobs import bench, stages
from streamd.jobs.bench import Plan
from streamd.states import WorkerEnd

QUICK = 0.01


def unready(model: str) -> Any:
    raise InferenceFailed(WorkerEnd.START, f"no {model} today")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models", tmp_path / "cache")


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Without the peak, which takes its time."""
    monkeypatch.setattr(bench, "_peak", lambda: {"fp32": 100.0, "bf16": 200.0})
    return bench.bench


def test_rows_are_timed_and_compared(store: ModelStore, cheap: Callable[..., Any]) -> None:
    result = cheap(Plan(["embedded"], ["openvino"], seconds=QUICK), store, unready, quiet=True)
    *rows, last = result.rows
    assert [(row.precision, row.input) for row in rows[:2]] == [("fp32", "256x128"), ("fp32", "256x256")]
    assert [row.error for row in rows[:2]] == [0, 0]
    for row in rows:
        assert row.problem is None
        assert 0 < row.ms < 1000
        assert row.cpu_ms > 0
        assert 0 < row.fps < 1000
        assert 50 < row.mb < 1000
        peak = result.peak_gflops[row.precision]
        assert row.of_peak == pytest.approx(row.gflop / peak / (row.cpu_ms / 1000))
    if last.problem is None:
        assert last.precision == "bf16"
        assert 0 < last.error < 0.02
    else:
        assert last.problem == "precision bf16: this CPU does not have it"
    assert result.pipeline == {"model": "embedded", "problem": "depth worker start: no embedded today"}
    assert json.loads(result.to_json())["rows"][0]["input"] == "256x128"


def test_what_cannot_run_is_a_row(
    store: ModelStore, cheap: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "missing_package", lambda runtime: "torch" if runtime == "torch" else None)
    monkeypatch.setattr(bench, "TIMEOUT_S", 0.01)
    result = cheap(Plan(["embedded"], ["torch", "openvino"], ["fp32"], QUICK), store, unready, quiet=True)
    assert [(row.runtime, row.problem) for row in result.rows] == [
        ("torch", 'torch is not installed: pip install "streamd[torch]"'),
        ("openvino", "took more than 0 s"),
    ]


@pytest.mark.parametrize(
    ("program", "line"),
    [
        ("import os; os.kill(os.getpid(), 9)", r"killed by SIGKILL \(is there enough memory\?\)"),
        ("import sys; sys.exit('first\\nlast')", "last"),
        ("import sys; sys.exit(3)", "it gave no reason"),
    ],
)
def test_a_child_that_ends(program: str, line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    child = tmp_path / "child"
    child.write_text(f"#!{sys.executable}\n{program}\n")
    child.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(child))
    with pytest.raises(Exception, match=rf"^{line}$"):
        bench._child("peak")


def test_a_model_that_is_named_and_not_there(store: ModelStore) -> None:
    with pytest.raises(ModelMissing):
        bench.bench(Plan(["midas_small"]), store, unready, quiet=True)
    assert bench.installed(store) == ["embedded"]


def test_onnxruntime_has_one_precision() -> None:
    assert Plan([]).of_runtime("onnxruntime") == ("fp32",)
    assert Plan([], precisions=["bf16"]).of_runtime("onnxruntime") == ["bf16"]


def test_inputs_are_a_wide_and_a_square_picture() -> None:
    inputs = bench.make_inputs(find_model("embedded").preprocessing)
    assert {name: planes.shape for name, planes in inputs.items()} == {
        "256x128": (4, 3, 128, 256),
        "256x256": (4, 3, 256, 256),
    }


def test_stages(shared_service: DepthService) -> None:
    costs = stages.measure(str(bench.DEMO), shared_service, max_frames=4)
    assert [*costs] == ["decode", "preprocess", "infer", "range", "render", "encode"]
    assert all(0 < cost.ms < 2000 for cost in costs.values())
    assert costs["infer"].ms > costs["range"].ms


class TestTrial:
    def test_the_peak(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr(trial, "_PEAK_S", 0.05)
        assert trial.main(["peak"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert 1 < answer["fp32"] < 10_000

    def test_a_reason_is_one_line(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        (tmp_path / "w.pt").write_bytes(b"nothing")
        assert trial.main(["work", "embedded", str(tmp_path / "w.pt"), "none"]) == 1
        assert capsys.readouterr().err.count("\n") == 1

    def test_usage(self) -> None:
        assert trial.main([]) == 2


class TestCommand:
    @pytest.fixture(autouse=True)
    def home(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("STREAMD_HOME", str(tmp_path))
        monkeypatch.setattr(bench, "_peak", dict)

    def test_json_and_plot(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        given = ["bench", "--model", "embedded", "--runtime", "openvino", "--precision", "fp32"]
        plot = tmp_path / "bars.svg"
        assert cli.main([*given, "--seconds", "0.01", "--json", "--plot", str(plot)]) == 0
        result = json.loads(capsys.readouterr().out)
        assert [row["input"] for row in result["rows"]] == ["256x128", "256x256"]
        assert result["pipeline"]["precision"] == "fp32"
        assert {*result["pipeline"]["stages"]} == {"decode", "preprocess", "infer", "range", "render", "encode"}
        assert plot.read_text().count("<rect") == 3

    @pytest.mark.parametrize(
        ("given", "line"),
        [
            (["--plot", "a.gif"], "streamd: a.gif: --plot draws .svg or .png\n"),
            (["--model", "nonsense"], "streamd: model nonsense: unknown; there are: "),
        ],
    )
    def test_usage(self, given: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["bench", *given]) == 2
        assert capsys.readouterr().err.startswith(line)

    @pytest.mark.parametrize("seconds", ["0", "-1", "nan", "x", "1e9"])
    def test_seconds(self, seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit, match="2"):
            cli.main(["bench", "--seconds", seconds])
        assert "--seconds" in capsys.readouterr().err


def test_all_runtimes_are_known() -> None:
    assert all(missing_package(runtime) in (None, "torch", "onnxruntime", "onnx") for runtime in bench.RUNTIMES)
