"""The depth worker, a real process with OpenVINO: what it answers, and what becomes of it when it fails."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streamd.concurrency import threads
from streamd.config.sections import ModelConfig
from streamd.depth import process
from streamd.depth.graph.torch import load_network
from streamd.depth.models import MODELS, Download
from streamd.depth.ov import openvino
from streamd.depth.process import WorkerProcess
from streamd.depth.profile import find_profile, profile_path
from streamd.depth.profiler import calibration_inputs
from streamd.depth.protocol import WorkerJob
from streamd.depth.runtimes import openvino as openvino_runtime
from streamd.depth.runtimes.openvino import MAX_FIXED, OpenVinoRuntime
from streamd.depth.service import DepthService
from streamd.depth.store import ModelStore
from streamd.errors import DepthError, InferenceFailed, ModelMissing
from streamd.media.frames import FloatImage
from streamd.telemetry.metrics import resident_bytes
from tests.integration.conftest import Installed, MakeService, Notes
from tests.support.fileserver import serve_file
from tests.support.leaks import children_of
from tests.support.waiting import scaled

pytestmark = pytest.mark.timeout(60, func_only=True)  # a network may have to be converted first

SIZES = [(256, 128), (128, 256), (256, 192), (256, 224), (192, 256), (256, 256), (256, 96)]
"""(width, height): more than a worker keeps compiled."""


@pytest.fixture(scope="module")
def calibration(embedded: Installed) -> tuple[FloatImage, FloatImage]:
    """Frames of the demo clip, and what torch makes of them."""
    return torch_answers(embedded)


@pytest.fixture(scope="module")
def reference(embedded: Installed) -> Callable[[FloatImage], FloatImage]:
    """The network in this process."""
    return embedded.compiled()


def torch_answers(model: Installed) -> tuple[FloatImage, FloatImage]:
    inputs = calibration_inputs(model.spec.preprocessing)
    with torch.inference_mode():
        return inputs, load_network(model.spec, model.weights)(torch.from_numpy(inputs)).numpy()


def noise(width: int, height: int, seed: int = 0) -> FloatImage:
    return np.random.default_rng(seed).standard_normal((3, height, width), np.float32)


def infer(service: DepthService, planes: FloatImage) -> FloatImage:
    return service.submit(service.wait_ready(20), planes).result(scaled(20))


def alike(found: FloatImage, expected: FloatImage, share: float = 1e-4) -> None:
    np.testing.assert_allclose(found, expected, atol=share * np.abs(expected).max(), rtol=0)


def until(done: Callable[[], object], within_s: float = 5) -> None:
    give_up_at = time.monotonic() + scaled(within_s)
    while not done():
        assert time.monotonic() < give_up_at
        time.sleep(0.005)


def notes(service: DepthService) -> Notes:
    assert isinstance(service._supervisor.events, Notes)
    return service._supervisor.events


@contextmanager
def replaced_within(service: DepthService, seconds: float) -> Iterator[int]:
    """Gives the worker's process id; it has to be another one afterwards, and answer."""
    service.wait_ready(20)
    before = service.worker_pid
    assert before is not None
    started = time.monotonic()
    yield before
    until(lambda: service.worker_pid not in (None, before), seconds)
    infer(service, noise(256, 128))
    assert time.monotonic() - started < scaled(seconds)
    assert not Path(f"/proc/{before}").exists()


class TestAnswers:
    def test_are_what_torch_gives(
        self, shared_service: DepthService, calibration: tuple[FloatImage, FloatImage]
    ) -> None:
        for planes, expected in zip(*calibration, strict=True):
            alike(infer(shared_service, planes), expected)

    def test_belong_to_their_questions(
        self, shared_service: DepthService, calibration: tuple[FloatImage, FloatImage]
    ) -> None:
        """Three streams ask at once, each with several under way."""
        inputs, outputs = calibration
        info = shared_service.wait_ready()

        def ask(first: int) -> None:
            for start in range(first, first + 5):
                order = [(start + n) % 8 for n in range(5)]
                futures = [shared_service.submit(info, inputs[n]) for n in order]
                for n, future in zip(order, futures, strict=True):
                    alike(future.result(scaled(10)), outputs[n])

        workers = [threads.start(f"asker-{n}", lambda n=n: ask(3 * n)) for n in range(3)]  # type: ignore[misc]
        for worker in workers:
            worker.finished.result(scaled(30))

    def test_of_any_size(self, shared_service: DepthService, reference: Callable[[FloatImage], FloatImage]) -> None:
        """In turns and at once, more sizes than are kept compiled."""
        info = shared_service.wait_ready()
        asked = [noise(*size, seed=n) for n in range(2) for size in SIZES]
        futures = [shared_service.submit(info, planes) for planes in asked]
        for planes, future in zip(asked, futures, strict=True):
            alike(future.result(scaled(20)), reference(planes))

    def test_wait_while_another_size_is_compiled(
        self, make_service: MakeService, embedded: Installed, tmp_path: Path
    ) -> None:
        """Which takes longer than an answer may, seven times over, and holds up everyone."""
        fresh = tmp_path / "cache"
        service = make_service(timeout_s=0.5, service={"store": ModelStore(tmp_path / "models", fresh)})
        info = service.wait_ready(20)
        infer(service, noise(*SIZES[0]))
        futures = [service.submit(info, noise(*size)) for size in SIZES[1:] for size in (size, SIZES[0])]
        assert [future.exception(scaled(20)) for future in futures] == [None] * len(futures)
        assert notes(service).lost == []

    def test_are_ours_to_keep(self, shared_service: DepthService, calibration: tuple[FloatImage, FloatImage]) -> None:
        """Not a view of memory that the next one is written to."""
        inputs, outputs = calibration
        answers = [infer(shared_service, planes) for planes in (*inputs, *inputs)]
        for answer, expected in zip(answers, (*outputs, *outputs), strict=True):
            alike(answer, expected)

    def test_tell_where_they_come_from(self, shared_service: DepthService, embedded: Installed) -> None:
        info = shared_service.wait_ready()
        assert (info.spec.name, info.runtime, info.precision) == ("embedded", "openvino", "fp32")
        assert info.sha256 == embedded.sha256
        status = shared_service.status
        assert (status.state, status.info, status.wanted, status.message) == ("ready", info, "embedded", None)
        assert shared_service.worker_memory() > 50e6

    def test_of_torch_are_the_same(
        self, make_service: MakeService, calibration: tuple[FloatImage, FloatImage], embedded: Installed
    ) -> None:
        torch = make_service(runtime="torch", memory_limit_mb=2000)
        info = torch.wait_ready(40)
        assert (info.runtime, info.precision) == ("torch", "fp32")
        inputs, outputs = calibration
        alike(torch.submit(info, inputs[0]).result(scaled(40)), outputs[0], share=1e-3)

    def test_to_questions_for_a_network_that_has_gone(self, shared_service: DepthService) -> None:
        other = replace(shared_service.wait_ready(), sha256="gone")
        with pytest.raises(InferenceFailed, match="another model runs now"):
            shared_service.submit(other, noise(256, 128))

    def test_precisions_agree(self, make_service: MakeService, calibration: tuple[FloatImage, FloatImage]) -> None:
        service = make_service(precision="auto")
        info = service.wait_ready(20)
        capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        assert info.precision == ("bf16" if "BF16" in capabilities else "fp32")
        inputs, outputs = calibration
        spread = np.subtract(*np.percentile(outputs[0], (98, 2)))
        assert np.abs(infer(service, inputs[0]) - outputs[0]).mean() < 0.01 * spread


def test_a_model_is_measured_behind_the_first_pictures(
    make_service: MakeService, embedded: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamd.depth.profiling.AFTER_S", 0.0)
    store = ModelStore(tmp_path / "models", tmp_path / "cache")
    service = make_service(precision="auto", runtime="openvino", service={"store": store})
    infer(service, noise(256, 128))
    path = profile_path(store.cache, embedded.spec, embedded.sha256)
    until(lambda: find_profile(path) is not None, 60)
    profile = find_profile(path)
    assert profile is not None
    until(lambda: service.info is not None and service.info.precision == profile.chosen, 30)
    infer(service, noise(256, 128))


class TestSizes:
    """Compiling takes a fraction of a second in which nobody else is answered."""

    @pytest.fixture
    def compiled(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
        """What was compiled, as (height, width)."""
        compiled: list[tuple[str, str]] = []
        compile_network = OpenVinoRuntime._compile

        def counted(self: OpenVinoRuntime, height: Any, width: Any) -> Any:
            compiled.append((str(height), str(width)))
            return compile_network(self, height, width)

        monkeypatch.setattr(OpenVinoRuntime, "_compile", counted)
        return compiled

    @staticmethod
    def infer_all(runtime: OpenVinoRuntime, *, live: bool) -> None:
        for slot, (width, height) in enumerate(3 * SIZES):
            planes, depth, done = (
                noise(width, height)[None],
                np.empty((1, height, width), np.float32),
                threading.Event(),
            )
            runtime.submit(slot % 4, planes, depth, lambda _, done=done: done.set(), live=live)  # type: ignore[misc]
            assert done.wait(10)
            assert runtime.is_compiled(height, width, live=live)
            assert np.ptp(depth) > 0

    def test_of_many_streams_are_compiled_once(
        self, embedded: Installed, tmp_path: Path, compiled: list[tuple[str, str]]
    ) -> None:
        job = embedded.job(tmp_path, slots=4)
        self.infer_all(OpenVinoRuntime(job), live=True)
        assert compiled == [*((str(height), str(width)) for width, height in SIZES[:MAX_FIXED]), ("32..256", "32..256")]

    def test_of_single_pictures_take_none_of_the_streams(
        self, embedded: Installed, tmp_path: Path, compiled: list[tuple[str, str]]
    ) -> None:
        job = embedded.job(tmp_path, slots=4)
        runtime = OpenVinoRuntime(job)
        self.infer_all(runtime, live=False)
        assert compiled == [("32..256", "32..256")]
        assert not runtime.is_compiled(128, 256, live=True)

    def test_of_large_networks_share_one(
        self, embedded: Installed, tmp_path: Path, compiled: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(openvino_runtime, "LARGE_BYTES", 1 << 20)
        self.infer_all(OpenVinoRuntime(embedded.job(tmp_path, slots=4)), live=True)
        assert compiled == [("32..256", "32..256")]


def test_many_streams_get_a_worker_for_many(make_service: MakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they came one by one, after the start; and nobody loses an answer."""
    monkeypatch.setattr("streamd.depth.demand.GROW_AFTER_S", 0.05)
    service = make_service(service={"max_parallel": 2}, threads=2)
    with service.leased(live=True):
        info, before = service.wait_ready(20), service.worker_pid
        with service.leased(live=True):
            while service.worker_pid == before:
                assert service.submit(info, noise(256, 128)).result(scaled(20)).shape == (128, 256)
            worker = service._supervisor._current.serving
            assert worker is not None
            assert worker.worker.job.parallel == 2
            until(lambda: service.turns._count == 3)
            infer(service, noise(256, 128))
    assert notes(service).lost == []


def test_a_worker_serves_a_process_with_very_many_descriptors(embedded: Installed, tmp_path: Path) -> None:
    """select(2) ends at 1024, the unit allows 16,384."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        job = embedded.job(tmp_path)
        worker = WorkerProcess(job, deadline_s=5, memory_limit_bytes=2**40)
        try:
            worker.ready.result(scaled(20))
            assert worker._child.channel.fileno() > 1024
            assert worker.submit(noise(64, 32)).result(scaled(20)).shape == (32, 64)
        finally:
            worker.close()
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class TestLoss:
    def test_a_killed_worker_is_replaced(self, make_service: MakeService) -> None:
        service = make_service()
        with replaced_within(service, 5) as pid:
            os.kill(pid, signal.SIGSTOP)  # so that the inferences are under way for sure
            info = service.wait_ready()
            futures = [service.submit(info, noise(256, 128)) for _ in range(4)]
            os.kill(pid, signal.SIGKILL)
            failures = [future.exception(scaled(5)) for future in futures]
        assert [type(failure) for failure in failures] == [InferenceFailed] * 4
        assert str(failures[0]) == "depth worker crashed: killed by signal 9"
        assert [failure.reason for failure in notes(service).lost] == ["crashed"]
        assert len(notes(service).running) == 2
        assert service.status.state == "ready"

    def test_a_hung_worker_is_replaced(self, make_service: MakeService) -> None:
        service = make_service(timeout_s=0.4)
        infer(service, noise(256, 128))
        with replaced_within(service, 5) as pid:
            os.kill(pid, signal.SIGSTOP)
            failure = service.submit(service.wait_ready(), noise(256, 128)).exception(scaled(5))
        assert str(failure) == "depth worker deadline: no answer within 0.4 s"
        assert [failure.reason for failure in notes(service).lost] == ["deadline"]

    def test_a_worker_that_grew_is_replaced(self, make_service: MakeService, monkeypatch: pytest.MonkeyPatch) -> None:
        service, measured = make_service(memory_limit_mb=600), resident_bytes
        with replaced_within(service, 5) as pid:
            monkeypatch.setattr(process, "resident_bytes", lambda p: 601_000_000 if p == pid else measured(p))
        assert [str(failure) for failure in notes(service).lost] == [
            "depth worker memory: 601 MB resident, allowed are 600"
        ]

    def test_a_worker_that_is_too_big_from_the_start_is_reported(
        self, make_service: MakeService, shared_service: DepthService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = shared_service.worker_pid
        monkeypatch.setattr(process, "resident_bytes", lambda pid: 0 if pid == other else 10**12)
        service = make_service(service={"strict": True})
        with pytest.raises(InferenceFailed) as caught:
            service.wait_ready(20)
        assert caught.value.reason == "memory"

    def test_resident_memory_is_measured_for_real(self, embedded: Installed, tmp_path: Path) -> None:
        job = embedded.job(tmp_path)
        worker = WorkerProcess(job, deadline_s=3, memory_limit_bytes=30_000_000)
        until(lambda: worker.failure, 10)
        assert worker.failure is not None
        assert worker.failure.reason == "memory"
        assert worker.failure.detail.endswith(" MB resident, allowed are 30")
        worker.close()

    def test_an_idle_worker_that_dies_is_replaced_too(self, make_service: MakeService) -> None:
        service = make_service()
        with replaced_within(service, 5) as pid:
            os.kill(pid, signal.SIGKILL)

    def test_it_can_die_again_and_again(self, make_service: MakeService) -> None:
        service = make_service()
        for _ in range(3):
            with replaced_within(service, 8) as pid:
                os.kill(pid, signal.SIGKILL)
        assert len(notes(service).lost) == 3

    def test_when_a_question_fails_the_worker_has_been_given_up_already(self, make_service: MakeService) -> None:
        """Else who asks again at once would ask the dead one."""
        service = make_service()
        info = service.wait_ready(20)
        pid = service.worker_pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        seen: list[object] = []
        future = service.submit(info, noise(256, 128))
        future.add_done_callback(lambda _: seen.append(service.info))
        os.kill(pid, signal.SIGKILL)
        until(lambda: seen)
        assert seen == [None]

    def test_a_worker_whose_daemon_was_killed_ends(self, embedded: Installed, tmp_path: Path) -> None:
        code = (
            "import sys, time; from pathlib import Path; from streamd.config.sections import ModelConfig\n"
            "from streamd.depth.service import DepthService; from streamd.depth.store import ModelStore\n"
            "service = DepthService(ModelConfig(name='embedded', precision='fp32', download=False),"
            " ModelStore(Path(sys.argv[1]), Path(sys.argv[2])))\n"
            "service.start(); service.wait_ready(); print(service.worker_pid, flush=True); time.sleep(60)"
        )
        command = [sys.executable, "-c", code, str(tmp_path), str(embedded.cache)]
        daemon = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert daemon.stdout is not None
        worker = int(daemon.stdout.readline())
        assert Path(f"/proc/{worker}").exists()
        daemon.kill()
        daemon.communicate()
        until(lambda: not running(worker), 3)


def running(pid: int) -> bool:
    """Zombies do not count: who inherits them may be slow to see."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class TestEnd:
    def test_close_leaves_no_process(self, make_service: MakeService) -> None:
        service, before = make_service(), children_of(os.getpid())
        infer(service, noise(256, 128))
        pid = service.worker_pid
        started = time.monotonic()
        service.close()
        assert time.monotonic() - started < scaled(2)
        assert service.worker_pid is None
        assert pid not in children_of(os.getpid())
        assert len(children_of(os.getpid())) <= len(before)
        service.close()

    def test_close_fails_what_is_under_way(self, make_service: MakeService) -> None:
        service = make_service()
        info, pid = service.wait_ready(20), service.worker_pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        futures: list[Future[FloatImage]] = [service.submit(info, noise(256, 128)) for _ in range(2)]
        service.close()
        assert {str(future.exception(0)) for future in futures} == {"depth worker stopped: closed"}
        assert notes(service).lost == [], "which is no loss"
        with pytest.raises(InferenceFailed):
            service.wait_ready(0)

    def test_close_does_not_wait_for_a_start(self, make_service: MakeService) -> None:
        service = make_service()
        until(lambda: children_of(os.getpid()))
        started = time.monotonic()
        service.close()
        assert time.monotonic() - started < scaled(3)
        with pytest.raises(InferenceFailed):
            service.wait_ready()

    def test_waiting_for_a_service_ends_with_it(self, make_service: MakeService) -> None:
        service = make_service(weights="/none", fallback="")
        waiter = threads.start("waiter", lambda: service.wait_ready(20))
        service.close()
        assert isinstance(waiter.finished.exception(scaled(5)), DepthError)


class TestChoice:
    def test_the_stand_in_runs_while_the_weights_are_missing(
        self, make_service: MakeService, caplog: pytest.LogCaptureFixture
    ) -> None:
        service = make_service(name="midas_small", fallback="embedded")
        assert service.wait_ready(20).spec.name == "embedded"
        status = service.status
        assert (status.state, status.wanted) == ("ready", "midas_small")
        assert "no weights on this machine: streamd models fetch midas_small" in (status.message or "")
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warnings) == 1
        assert "using the embedded model, whose depth is coarse" in warnings[0]

    @pytest.mark.parametrize("options", [{"service": {"strict": True}}, {"fallback": ""}, {"fallback": "midas_small"}])
    def test_without_a_stand_in_missing_weights_are_an_error(
        self, make_service: MakeService, options: dict[str, object]
    ) -> None:
        service = make_service(name="midas_small", **options)
        with pytest.raises(ModelMissing, match="model midas_small: no weights on this machine"):
            service.wait_ready(20)
        assert service.status.state == "failed"

    def test_weights_that_arrive_later_are_found(self, make_service: MakeService, tmp_path: Path) -> None:
        """Without a stand-in it looks again and again."""
        weights = tmp_path / "own.safetensors"
        service = make_service(weights=weights, fallback="")
        with pytest.raises(ModelMissing):
            service.wait_ready(20)
        asset, sha256 = ModelStore(tmp_path, tmp_path).weights("embedded")
        shutil.copy(asset, tmp_path / "copy")
        (tmp_path / "copy").rename(weights)
        until(lambda: service.is_ready(0.1), 10)
        assert service.wait_ready().sha256 == sha256

    def test_weights_of_ones_own_are_used(
        self, make_service: MakeService, midas_small: Installed, midas_weights: Path
    ) -> None:
        service = make_service(name="midas_small", weights=midas_weights, service={"strict": True})
        info = service.wait_ready(20)
        assert (info.spec.name, info.sha256) == ("midas_small", midas_small.sha256)
        inputs, outputs = torch_answers(midas_small)
        alike(infer(service, inputs[3]), outputs[3])

    def test_pictures_of_any_size_fit_into_the_default_memory(
        self, make_service: MakeService, midas_small: Installed, midas_weights: Path
    ) -> None:
        """Else a few uploads of odd shapes would cost every stream its worker."""
        service = make_service(name="midas_small", weights=midas_weights, service={"strict": True})
        for size in SIZES:
            infer(service, noise(*size))
        assert service.worker_memory() < 0.9 * 1e6 * ModelConfig().memory_limit_mb
        assert notes(service).lost == []

    def test_bad_weights_are_reported_and_the_fall_back_runs(self, make_service: MakeService, tmp_path: Path) -> None:
        bad = tmp_path / "bad.pt"
        bad.write_bytes(b"no weights")

        service = make_service(name="midas_small", weights=bad, fallback="embedded")
        assert service.wait_ready(30).spec.name == "embedded"
        assert " bad.pt: weights refused: not a readable checkpoint, or cut short" in (service.status.message or "")

    def test_the_input_size_is_the_configurations(self, make_service: MakeService) -> None:
        service = make_service(input_size=128)
        assert service.wait_ready(20).spec.preprocessing.input_size == 128
        assert infer(service, noise(128, 64)).shape == (64, 128)


def test_a_runtime_that_does_not_start_reports_why() -> None:
    lost: list[InferenceFailed] = []
    job = WorkerJob("embedded", "nonsense", "fp32", "/none", "", "/tmp", 1, 1, 2, 32, 256, 65536)
    worker = WorkerProcess(job, deadline_s=3, memory_limit_bytes=2**40, on_exit=lost.append)
    failure = worker.ready.exception(scaled(30))
    assert isinstance(failure, InferenceFailed)
    assert str(failure).startswith("depth worker start: runtime nonsense: streamd.depth.runtimes.nonsense is not")
    worker.close()
    with pytest.raises(InferenceFailed):
        worker.submit(noise(64, 32)).result(scaled(1))
    assert lost == [failure]


def test_a_question_that_cannot_be_computed_fails_alone(embedded: Installed, tmp_path: Path) -> None:
    """Of a size that is no multiple of 32: OpenVINO finds out when it compiles."""
    worker = WorkerProcess(embedded.job(tmp_path), deadline_s=3, memory_limit_bytes=2**40)
    worker.ready.result(scaled(20))
    for _ in range(5):
        failure = worker.submit(noise(62, 46)).exception(scaled(10))
        assert isinstance(failure, InferenceFailed)
        assert failure.reason == "error"
    assert worker.submit(noise(64, 32)).result(scaled(10)).shape == (32, 64)
    worker.close()


def test_changing_over_loses_no_answer(
    embedded: Installed, midas_small: Installed, midas_weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Starts on the stand-in, fetches MiDaS_small, goes on with it: every question is answered, in order."""
    caplog.set_level(logging.INFO)
    sha256 = midas_small.sha256
    with serve_file(midas_weights.read_bytes()) as server:
        spec = replace(MODELS["midas_small"], download=Download(server.url, sha256[:8]))
        models = {"midas_small": spec, "embedded": MODELS["embedded"]}
        store = ModelStore(tmp_path / "models", embedded.cache, models=models, check=lambda *_: None)
        config = ModelConfig(precision="fp32", threads=1)
        service, events = DepthService(config, store, slots=4, events=Notes()), None
        service._supervisor.events = events = Notes()
        service.start()
        answered: list[str] = []
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                info = service.wait_ready(20)
                under_way = []
                for _ in range(3):
                    try:
                        under_way.append(service.submit(info, noise(256, 128)))
                    except InferenceFailed as error:
                        assert error.reason == "changed"  # noqa: PT017
                for future in under_way:
                    assert future.result(scaled(10)).shape == (128, 256)
                    answered.append(info.spec.name)

        asker = threads.start("asker", ask)
        try:
            until(lambda: (len(events.running) == 2 and answered.count("midas_small") > 5) or asker.finished.done(), 40)
        finally:
            stop.set()
            asker.join()
            service.close()
    asker.finished.result()
    assert answered.index("midas_small") == answered.count("embedded") > 3, "one after the other, no going back"
    assert [info.spec.name for info in events.running] == ["embedded", "midas_small"]
    assert events.lost == []
    assert service.status.message is None
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


class TestLeases:
    """A box that nobody looks at holds no network."""

    @pytest.fixture
    def lazy(self, make_service: MakeService, monkeypatch: pytest.MonkeyPatch) -> DepthService:
        monkeypatch.setattr("streamd.depth.demand.REST_AFTER_S", 0.05)
        service = make_service(lazy=True)
        until(lambda: service.status.state == "idle", 20)
        return service

    def test_without_one_there_is_no_worker(self, lazy: DepthService) -> None:
        assert (lazy.info, lazy.worker_pid, lazy.worker_memory()) == (None, None, 0)

    def test_a_worker_lives_as_long_as_the_last_one(self, lazy: DepthService) -> None:
        for _ in range(2):
            with lazy.leased():
                with lazy.leased():
                    infer(lazy, noise(256, 128))
                time.sleep(0.1)  # longer than it would rest after
                infer(lazy, noise(256, 128))
                worker = lazy.worker_pid
                assert lazy.status.state == "ready"
            until(lambda worker=worker: not Path(f"/proc/{worker}").exists())  # type: ignore[misc]
            assert lazy.status.state == "idle"
        assert notes(lazy).lost == [], "to rest is no failure"

    def test_one_that_is_lost_while_leased_is_replaced(self, lazy: DepthService) -> None:
        with lazy.leased(), replaced_within(lazy, 10) as worker:
            os.kill(worker, signal.SIGKILL)

    def test_what_cannot_be_made_ready_is_reported_before_anyone_needs_it(
        self, make_service: MakeService, tmp_path: Path
    ) -> None:
        (tmp_path / "bad.pt").write_bytes(b"nothing")
        service = make_service(lazy=True, name="midas_small", fallback="", weights=tmp_path / "bad.pt")
        until(lambda: service.status.state == "failed", 30)
        assert "bad.pt" in str(service.status.message)

    def test_what_has_failed_is_forgotten_once_it_would_start(
        self, make_service: MakeService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("streamd.depth.demand.REST_AFTER_S", 0.05)
        (tmp_path / "bad.pt").write_bytes(b"nothing")
        service = make_service(lazy=True, name="midas_small", fallback="", weights=tmp_path / "bad.pt")
        until(lambda: service.status.state == "failed", 30)
        change = service.config.model_copy(update={"name": "embedded", "weights": None})
        service.change(change).result(30)
        assert (service.status.state, service.failure) == ("idle", None)
        with service.leased():
            assert service.wait_ready(30).spec.name == "embedded"
