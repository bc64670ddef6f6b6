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
        self[name] = stream = Stream(name=name, newest=frame(), config=config, calibrated=None)
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


def feed_of(fleet: Fleet, output: Output, max_fps: float = 1000.0) -> RobotFeed:
    streams: Any = fleet
    return RobotFeed("robots", streams, output, max_fps)


async def test_each_frame_once() -> None:
    fleet, output = Fleet("porch"), Output()
    feed = feed_of(fleet, output)
    feed.start()
    try:
        await next_of(output)
        fleet["porch"].newest = frame()
        await next_of(output)
        fleet.add("yard")
        await next_of(output)
        assert output.got == ["porch", "porch", "yard"]
        fleet.remove("porch")
        await next_of(output)
        assert output.removed == ["porch"]
    finally:
        await feed.close()
    assert output.closed
    assert fleet.watchers == set()


async def test_an_output_that_fails_gets_the_next_frame(caplog: pytest.LogCaptureFixture) -> None:
    fleet, full = Fleet("porch"), Output()
    full.fails = True
    feed = feed_of(fleet, full)
    feed.start()
    try:
        for _ in range(3):
            await next_of(full)
            fleet["porch"].newest = frame()
        await next_of(full)
    finally:
        await feed.close()
    assert [record.getMessage() for record in caplog.records] == [
        "stream porch: robots do not get it: no space left on the disk"
    ]


async def test_a_frame_that_cannot_be_made_a_sample_of_harms_no_other_stream(caplog: pytest.LogCaptureFixture) -> None:
    fleet, output = Fleet("odd", "porch"), Output()
    fleet["odd"].newest = SimpleNamespace()
    feed = feed_of(fleet, output)
    feed.start()
    try:
        await next_of(output)
        fleet["porch"].newest = frame()
        await next_of(output)
    finally:
        await feed.close()
    assert output.got == ["porch", "porch"]
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["stream odd"]


def test_metres_are_of_this_very_frame() -> None:
    """A newer one may be of another network, for which the calibration does not hold, or does."""
    fleet, output = Fleet("porch"), Output()
    stream = fleet["porch"]
    asked: list[Any] = []
    stream.calibrated = SimpleNamespace(of=asked.append)
    feed_of(fleet, output)._look(stream)
    assert asked == [stream.newest.frame]


async def test_an_output_that_is_held_up_holds_up_no_other() -> None:
    """A disk that hangs, say."""
    fleet, held, good = Fleet("porch"), Output(), Output()
    let_go = threading.Event()
    held.publish = lambda stream, sample: let_go.wait(10)  # type: ignore[assignment,method-assign]
    feeds = [feed_of(fleet, held), feed_of(fleet, good)]
    for feed in feeds:
        feed.start()
    try:
        for _ in range(3):
            await next_of(good)
            fleet["porch"].newest = frame()
    finally:
        let_go.set()
        for feed in feeds:
            await feed.close()


def test_frames_beyond_the_rate_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    fleet, slow, quick = Fleet("porch"), Output(), Output()
    feeds = [feed_of(fleet, slow, 10.0), feed_of(fleet, quick)]
    for _ in range(6):
        now += 0.05
        fleet["porch"].newest = frame()
        for feed in feeds:
            feed._look(fleet["porch"])
    assert len(quick.got) == 6
    assert len(slow.got) == 3
