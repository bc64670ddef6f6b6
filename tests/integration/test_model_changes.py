"""Another model while streams go on: nobody loses an answer, and what cannot be changes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from streamd.concurrency import threads
from streamd.config.sections import ModelConfig
from streamd.depth.governing import Meter
from streamd.depth.models import MODELS, Download
from streamd.depth.preprocess import network_size
from streamd.depth.process import WorkerProcess
from streamd.depth.service import DepthService
from streamd.depth.store import ModelStore
from streamd.errors import Busy, ConfigError, DepthError, InferenceFailed, ModelMissing, UsageError
from streamd.media.frames import FloatImage
from streamd.telemetry.metrics import resident_bytes
from tests.integration.conftest import Installed, MakeService, Notes
from tests.support.fileserver import serve_file
from tests.support.waiting import scaled

pytestmark = pytest.mark.timeout(90, func_only=True)

PICTURE = (320, 180)
GAP_S = 1.0
"""Twice what a quiet box keeps to: tests share theirs. tests/soak measures it."""
EMBEDDED = ModelConfig(name="embedded", precision="fp32", threads=1, download=False)
MIDAS = EMBEDDED.model_copy(update={"name": "midas_small"})


@pytest.fixture
def both(tmp_path: Path, embedded: Installed, midas_weights: Path) -> ModelStore:
    """Both models are here."""
    store = ModelStore(tmp_path / "both", embedded.cache, check=lambda *_: None)
    store.import_file("midas_small", midas_weights)
    return store


class Viewer:
    """Asks as a live stream does, one at a time, and notes when it got an answer and from whom."""

    def __init__(self, service: DepthService) -> None:
        self._service = service
        self.stop = threading.Event()
        self.answers: list[tuple[float, str]] = []
        self.lost: list[str] = []

    def run(self) -> None:
        while not self.stop.is_set():
            if not self._service.is_ready(0.25):
                continue
            try:
                info = self._service.wait_ready(0.0)
                width, height = network_size(*PICTURE, info.spec.preprocessing)
                planes = np.zeros((3, height, width), np.float32)
                self._service.submit(info, planes, picture=PICTURE).result(scaled(20))
            except InferenceFailed as error:
                if error.reason not in ("changed", "stopped"):
                    self.lost.append(str(error))
                continue
            self.answers.append((time.monotonic(), info.spec.name))
            time.sleep(0.02)

    @property
    def worst_gap_s(self) -> float:
        times = [when for when, _ in self.answers]
        return max(b - a for a, b in pairwise(times))


@contextmanager
def watched(service: DepthService) -> Iterator[Viewer]:
    viewer = Viewer(service)
    with service.leased(live=True):
        service.wait_ready(20)
        thread = threads.start("viewer", viewer.run)
        try:
            yield viewer
        finally:
            viewer.stop.set()
            thread.join()
    thread.finished.result()


def outcome(future: Future[None], within_s: float = 30) -> BaseException | None:
    return future.exception(scaled(within_s))


def running(service: DepthService) -> str:
    info = service.info
    assert info is not None
    return info.spec.name


def notes(service: DepthService) -> Notes:
    assert isinstance(service._supervisor.events, Notes)
    return service._supervisor.events


def test_changes_under_a_viewer_leave_no_gap_and_nothing_behind(make_service: MakeService, both: ModelStore) -> None:
    service, sizes = make_service(service={"store": both}), []
    with watched(service) as viewer:
        for number in range(6):
            config = MIDAS if number % 2 == 0 else EMBEDDED
            assert outcome(service.change(config)) is None
            assert running(service) == service.status.wanted == config.name
            sizes.append(resident_bytes(service.worker_pid or 0))
        time.sleep(0.1)
    assert viewer.lost == notes(service).lost == []
    assert viewer.worst_gap_s < scaled(GAP_S)
    names = [name for _, name in viewer.answers]
    assert sum(a != b for a, b in pairwise(names)) == 6, "from one to the other, and no going back"
    assert service.status.message is None
    assert max(sizes[2:4]) < 1.05 * max(sizes[4:])


def test_the_next_worker_knows_the_sizes_of_the_streams_before_it_answers(
    make_service: MakeService, both: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make_service(service={"store": both})
    prepared: list[tuple[int, ...]] = []
    with watched(service):
        submit = WorkerProcess.submit

        def noted(worker: WorkerProcess, planes: FloatImage, **more: bool) -> Future[FloatImage]:
            if worker.job.model == "midas_small" and running(service) == "embedded":
                prepared.append(planes.shape)
            return submit(worker, planes, **more)

        monkeypatch.setattr(WorkerProcess, "submit", noted)
        assert outcome(service.change(MIDAS)) is None
    assert prepared == [(3, 128, 256)]


@pytest.mark.parametrize("fault", ["missing", "damaged"])
def test_what_cannot_run_changes_nothing(make_service: MakeService, both: ModelStore, fault: str) -> None:
    service = make_service(service={"store": both})
    service.wait_ready(20)
    before, pid = service.config, service.worker_pid
    file, _ = both.weights("midas_small")
    if fault == "missing":
        file.with_name("manifest.json").unlink()
    else:
        file.write_bytes(b"x" * file.stat().st_size)
    error = outcome(service.change(MIDAS))
    assert isinstance(error, ModelMissing if fault == "missing" else DepthError)
    assert (service.config, service.wanted, service.worker_pid) == (before, before, pid)
    assert "MiDaS v2.1 small was not taken: " in (service.status.message or "")
    assert outcome(service.change(EMBEDDED)) is None
    assert service.worker_pid == pid, "what runs already is not started again"
    assert service.status.message is None


def test_a_size_that_the_network_does_not_take_is_refused_at_once(make_service: MakeService) -> None:
    service = make_service()
    service.wait_ready(20)
    with pytest.raises(ConfigError, match="multiple of 32"):
        service.change(EMBEDDED.model_copy(update={"input_size": 100})).result(scaled(20))
    assert service.status.message is None, "who asked knows"
    assert (service.wanted, service.worker_pid is None) == (EMBEDDED, False)


def test_another_precision_threads_or_size_is_a_change_too(make_service: MakeService) -> None:
    service = make_service()
    service.wait_ready(20)
    assert outcome(service.change(EMBEDDED.model_copy(update={"input_size": 128, "threads": 2}))) is None
    info = service.wait_ready(0)
    assert info.spec.preprocessing.input_size == 128
    assert service._supervisor._current.serving is not None
    assert service._supervisor._current.serving.worker.job.threads == 2


def test_the_newest_change_counts(make_service: MakeService, both: ModelStore) -> None:
    service = make_service(service={"store": both})
    service.wait_ready(20)
    asked = [service.change(config) for config in (MIDAS, EMBEDDED, MIDAS, EMBEDDED)]
    assert outcome(asked[-1]) is None
    assert running(service) == "embedded"
    superseded = [future.exception(scaled(5)) for future in asked[1:3]]
    assert all(isinstance(error, InferenceFailed) and error.reason == "changed" for error in superseded)


def test_a_change_while_nobody_looks_is_tried_and_rests(
    make_service: MakeService, both: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamd.depth.demand.REST_AFTER_S", 0.05)
    service = make_service(lazy=True, service={"store": both})
    assert outcome(service.change(MIDAS)) is None
    assert (service.worker_pid, service.config.name) == (None, "midas_small")
    with service.leased():
        assert service.wait_ready(20).spec.name == "midas_small"


def test_the_end_ends_what_waits(make_service: MakeService, both: ModelStore) -> None:
    service = make_service(service={"store": both})
    asked = service.change(MIDAS)
    service.close()
    assert isinstance(outcome(asked), InferenceFailed)
    assert isinstance(outcome(service.change(EMBEDDED)), InferenceFailed)


class TestFetch:
    """Of weights that are not here."""

    @staticmethod
    def store(tmp_path: Path, embedded: Installed, url: str, sha256: str = "") -> ModelStore:
        spec = replace(MODELS["midas_small"], download=Download(url, sha256))
        models = {"midas_small": spec, "embedded": MODELS["embedded"]}
        return ModelStore(tmp_path / "models", embedded.cache, models=models, check=lambda *_: None)

    def test_they_are_fetched_and_then_changed_over_to(
        self, make_service: MakeService, midas_small: Installed, midas_weights: Path, tmp_path: Path
    ) -> None:
        with serve_file(midas_weights.read_bytes()) as server:
            store = self.store(tmp_path, midas_small, server.url, midas_small.sha256)
            service, told = make_service(service={"store": store}), []
            with watched(service) as viewer:
                service.watchers.add(lambda: told.append((service.status.info, service.status.wanted)))
                assert outcome(service.change(MIDAS.model_copy(update={"download": True}))) is None
                assert running(service) == "midas_small"
        assert viewer.worst_gap_s < scaled(GAP_S)
        assert {(info.spec.name, wanted) for info, wanted in told if info} >= {
            ("embedded", "midas_small"),
            ("midas_small", "midas_small"),
        }
        assert service.status.message is None

    def test_one_that_fails_is_told_and_can_be_given_up(
        self, make_service: MakeService, embedded: Installed, tmp_path: Path
    ) -> None:
        service = make_service(service={"store": self.store(tmp_path, embedded, "http://127.0.0.1:9/none")})
        service.wait_ready(20)
        asked = service.change(MIDAS.model_copy(update={"download": True}))
        give_up_at = time.monotonic() + scaled(10)
        while "could not be fetched" not in (service.status.message or ""):
            assert time.monotonic() < give_up_at
            time.sleep(0.01)
        assert (service.status.wanted, running(service)) == ("midas_small", "embedded")
        entry = next(entry for entry in service.catalogue() if entry.status.spec.name == "midas_small")
        assert entry.fetch is not None
        assert entry.fetch.error
        assert entry.fetch.active, "it is wanted: tried again now and then"
        assert outcome(service.change(EMBEDDED)) is None
        assert isinstance(outcome(asked), InferenceFailed)
        assert (service.status.wanted, service.status.message) == ("embedded", None)

    def test_ahead_of_a_change(
        self, make_service: MakeService, midas_small: Installed, midas_weights: Path, tmp_path: Path
    ) -> None:
        with serve_file(midas_weights.read_bytes()) as server:
            store = self.store(tmp_path, midas_small, server.url, midas_small.sha256)
            service = make_service(service={"store": store})
            service.fetch("midas_small")
            give_up_at = time.monotonic() + scaled(60)
            while service.catalogue()[0].status.path is None:
                assert time.monotonic() < give_up_at
                time.sleep(0.02)
        assert service.wait_ready(20).spec.name == service.status.wanted == "embedded"
        assert outcome(service.change(MIDAS)) is None

    def test_of_what_cannot_be_fetched(self, make_service: MakeService) -> None:
        service = make_service()
        with pytest.raises(UsageError, match="nothing to fetch"):
            service.fetch("embedded")
        with pytest.raises(UsageError, match="unknown"):
            service.fetch("nonsense")

    def test_of_too_many_at_once(self, make_service: MakeService, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("streamd.depth.fetcher.MAX_FETCHES", 0)
        with pytest.raises(Busy, match="being fetched already"):
            make_service().fetch("midas_small")


def test_the_governor_lowers_the_input_under_a_viewer_and_raises_it_again(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rates and times are the test's, workers are real."""
    clock, busy = [0.0], [0.95]
    service = make_service(min_fps=15)
    governing = service._governing
    monkeypatch.setattr(governing.meter, "read", lambda now_s, lanes: busy[0])

    def second(fps: float | None) -> int:
        clock[0] += 1.0
        serving = service._current.serving
        governing.step(clock[0], fps, fps or 0.0, serving)
        return serving.info.spec.preprocessing.input_size if serving else 0

    def until_size(fps: float, done: Callable[[int], bool]) -> None:
        give_up_at = time.monotonic() + scaled(20)
        while not done(second(fps)):
            assert time.monotonic() < give_up_at
            time.sleep(0.02)

    with watched(service) as viewer:
        assert second(None) == 256
        until_size(8.0, lambda size: size < 200)
        assert service.status.full_input_size == 256
        lowered = service.wait_ready(0).spec.preprocessing.input_size
        for _ in range(20):
            assert second(15.5) == lowered, "enough, and no room for more"
        busy[0] = 0.2
        until_size(29.0, lambda size: size == 256)
    assert viewer.lost == notes(service).lost == []
    assert viewer.worst_gap_s < scaled(GAP_S)
    sizes = [info.spec.preprocessing.input_size for info in notes(service).running]
    assert sizes[0] == sizes[-1] == 256
    assert min(sizes) == lowered


def test_without_min_fps_nothing_is_lowered(make_service: MakeService) -> None:
    service = make_service()
    service.wait_ready(20)
    for _ in range(10):
        service.govern(0.1, 0.1)
    assert len(notes(service).running) == 1


def test_the_meter_tells_how_busy_the_network_is() -> None:
    meter = Meter()
    assert meter.read(10.0, 1) == 0.0
    for _ in range(4):
        meter.add(0.2)
    assert meter.read(11.0, 1) == pytest.approx(0.8)
    meter.add(1.5)
    assert meter.read(12.0, 2) == pytest.approx(0.75)
    meter.add(9.0)
    assert meter.read(13.0, 1) == 1.0
    meter.add(0.02)
    meter.add(0.04)
    for now_s in (14.0, 15.0):
        meter.read(now_s, 1)
        assert meter.each_s == pytest.approx(0.03), "also while nothing is inferred"


def test_a_manifest_that_goes_before_its_turn_is_refused(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    service = make_service()
    service.wait_ready(30)
    monkeypatch.setattr("streamd.depth.supervisor.check_model", lambda config: None)
    gone = service.config.model_copy(update={"name": str(tmp_path / "gone.toml")})
    assert isinstance(outcome(service.change(gone)), ConfigError)
    assert (running(service), service.wanted.name) == ("embedded", "embedded")
