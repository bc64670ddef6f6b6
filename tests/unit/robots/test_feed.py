"""New frames of running streams, each once, to every output at its own rate."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from streamd.config.sections import StreamConfig
from streamd.robots.feed import RobotFeed
from streamd.robots.sample import Sample
from tests.unit.robots.test_sample import frame

pytestmark = pytest.mark.timeout(10)


class Output:
    def __init__(self) -> None:
        self.got: list[str] = []
        self.removed: list[str] = []
        self.closed = False
        self.fails = False
        self.more = threading.Semaphore(0)

    def publish(self, stream: str, sample: Sample) -> None:
        self.got.append(stream)
        self.more.release()
        if self.fails:
            raise OSError("no space left on the disk")

    def remove(self, stream: str) -> None:
        self.removed.append(stream)
        self.more.release()

    def close(self) -> None:
        self.closed = True


class Fleet(dict[str, Any]):
    """As much of one as the feed needs."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.watchers: set[Any] = set()
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        config = StreamConfig(source="demo:")
        self[name] = stream = Stream(name=name, newest=frame(), config=config, calibration=None)
        for watcher in self.watchers:
            watcher(stream, "added")

    def remove(self, name: str) -> None:
        stream = self.pop(name)
        for watcher in self.watchers:
            watcher(stream, "removed")


class Stream(SimpleNamespace):
    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)


async def next_of(output: Output) -> None:
    assert await asyncio.to_thread(output.more.acquire, timeout=5)


async def test_each_frame_once_to_each_output() -> None:
    fleet, one, other = Fleet("porch"), Output(), Output()
    streams: Any = fleet
    feed = RobotFeed(streams, [(one, 1000.0), (other, 1000.0)])
    feed.start()
    try:
        await next_of(one)
        await next_of(other)
        fleet["porch"].newest = frame()
        await next_of(one)
        fleet.add("yard")
        await next_of(one)
        assert one.got == ["porch", "porch", "yard"]
        fleet.remove("porch")
        await next_of(one)
        assert one.removed == ["porch"]
    finally:
        await feed.close()
    assert one.closed
    assert other.closed
    assert fleet.watchers == set()


async def test_an_output_that_fails_harms_neither_the_other_nor_the_next_frame(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fleet, full, good = Fleet("porch"), Output(), Output()
    full.fails = True
    streams: Any = fleet
    feed = RobotFeed(streams, [(full, 1000.0), (good, 1000.0)])
    feed.start()
    try:
        for _ in range(3):
            await next_of(good)
            fleet["porch"].newest = frame()
        await next_of(good)
    finally:
        await feed.close()
    assert len(full.got) >= 4
    assert [record.getMessage() for record in caplog.records] == [
        "stream porch: robots do not get it: no space left on the disk"
    ]


async def test_frames_beyond_the_rate_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    fleet, slow, quick = Fleet("porch"), Output(), Output()
    streams: Any = fleet
    feed = RobotFeed(streams, [(slow, 10.0), (quick, 1000.0)])
    for _ in range(6):
        now += 0.05
        fleet["porch"].newest = frame()
        feed._look(fleet["porch"])
    assert len(quick.got) == 6
    assert len(slow.got) == 3


async def test_without_an_output_nothing_runs() -> None:
    streams: Any = Fleet("porch")
    feed = RobotFeed(streams, [])
    feed.start()
    assert "robots" not in [thread.name for thread in threading.enumerate()]
    await feed.close()
