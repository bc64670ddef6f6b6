from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from streamd.depth import profile, profiler
from streamd.depth.files import locked, sha256_of
from streamd.depth.models import find_model
from streamd.depth.ov import openvino
from streamd.depth.profile import Measured, Profile, check_weights, find_profile, measure, profile_path
from streamd.errors import DepthError, WeightsRejected
from tests.support.checkpoints import midas_small_state
from tests.support.waiting import scaled

EMBEDDED = find_model("embedded")
WEIGHTS = Path(str(resources.files("streamd") / "assets" / "embedded.safetensors"))
SHA256 = sha256_of(WEIGHTS)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def made(cache: Path) -> Profile:
    return measure(EMBEDDED, WEIGHTS, SHA256, cache)


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
    """``measure`` on another thread: what it raises, and a wait for its child's process id."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            measure(*arguments, **options)  # type: ignore[arg-type]
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


def test_it_has_the_proof_of_what_it_chose(made: Profile) -> None:
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    precisions = made.precisions
    assert set(precisions) == ({"fp32", "bf16"} if "BF16" in capabilities else {"fp32"})
    assert precisions["fp32"].error == 0
    assert precisions[made.chosen].error <= 0.01
    assert all(measured.ms > 0 for measured in precisions.values())
    assert (made.width, made.height) == (256, 128)


def test_frames_of_the_demo_are_tried() -> None:
    inputs = profiler.calibration_inputs(EMBEDDED.preprocessing)
    assert (inputs.shape, inputs.dtype) == ((8, 3, 128, 256), np.float32)
    assert all(np.abs(inputs[0] - other).mean() > 0.01 for other in inputs[1:])


def test_the_second_time_starts_no_child(made: Profile, cache: Path, children: list[list[str]]) -> None:
    assert measure(EMBEDDED, WEIGHTS, SHA256, cache) == made
    assert children == []


def test_each_cpu_has_its_own(made: Profile, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_profile(profile_path(cache, EMBEDDED, SHA256)) == made
    monkeypatch.setattr(profile, "cpu", lambda: ("another", ""))
    assert find_profile(profile_path(cache, EMBEDDED, SHA256)) is None


def test_without_torch() -> None:
    code = (
        "import sys, threading; from pathlib import Path; from streamd.depth import profiler;"
        f"profiler.check(profiler.find_model('embedded'), Path({str(WEIGHTS)!r}));"
        "assert 'torch' not in sys.modules;"
        "assert threading.active_count() == 1, 'telemetry'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_killed_child_leaves_nothing(tmp_path: Path) -> None:
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
    assert str(raised[0]) == "model embedded: interrupted"
    assert not Path(f"/proc/{child}").exists()
    assert leftovers(tmp_path) == set()


def test_it_does_not_wait_for_ever(tmp_path: Path) -> None:
    with pytest.raises(DepthError, match="trying it took more than 0 s"):
        measure(EMBEDDED, WEIGHTS, SHA256, tmp_path, timeout_s=0.2)
    assert leftovers(tmp_path) == set()


def test_two_at_once_measure_once(tmp_path: Path, children: list[list[str]]) -> None:
    with child_under_way(EMBEDDED, WEIGHTS, SHA256, tmp_path) as (raised, _):
        again = measure(EMBEDDED, WEIGHTS, SHA256, tmp_path)
    assert raised == []
    assert len(children) == 1
    assert find_profile(profile_path(tmp_path, EMBEDDED, SHA256)) == again


def test_a_stopped_parent_does_not_wait_for_another(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    lock = profile_path(tmp_path, EMBEDDED, SHA256).with_suffix(".lock")
    lock.parent.mkdir()
    with (
        locked(lock, 1),
        pytest.raises(DepthError, match="interrupted while another process is at work here"),
    ):
        measure(EMBEDDED, WEIGHTS, SHA256, tmp_path, stop=stop)


def test_weights_that_changed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsRejected, match="its sha256 is no longer 0000"):
        measure(EMBEDDED, WEIGHTS, "0" * 64, tmp_path)


def test_the_reason_of_the_child_arrives(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(WEIGHTS.read_bytes()[:100_000])
    with pytest.raises(WeightsRejected) as caught:
        measure(EMBEDDED, tmp_path / "bad.safetensors", sha256_of(tmp_path / "bad.safetensors"), tmp_path / "cache")
    assert caught.value.file == str(tmp_path / "bad.safetensors")
    assert caught.value.reason.startswith("not a readable checkpoint, or cut short")
    assert leftovers(tmp_path / "cache") == set()


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DepthError, match=r"file/profiles: not a directory$"):
        measure(EMBEDDED, WEIGHTS, SHA256, tmp_path / "file")


def test_check_takes_good_weights() -> None:
    check_weights(EMBEDDED, WEIGHTS)


def test_check_finds_impossible_numbers(tmp_path: Path) -> None:
    state = midas_small_state()
    state["pretrained.layer1.1.running_var"].neg_()
    torch.save(state, tmp_path / "bad.pt")
    with pytest.raises(WeightsRejected, match=r"1 tensor with negative variances \(pretrained.layer1.1.running_var\)"):
        profiler.check(find_model("midas_small"), tmp_path / "bad.pt")


def test_check_finds_weights_that_give_no_depth(tmp_path: Path) -> None:
    state = midas_small_state()
    state["scratch.output_conv.2.weight"].fill_(3e38)
    torch.save(state, tmp_path / "bad.pt")
    with pytest.raises(WeightsRejected, match="the network gives NaN or infinite depth"):
        profiler.check(find_model("midas_small"), tmp_path / "bad.pt")


@pytest.mark.parametrize(
    ("runtime", "precision", "best"),
    [
        ("auto", "auto", ("onnxruntime", "fp32")),
        ("auto", "fp32", ("onnxruntime", "fp32")),
        ("auto", "bf16", ("openvino", "bf16")),
        ("openvino", "auto", ("openvino", "bf16")),
        ("openvino", "fp32", ("openvino", "fp32")),
    ],
)
def test_the_fastest_of_what_is_asked_for(runtime: str, precision: str, best: tuple[str, str]) -> None:
    precisions = {"fp32": Measured(9.0, 0.0), "bf16": Measured(5.0, 0.005)}
    profile = Profile("a CPU", 2, "2026", 256, 128, precisions, "bf16", {"onnxruntime": Measured(4.0, 1e-6)})
    assert profile.best(runtime, precision) == best
    assert Profile.from_json(profile.to_json()) == profile
    slower = replace(profile, others={"onnxruntime": Measured(6.0, 1e-6)})
    assert slower.best("auto", "auto") == ("openvino", "bf16")
    assert replace(profile, others={}).best(runtime, precision)[0] == "openvino"


def leftovers(cache: Path) -> set[str]:
    """What lies in the cache, but for locks."""
    return {path.name for path in cache.glob("profiles/*") if path.suffix != ".lock"}
