"""Which views are wanted, which are recorded, and how a recorder that failed is tried again."""

from __future__ import annotations

import asyncio
import errno
import logging
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from streamd.concurrency import threads
from streamd.concurrency.backoff import Backoff
from streamd.config.sections import VIEWS, RecordingConfig, View
from streamd.errors import DiskFull, SinkError
from streamd.host import memory
from streamd.sinks.recording.recorder import RecorderEvents
from streamd.streams import recorders
from streamd.streams.recorders import Recorders
from streamd.telemetry.metrics import Metrics

QUICK = Backoff(first_s=0.001, cap_s=0.001)
SLOW = Backoff(first_s=100, cap_s=100)


@dataclass
class FakeRecorder:
    """Ends when it is closed, unless its disk hangs; a test lets it fail."""

    view: str
    events: RecorderEvents
    was_full: bool
    hangs: bool = False
    closed: bool = False
    busy_s: float = 0.0
    finished: Future[None] = field(default_factory=Future)
    thread: Any = None

    def close(self) -> None:
        self.closed = True
        if not self.hangs and not self.finished.done():
            self.finished.set_result(None)

    def fail(self, error: Exception) -> None:
        self.finished.set_exception(error)


class Bench:
    def __init__(self, folder: Path | None, backoff: Backoff) -> None:
        self.made: list[FakeRecorder] = []
        self.metrics = Metrics()
        config = RecordingConfig(directory=folder)
        hubs: Any = dict.fromkeys(VIEWS)
        self.recorders = Recorders("porch", config, hubs, self.metrics.of_stream("porch"), backoff)

    def make(self, hub: object, *, view: str, events: RecorderEvents, was_full: bool, **_: object) -> FakeRecorder:
        self.made.append(FakeRecorder(view, events, was_full))
        return self.made[-1]

    def gauges(self, view: View = "depth") -> tuple[float | None, float | None]:
        """Wanted, active."""
        value, labels = self.metrics.registry.get_sample_value, {"stream": "porch", "view": view}
        return value("streamd_recording_wanted", labels), value("streamd_recording_active", labels)

    async def until(self, done: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not done():  # noqa: ASYNC110
                await asyncio.sleep(0.001)


@pytest.fixture
def make_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    def make(folder: Path | None = tmp_path, backoff: Backoff = QUICK) -> Bench:
        bench = Bench(folder, backoff)
        monkeypatch.setattr(recorders, "Recorder", bench.make)
        for recording in bench.recorders._recordings.values():
            recording._make = lambda view=recording._view, **more: bench.make(None, view=view, **more)  # type: ignore[assignment]
        return bench

    return make


@pytest.fixture
async def bench(make_bench: Callable[..., Bench]) -> AsyncIterator[Bench]:
    bench = make_bench()
    yield bench
    await bench.recorders.stop()


async def test_wanted_and_active_from_start_to_stop(bench: Bench) -> None:
    assert bench.gauges() == (0, 0)
    bench.recorders.start(["depth"])
    assert (bench.recorders.wanted, bench.recorders.active, bench.recorders.subscriptions) == (["depth"], ["depth"], 1)
    assert bench.gauges() == (1, 1)
    bench.recorders.start(["depth"])
    assert len(bench.made) == 1, "it goes on"
    await bench.recorders.stop()
    assert (bench.recorders.wanted, bench.recorders.active, bench.recorders.subscriptions) == ([], [], 0)
    assert bench.gauges() == (0, 0)


async def test_without_a_directory_nothing_is_wanted(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(None)
    bench.recorders.start(["depth"])
    assert bench.recorders.wanted == []
    assert bench.gauges() == (0, 0)


@pytest.mark.parametrize(
    "failure", [SinkError("porch/depth: recording stopped: it is away"), DiskFull("/rec", 5), ZeroDivisionError("ours")]
)
async def test_whatever_fails_is_tried_again_until_it_is_written(
    bench: Bench, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench.recorders.start(["depth"])
    for tries in range(2, 6):
        bench.made[-1].fail(failure)
        await bench.until(lambda: len(bench.made) == tries)  # noqa: B023
        assert (bench.recorders.wanted, bench.recorders.active) == (["depth"], [])
        assert str(failure) in str(bench.recorders.error)
        assert bench.gauges() == (1, 0)
        assert bench.made[-1].was_full is isinstance(failure, DiskFull)
    assert len([entry for entry in caplog.records if entry.levelno == logging.ERROR]) == 1, "once, not at every try"
    bench.made[-1].events.on_health(None)
    await bench.until(lambda: bench.recorders.error is None)
    assert bench.recorders.active == ["depth"]
    assert bench.gauges() == (1, 1)
    assert "recorded again" in caplog.text


async def test_one_view_that_fails_leaves_the_others_alone(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(backoff=SLOW)
    bench.recorders.start(["depth", "source"])
    bench.made[0].fail(OSError(errno.EIO, "broken"))
    await bench.until(lambda: bench.recorders.error)
    assert (bench.recorders.wanted, bench.recorders.active) == (["depth", "source"], ["source"])
    assert bench.recorders.subscriptions == 1
    await bench.recorders.stop()


async def test_who_asks_again_need_not_wait(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(backoff=SLOW)
    bench.recorders.start(["depth"])
    bench.made[0].fail(SinkError("away"))
    await bench.until(lambda: bench.recorders.error)
    bench.recorders.start(["depth"])
    assert len(bench.made) == 2
    assert bench.recorders.error == "away", "until something is written"
    await bench.recorders.stop()
    assert bench.recorders.error is None


async def test_after_stop_nothing_is_tried_again(bench: Bench) -> None:
    bench.recorders.start(["depth"])
    bench.made[0].fail(SinkError("away"))
    await bench.recorders.stop()
    await asyncio.sleep(0.02)
    assert len(bench.made) == 1
    assert bench.gauges() == (0, 0)


async def test_these_and_no_others(bench: Bench) -> None:
    bench.recorders.start(["depth", "source"])
    await bench.recorders.change(["source", "gray"])
    assert bench.recorders.wanted == ["source", "gray"]
    assert [one.view for one in bench.made] == ["depth", "source", "gray"], "what is recorded goes on"
    await bench.recorders.stop(["gray"])
    assert bench.recorders.wanted == ["source"]


class TestADiskThatHangs:
    @pytest.fixture
    def worker(self) -> threads.Worker:
        return threads.Worker("record-porch", lambda: None)

    async def hung(self, bench: Bench, worker: threads.Worker) -> FakeRecorder:
        bench.recorders.start(["depth"])
        recorder = bench.made[0]
        recorder.hangs, recorder.busy_s, recorder.thread = True, 60.0, worker
        return recorder

    async def test_it_is_reported_and_so_is_its_return(self, bench: Bench, worker: threads.Worker) -> None:
        recorder = await self.hung(bench, worker)
        recorder.events.on_health("the disk does not answer")
        await bench.until(lambda: bench.recorders.error == "the disk does not answer")
        assert bench.gauges() == (1, 0)
        recorder.events.on_health(None)
        await bench.until(lambda: bench.recorders.active == ["depth"])
        assert len(bench.made) == 1
        recorder.hangs = False

    async def test_the_end_does_not_wait_for_it(
        self, bench: Bench, worker: threads.Worker, caplog: pytest.LogCaptureFixture
    ) -> None:
        await self.hung(bench, worker)
        async with asyncio.timeout(1):
            await bench.recorders.stop()
        assert "its last seconds may be lost" in caplog.text
        assert worker in threads._abandoned

    async def test_one_that_is_slow_gets_its_time(
        self, bench: Bench, worker: threads.Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recorder = await self.hung(bench, worker)
        recorder.busy_s = 0.0
        stopping = asyncio.create_task(bench.recorders.stop())
        await bench.until(lambda: recorder.closed)
        recorder.finished.set_result(None)
        await asyncio.wait_for(stopping, 1)
        assert worker not in threads._abandoned

    async def test_a_second_thread_is_never_given_to_it(self, bench: Bench, worker: threads.Worker) -> None:
        recorder = await self.hung(bench, worker)
        for _ in range(3):
            await bench.recorders.stop()
            bench.recorders.start(["depth"])
        assert len(bench.made) == 1
        assert (bench.recorders.wanted, bench.recorders.active) == (["depth"], [])
        assert bench.recorders.error == "the disk does not answer"
        recorder.finished.set_result(None)
        await bench.until(lambda: len(bench.made) == 2)
        bench.made[1].events.on_health(None)
        await bench.until(lambda: bench.recorders.active == ["depth"])


async def test_reports_of_a_thread_that_outlives_the_loop_go_nowhere(tmp_path: Path) -> None:
    """In another loop, which has closed."""
    kept: list[Callable[[str | None], None]] = []

    async def start() -> None:
        recorders_ = Recorders("porch", RecordingConfig(directory=tmp_path), {}, Metrics().of_stream("porch"))
        unused: Any = None
        metrics = Metrics().of_stream("porch")
        recording = recorders.Recording("porch", "depth", unused, unused, metrics, QUICK)
        assert recorders_.wanted == []
        kept.append(recording._threadsafe(recording._update))

    await asyncio.to_thread(asyncio.run, start())
    thread = threading.Thread(target=kept[0], args=("the disk does not answer",))
    thread.start()
    thread.join(5)


async def test_views_that_are_held_go_on_afterwards(bench: Bench) -> None:
    bench.recorders.start(["depth", "overlay"])
    for _ in range(2):
        bench.recorders.hold({"overlay", "rgbd"})
        await asyncio.sleep(0)
        assert [each.view for each in bench.made if not each.closed] == ["depth"]
    assert bench.gauges("overlay") == (1, 0)
    assert bench.recorders.error == memory.SHORT
    bench.recorders.start(["rgbd"])  # waits too
    assert bench.recorders.active == ["depth"]
    bench.recorders.hold(())
    await bench.until(lambda: sorted(bench.recorders.active) == ["depth", "overlay", "rgbd"])
    assert sorted(each.view for each in bench.made if not each.closed) == ["depth", "overlay", "rgbd"]
    await bench.recorders.stop()


async def test_what_is_stopped_while_it_is_held_stays_stopped(bench: Bench) -> None:
    bench.recorders.start(["overlay"])
    bench.recorders.hold({"overlay"})
    await bench.recorders.stop()
    bench.recorders.hold(())
    assert [each for each in bench.made if not each.closed] == []
