"""Streams that come and go while others run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from streamd.concurrency.backoff import Backoff
from streamd.config.sections import RecordingConfig, StreamConfig
from streamd.media.hub import Subscription
from streamd.streams.fleet import Fleet
from streamd.streams.stream import Stream
from streamd.telemetry.metrics import Metrics
from tests.support.played import PlayedCamera, PlayedService
from tests.support.waiting import timeout, wait_for

pytestmark = pytest.mark.timeout(20)


class Bench:
    def __init__(self) -> None:
        self.metrics = Metrics()
        self.cameras: dict[str, PlayedCamera] = {}
        self.stop = asyncio.Event()
        self.fleet = Fleet(self._make, self.metrics.forget, {"porch": config(), "yard": config()})

    def _make(self, name: str, config: StreamConfig) -> Stream:
        camera = self.cameras[name] = PlayedCamera()
        camera.film()
        return Stream(
            name,
            config,
            PlayedService(),  # type: ignore[arg-type]
            self.metrics.of_stream(name),
            RecordingConfig(),
            backoff=Backoff(first_s=0),
            open_source=camera,
        )

    async def running(self, *names: str) -> None:
        async with timeout(5):
            while any(self.fleet[name].state != "running" for name in names):  # noqa: ASYNC110
                await asyncio.sleep(0.002)

    def series(self, name: str) -> int:
        return sum(
            sample.labels.get("stream") == name
            for family in self.metrics.registry.collect()
            for sample in family.samples
        )


def config(**settings: object) -> StreamConfig:
    return StreamConfig.model_validate({"source": "rtsp://h/live", **settings})


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    running = asyncio.create_task(bench.fleet.run(bench.stop))
    await bench.running("porch", "yard")
    yield bench
    bench.stop.set()
    await wait_for(running, 5)


async def test_a_stream_comes_and_goes_and_leaves_nothing(bench: Bench) -> None:
    assert bench.fleet.put("door", config())
    await bench.running("door")
    seat = Subscription(bench.fleet["door"].hub("depth"), on_drop=lambda count: None)
    assert bench.series("door") > 10
    await bench.fleet.remove("door")
    assert list(bench.fleet) == ["porch", "yard"]
    assert seat.closed, "its viewers are told"
    assert bench.series("door") == 0
    assert bench.series("porch") > 10
    with pytest.raises(KeyError):
        await bench.fleet.remove("door")


async def test_a_file_read_again_touches_what_is_different(bench: Bench) -> None:
    bench.fleet.put("by-hand", config())
    await bench.running("by-hand")
    seat = Subscription(bench.fleet["yard"].hub("depth"), on_drop=lambda count: None)
    await bench.fleet.apply({"yard": config(), "garage": config()})
    await bench.running("garage")
    assert set(bench.fleet) == {"yard", "garage", "by-hand"}
    assert (bench.cameras["yard"].opened, bench.cameras["by-hand"].opened) == (1, 1)
    assert not seat.closed
    seat.close()


async def test_a_stream_that_is_put_again_changes(bench: Bench) -> None:
    assert not bench.fleet.put("porch", config(max_fps=5))
    async with timeout(5):
        while bench.cameras["porch"].opened < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    bench.cameras["porch"].film()
    await bench.running("porch")
    assert bench.fleet["porch"].config.max_fps == 5
    assert bench.cameras["yard"].opened == 1


async def test_watchers_are_told_of_every_change(bench: Bench) -> None:
    told: list[tuple[str, str, str]] = []
    bench.fleet.watchers.add(lambda stream, change: told.append((stream.name, change, stream.state)))
    bench.fleet.put("door", config())
    await bench.running("door")
    await bench.fleet.remove("door")
    assert told[0] == ("door", "added", "starting")
    assert ("door", "state", "running") in told
    assert told[-2:] == [("door", "state", "stopping"), ("door", "removed", "stopping")]
    assert {name for name, *_ in told} == {"door"}


async def test_a_stream_that_breaks_down_leaves_the_others_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError("test")

    monkeypatch.setattr(bench.fleet["porch"], "_change", fail)
    bench.fleet.put("porch", config(max_fps=5))
    async with timeout(5):
        while "internal error" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    await bench.running("yard")
