"""Streams that come and go while others run."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from streamd.concurrency import threads
from streamd.concurrency.backoff import Backoff
from streamd.config.sections import RecordingConfig, StreamConfig
from streamd.errors import Stopping
from streamd.media.hub import Subscription
from streamd.streams import capture, kept
from streamd.streams.fleet import Fleet
from streamd.streams.kept import KeptStreams, Streams
from streamd.streams.kept_file import KeptFile
from streamd.streams.stream import Stream
from streamd.telemetry.metrics import Metrics
from tests.support.played import PlayedCamera, PlayedService
from tests.support.waiting import scaled, timeout, wait_for

pytestmark = pytest.mark.timeout(20)


class Bench:
    def __init__(
        self, configured: Mapping[str, StreamConfig] | None = None, keeping: KeptStreams | None = None
    ) -> None:
        self.metrics = Metrics()
        self.cameras: dict[str, PlayedCamera] = {}
        self.stop = asyncio.Event()
        configured = configured or {"porch": config(), "yard": config()}
        self.fleet = Fleet(self._make, self.metrics.forget, configured, keeping)

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

    async def change(self, name: str, **settings: object) -> None:
        """As PATCH does."""

        def merge(wanted: StreamConfig | None) -> StreamConfig:
            if wanted is None:
                raise KeyError(name)
            return wanted.model_copy(update=settings)

        await self.fleet.change(name, merge)

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
    assert await bench.fleet.put("door", config())
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
    await bench.fleet.put("by-hand", config())
    await bench.running("by-hand")
    seat = Subscription(bench.fleet["yard"].hub("depth"), on_drop=lambda count: None)
    await bench.fleet.apply({"yard": config(), "garage": config()})
    await bench.running("garage")
    assert set(bench.fleet) == {"yard", "garage", "by-hand"}
    assert (bench.cameras["yard"].opened, bench.cameras["by-hand"].opened) == (1, 1)
    assert not seat.closed
    seat.close()


async def test_a_stream_that_is_put_again_changes(bench: Bench) -> None:
    assert not await bench.fleet.put("porch", config(max_fps=5))
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
    await bench.fleet.put("door", config())
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

    monkeypatch.setattr(bench.fleet["porch"]._life, "_take_settings", fail)
    await bench.fleet.put("porch", config(max_fps=5))
    async with timeout(5):
        while "internal error" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    await bench.running("yard")


async def test_two_changes_lose_nothing(bench: Bench) -> None:
    """H8: each is merged into what is wanted then, not into what is in force."""
    await asyncio.gather(bench.change("porch", max_fps=5.0), bench.change("porch", height=480))
    await bench.change("porch", overlay_alpha=0.25)
    wanted = bench.fleet["porch"].wanted
    assert (wanted.max_fps, wanted.height, wanted.overlay_alpha) == (5.0, 480, 0.25)
    await wait_for(bench.fleet["porch"].settings_in_force(), 5)
    assert bench.fleet["porch"].config == wanted


async def test_nothing_is_added_or_changed_while_it_stops(bench: Bench) -> None:
    """M2: nobody would stop it."""
    bench.stop.set()
    await asyncio.sleep(0)
    for request in (
        bench.fleet.put("door", config()),
        bench.fleet.put("porch", config(max_fps=5)),
        bench.fleet.remove("porch"),
        bench.fleet.apply({"garage": config()}),
    ):
        with pytest.raises(Stopping):
            await request


async def test_a_stream_begins_when_the_one_of_its_name_has_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L8: two on one camera would take it from each other."""
    monkeypatch.setattr(capture, "LEAVE_S", 5.0)
    before = bench.cameras["porch"]
    before.stuck = threading.Event()
    removing = asyncio.create_task(bench.fleet.remove("porch"))
    await asyncio.sleep(0)
    adding = asyncio.create_task(bench.fleet.put("porch", config()))
    await asyncio.sleep(0.05)
    assert not removing.done()
    assert not adding.done()
    assert "porch" not in bench.fleet
    before.stuck.set()
    await removing
    assert await adding
    await bench.running("porch")
    assert bench.cameras["porch"] is not before


async def test_who_gives_up_waiting_for_an_end_does_not_spoil_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "LEAVE_S", 5.0)
    stuck = bench.cameras["porch"].stuck = threading.Event()
    removing = asyncio.create_task(bench.fleet.remove("porch"))
    await asyncio.sleep(0.01)
    removing.cancel()
    adding = asyncio.create_task(bench.fleet.put("porch", config()))
    await asyncio.sleep(0.05)
    assert not adding.done()
    stuck.set()
    assert await adding
    await bench.running("porch")
    assert bench.series("porch") > 10


async def test_a_reload_removes_what_the_api_removes_at_the_same_time(bench: Bench) -> None:
    """M1: a KeyError ended the daemon."""
    await asyncio.gather(bench.fleet.remove("porch"), bench.fleet.apply({}))
    assert not bench.fleet


async def test_origin_says_who_added_a_stream(bench: Bench) -> None:
    await bench.fleet.put("door", config())
    await bench.fleet.put("porch", config(max_fps=5))
    assert {name: stream.origin for name, stream in bench.fleet.items()} == {
        "porch": "file",
        "yard": "file",
        "door": "api",
    }
    await bench.fleet.apply({"yard": config(), "door": config(max_fps=3)})
    assert {name: stream.origin for name, stream in bench.fleet.items()} == {"yard": "file", "door": "file"}
    assert bench.fleet["door"].wanted.max_fps == 3


async def test_a_stream_of_the_file_is_back_with_the_next_reload(bench: Bench) -> None:
    await bench.fleet.remove("porch")
    await bench.fleet.put("yard", config(max_fps=5))
    await bench.fleet.apply({"porch": config(), "yard": config()})
    await bench.running("porch")
    assert bench.fleet["yard"].wanted == config()


async def test_an_end_that_is_cut_short_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "LEAVE_S", 5.0)
    bench = Bench()
    running = asyncio.create_task(bench.fleet.run(bench.stop))
    await bench.running("porch", "yard")
    stuck = bench.cameras["porch"].stuck = threading.Event()
    bench.stop.set()
    await asyncio.sleep(0.05)
    assert not running.done()
    running.cancel()
    await asyncio.wait([running], timeout=2)
    assert running.cancelled()
    assert threads.any_abandoned()
    stuck.set()


NAMES = ("a", "b", "c", "d")


class UnsteadyDisk:
    """Each call of a thread waits for some turns of the event loop, and some fail, as a seed has it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.loop = asyncio.get_running_loop()
        self.fails = self.random.random() < 0.5

    def delay(self) -> None:
        asyncio.run_coroutine_threadsafe(self._turns(self.random.choice([0, 3, 30])), self.loop).result(scaled(10))
        if self.fails and self.random.random() < 0.3:
            raise OSError(28, "No space left on device")

    async def _turns(self, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    def slowed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def later(*arguments: Any) -> Any:
            self.delay()
            return call(*arguments)

        return later


class NotedStreams(KeptStreams):
    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.named: set[str] = set()
        """All that were ever wanted."""

    def want(self, streams: Streams) -> None:
        self.named.update(streams)
        super().want(streams)


class Interleaving:
    """Requests of several clients at once, a reload now and then, and the end, in an order that a seed makes, on a
    disk that is slow or full at times."""

    def __init__(self, seed: int, file: Path) -> None:
        self.random = random.Random(seed)
        self.file = KeptFile(file)
        self.disk = UnsteadyDisk(seed)
        self.before = {name: {"source": f"rtsp://{name}/"} for name in self.random.sample([*NAMES, "e", "f"], 3)}
        self.unread = {"later": {"source": "demo:", "colour": [seed]}}
        self.file.read()
        self.file.write({**self.before, **self.unread}, {"version": 1})
        self.file.release()
        self.kept = NotedStreams(file)
        self.bench = Bench({name: config() for name in self.random.sample(NAMES, 2)}, self.kept)

    async def run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as slow:
            for call in ("read", "write"):
                slow.setattr(KeptFile, call, self.disk.slowed(getattr(KeptFile, call)))
            slow.setattr(kept, "WAIT_S", self.random.choice([0.0, 5.0]))
            await self._run()
        self._what_is_wanted_is_kept()

    async def _run(self) -> None:
        await self.bench.fleet.restore()
        running = asyncio.create_task(self.bench.fleet.run(self.bench.stop))
        clients = [asyncio.create_task(self._client()) for _ in range(4)]
        for _ in range(self.random.randrange(40)):
            await asyncio.sleep(0)
        if self.random.random() < 0.5:
            await asyncio.gather(*clients)
            await self._nothing_is_lost()
        self.bench.stop.set()
        await asyncio.gather(running, *clients)
        self.disk.fails = False
        await self.kept.close(scaled(5))
        alive = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith(("stream-", "source-"))]
        assert not alive
        while any(thread.name == "kept-streams" for thread in threading.enumerate()):  # the disk lets go later  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    def _what_is_wanted_is_kept(self) -> None:
        """And what was not understood, or came too late to be started and has not been changed."""
        file = KeptFile(self.file.path)
        entries = file.read().entries
        file.release()
        wanted = {name: stream.wanted for name, stream in self.bench.fleet.items() if stream.origin == "api"}
        assert {name: StreamConfig.model_validate(entries[name]) for name in wanted} == wanted
        left = {name: entry for name, entry in entries.items() if name not in wanted}
        assert self.unread.items() <= left.items()
        assert left.items() <= {**self.before, **self.unread}.items()
        assert not left.keys() & self.kept.named

    async def _client(self) -> None:
        for _ in range(self.random.randrange(1, 6)):
            for _ in range(self.random.randrange(6)):
                await asyncio.sleep(0)
            name, fleet = self.random.choice(NAMES), self.bench.fleet
            request = self.random.choice(["put", "patch", "patch", "delete", "reload"])
            with suppress(Stopping):
                if request == "put":
                    await fleet.put(name, config(height=self.random.choice([240, 480])))
                elif request == "reload":
                    await fleet.apply({name: config() for name in self.random.sample(NAMES, 2)})
                else:
                    with suppress(KeyError):
                        await (self.bench.change(name, max_fps=5.0) if request == "patch" else fleet.remove(name))

    async def _nothing_is_lost(self) -> None:
        """Concurrent changes of different keys, when all is quiet."""
        await self.bench.fleet.put("a", config())
        keys = [("max_fps", 7.0), ("height", 480), ("overlay_alpha", 0.1), ("linger_s", 3.0)]
        self.random.shuffle(keys)
        await asyncio.gather(*(self.bench.change("a", **{key: value}) for key, value in keys))
        stream = self.bench.fleet["a"]
        await stream.settings_in_force()
        assert {key: getattr(stream.config, key) for key, _ in keys} == dict(keys)


@pytest.mark.timeout(100)
async def test_whatever_comes_at_once_nothing_is_lost_and_nothing_hangs(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(kept, "BACKOFF", Backoff(first_s=0))
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    began = {thread.name for thread in threading.enumerate()}
    for seed in range(200):
        async with timeout(10):
            await Interleaving(seed, tmp_path / f"{seed}.json").run(monkeypatch)
        assert "internal error" not in caplog.text, seed
        assert "Traceback" not in caplog.text, seed
        caplog.clear()
    assert {thread.name for thread in threading.enumerate()} <= began
