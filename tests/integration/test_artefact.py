from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from streamd.depth import artefact, converter
from streamd.depth.artefact import Artefact, check_weights, prepare
from streamd.depth.files import locked, sha256_of
from streamd.depth.models import find_model
from streamd.depth.ov import openvino
from streamd.errors import DepthError, WeightsRejected
from tests.support.checkpoints import midas_small_state, write_midas_small
from tests.support.waiting import scaled

EMBEDDED = find_model("embedded")
WEIGHTS = Path(str(resources.files("streamd") / "assets" / "embedded.safetensors"))
SHA256 = sha256_of(WEIGHTS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return prepare(EMBEDDED, WEIGHTS, SHA256, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines of the children that are started."""
    started = []

    class Recorded(subprocess.Popen[str]):
        def __init__(self, command: list[str], **options: object) -> None:
            started.append(command)
            super().__init__(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    return started


@contextmanager
def child_under_way(*arguments: object, **options: object) -> Iterator[tuple[list[BaseException], Callable[[], int]]]:
    """``prepare`` on another thread: what it raises, and a wait for its child's process id."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            prepare(*arguments, **options)  # type: ignore[arg-type]
        except BaseException as error:
            raised.append(error)

    def pid() -> int:
        give_up_at = time.monotonic() + scaled(10)
        while time.monotonic() < give_up_at:
            if found := Path(f"/proc/self/task/{thread.native_id}/children").read_text().split():
                return int(found[0])
            time.sleep(0.01)
        raise AssertionError("no child was started")

    thread = threading.Thread(target=run)
    thread.start()
    yield raised, pid
    thread.join(scaled(30))
    assert not thread.is_alive()


@pytest.mark.parametrize(("width", "height"), [(256, 128), (256, 192), (128, 256), (256, 256), (320, 64)])
def test_equals_torch_at_any_size_and_batch(made: Artefact, width: int, height: int) -> None:
    from streamd.depth.models.export import TorchNetwork

    planes = np.random.default_rng(width * height).standard_normal((2, 3, height, width), np.float32)
    compiled = openvino.Core().compile_model(made.xml, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    expected = TorchNetwork(EMBEDDED, WEIGHTS)(planes)
    np.testing.assert_allclose(compiled(planes)[0], expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


def test_calibration_holds_frames_of_the_demo_and_what_torch_makes_of_them(made: Artefact) -> None:
    with np.load(made.calibration) as calibration:
        inputs, outputs = calibration["inputs"], calibration["outputs"]
    assert inputs.shape == (8, 3, 128, 256)
    assert outputs.shape == (8, 128, 256)
    assert inputs.dtype == outputs.dtype == np.float32
    assert all(np.abs(inputs[0] - other).mean() > 0.01 for other in inputs[1:])


def test_profile_has_the_proof_of_what_it_chose(made: Artefact) -> None:
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    precisions = made.profile.precisions
    assert set(precisions) == ({"fp32", "bf16"} if "BF16" in capabilities else {"fp32"})
    assert precisions["fp32"].error < 1e-4
    assert precisions[made.chosen].error <= 0.01
    assert all(measured.ms > 0 for measured in precisions.values())
    assert (made.profile.width, made.profile.height) == (256, 128)


def test_the_second_time_starts_no_child(made: Artefact, children: list[list[str]]) -> None:
    assert prepare(EMBEDDED, WEIGHTS, SHA256, made.directory.parent) == made
    assert children == []


def test_another_cpu_gets_its_own_profile_without_torch(made: Artefact, children: list[list[str]]) -> None:
    artefact.profile_path(made.directory).unlink()
    before = made.xml.stat().st_mtime_ns
    again = prepare(EMBEDDED, Path("/weights/are/not/read"), SHA256, made.directory.parent)
    assert set(again.profile.precisions) == set(made.profile.precisions)
    assert made.xml.stat().st_mtime_ns == before
    assert len(children) == 1


def test_neither_parent_nor_openvino_import_torch(made: Artefact) -> None:
    code = (
        "import sys, threading; from pathlib import Path; from streamd.depth.artefact import prepare;"
        "from streamd.depth.models import find_model; from streamd.depth.ov import openvino;"
        f"prepare(find_model('embedded'), Path({str(WEIGHTS)!r}), {SHA256!r}, Path({str(made.directory.parent)!r}));"
        "assert 'torch' not in sys.modules;"
        "assert threading.active_count() == 1, 'telemetry'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_killed_child_leaves_no_half_artefact(made: Artefact, tmp_path: Path) -> None:
    (tmp_path / f".{made.directory.name}-half").mkdir()
    with child_under_way(EMBEDDED, WEIGHTS, SHA256, tmp_path) as (raised, pid):
        os.kill(pid(), signal.SIGKILL)
    assert "killed by SIGKILL" in str(raised[0])
    assert isinstance(raised[0], DepthError)
    assert leftovers(tmp_path) == set()


def test_a_stopped_parent_ends_its_child(tmp_path: Path) -> None:
    stop = threading.Event()
    with child_under_way(EMBEDDED, WEIGHTS, SHA256, tmp_path, stop=stop) as (raised, pid):
        child = pid()
        stop.set()
    assert str(raised[0]) == "model embedded: conversion interrupted"
    assert not Path(f"/proc/{child}").exists()
    assert leftovers(tmp_path) == set()


def test_it_does_not_wait_for_ever(tmp_path: Path) -> None:
    with pytest.raises(DepthError, match="conversion took more than 0 s"):
        prepare(EMBEDDED, WEIGHTS, SHA256, tmp_path, timeout_s=0.2)
    assert leftovers(tmp_path) == set()


def test_two_at_once_convert_once(made: Artefact, tmp_path: Path, children: list[list[str]]) -> None:
    damaged = tmp_path / made.directory.name
    damaged.mkdir()
    (damaged / "model.xml").write_text("<net")
    with child_under_way(EMBEDDED, WEIGHTS, SHA256, tmp_path) as (raised, _):
        again = prepare(EMBEDDED, WEIGHTS, SHA256, tmp_path)
    assert raised == []
    assert len(children) == 1
    assert again.xml.read_bytes() == made.xml.read_bytes()
    assert leftovers(tmp_path) == {damaged.name}


def test_a_stopped_parent_does_not_wait_for_another(made: Artefact, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with (
        locked(tmp_path / f".{made.directory.name}.lock", 1),
        pytest.raises(DepthError, match="interrupted while another process is at work here"),
    ):
        prepare(EMBEDDED, WEIGHTS, SHA256, tmp_path, stop=stop)


def test_a_file_that_lost_its_tail_is_no_artefact(made: Artefact, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(made.directory, tmp_path / "copy"))
    assert artefact.is_whole(copy)
    os.truncate(copy / "model.bin", 1_000_000)
    assert not artefact.is_whole(copy)


def test_weights_that_changed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsRejected, match="its sha256 is no longer 0000"):
        prepare(EMBEDDED, WEIGHTS, "0" * 64, tmp_path)


def test_the_reason_of_the_child_arrives(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(WEIGHTS.read_bytes()[:100_000])
    with pytest.raises(WeightsRejected) as caught:
        prepare(EMBEDDED, tmp_path / "bad.safetensors", sha256_of(tmp_path / "bad.safetensors"), tmp_path / "cache")
    assert caught.value.file == str(tmp_path / "bad.safetensors")
    assert caught.value.reason.startswith("not a readable checkpoint, or cut short")
    assert leftovers(tmp_path / "cache") == set()


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DepthError, match=r"file: file exists$"):
        prepare(EMBEDDED, WEIGHTS, SHA256, tmp_path / "file")


def test_check_takes_good_weights() -> None:
    check_weights(EMBEDDED, WEIGHTS)


def test_check_finds_weights_that_load_but_give_no_depth(tmp_path: Path) -> None:
    import torch

    state = midas_small_state()
    state["pretrained.layer1.1.running_var"].neg_()
    torch.save(state, tmp_path / "bad.pt")
    with pytest.raises(WeightsRejected, match="the network gives NaN or infinite depth"):
        converter.check(find_model("midas_small"), tmp_path / "bad.pt")


def test_midas_small_all_the_way(tmp_path: Path) -> None:
    weights = write_midas_small(tmp_path / "random.pt")
    made = prepare(find_model("midas_small"), weights, sha256_of(weights), tmp_path / "cache")
    assert made.profile.precisions["fp32"].error < 1e-4
    assert json.loads((made.directory / "artefact.json").read_text())["model"] == "midas_small"
    with np.load(made.calibration) as calibration:
        assert (calibration["outputs"] > 0).any()


def leftovers(cache: Path) -> set[str]:
    """What lies in the cache, but for locks."""
    return {path.name for path in cache.iterdir() if path.suffix != ".lock"}
