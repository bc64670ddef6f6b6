"""A daemon among cameras that die and hang, and viewers who come and go; a report of what that did to it."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.pictures import make_clip
from tests.e2e.processes import Daemon, Metrics, resident_mb
from tests.soak.report import Held, Report, Sample, Visit
from tests.support.camera import Camera, cameras, enters
from tests.support.settings import write_settings
from tests.support.waiting import until
from tests.support.witness import Join, witnesses

RUNNING = {"dies": "running", "hangs": "running", "file": "running", "sleeper": "idle"}
"""The streams, and what each is when all is well and nobody looks."""
VIEWS = ("depth", "side-by-side", "source")
RECOVERS_S = 60.0
"""Back-off included."""
JOINS_S = 10.0
READ_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Plan:
    """``period_s`` is from one death of a camera to the next."""

    seconds: float
    period_s: float = 60.0
    sample_s: float = 5.0
    settled_s: float = 300.0
    """From when memory is to be flat."""
    viewers: int = 3
    seed: int = 0

    @property
    def away_s(self) -> float:
        """How long a camera that has died is gone."""
        return self.period_s / 6


@dataclass
class Chaos:
    """One run. Everything that happens is in its report."""

    plan: Plan
    daemon: Daemon
    dying: Camera
    hanging: Camera
    join: Join
    report: Report = field(init=False)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.report = Report(self.plan.settled_s)

    async def run(self) -> Report:
        for stream in RUNNING:  # what is made at the first use and kept is no leak
            await asyncio.gather(*(self._visit(stream, view, 1.0) for view in VIEWS))
        self.report.before = await asyncio.to_thread(self._all_is_well)
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for task in (self._sample(began), self._die(), self._hang()):
                group.create_task(task)
            for number in range(self.plan.viewers):
                group.create_task(self._come_and_go(number))
            await asyncio.sleep(self.plan.seconds)
            self._stop.set()
        self.report.after = await asyncio.to_thread(self._all_is_well)
        self.report.log = self.daemon.log
        return self.report

    def _all_is_well(self) -> Held:
        """Waits for it."""
        for name, state in RUNNING.items():
            enters(self.daemon, name, state, RECOVERS_S)
        until("nobody watches", lambda: self.daemon.metrics().value("streamd_viewers") == 0)
        return self._settled()

    def _settled(self) -> Held:
        """What it holds once that has been the same for a while: threads of what has gone end a little later."""
        same_since, held = time.monotonic(), self._held()
        while time.monotonic() - same_since < 3.0:
            now = self._held()
            if now != held:
                same_since, held = time.monotonic(), now
            time.sleep(0.2)
        return held

    def _held(self) -> Held:
        pid = self.daemon.pid
        threads, children = (
            Path(f"/proc/{pid}/task").iterdir(),
            [Path(f"/proc/{child}") for child in self.daemon.children()],
        )
        return Held(open_files(pid), _names(threads), _names(children))

    # -- what goes wrong --------------------------------------------------------------------------

    async def _die(self) -> None:
        await self._every_period("dies", 0.5, self.plan.away_s, self.dying.kill, self.dying.start)

    async def _hang(self) -> None:
        """Long enough to be noticed."""
        away_s = max(self.plan.away_s, READ_TIMEOUT_S + 1.0)
        await self._every_period("hangs", 0.0, away_s, self.hanging.hang, self.hanging.wake)

    async def _every_period(
        self, stream: str, offset: float, away_s: float, strike: Callable[[], object], heal: Callable[[], object]
    ) -> None:
        strike_at = time.monotonic() + (0.1 + offset) * self.plan.period_s
        while not self._stop.is_set():
            await self._pause(strike_at - time.monotonic())
            await asyncio.to_thread(strike)
            await self._pause(away_s)
            await asyncio.to_thread(heal)
            strike_at += self.plan.period_s
            await self._returns(stream, strike_at)

    async def _returns(self, stream: str, until_s: float) -> None:
        """Notes when pictures come again, if they do before the next blow."""
        healed_at = time.monotonic()
        while not self._stop.is_set() and time.monotonic() < until_s:
            if await asyncio.to_thread(self.daemon.state, stream) == "running":
                self.report.returns[stream].append(round(time.monotonic() - healed_at, 2))
                return
            await self._pause(0.1)
        if not self._stop.is_set():
            self.report.returns[stream].append(None)

    async def _come_and_go(self, number: int) -> None:
        chance = random.Random(self.plan.seed + number)
        while not self._stop.is_set():
            stream = chance.choice(list(RUNNING))
            view = chance.choice(VIEWS)
            self.report.visits.append(await self._visit(stream, view, chance.uniform(0.2, 0.8) * self.plan.period_s))
            await self._pause(0.1 * self.plan.period_s)

    async def _visit(self, stream: str, view: str, seconds: float) -> Visit:
        """The session must outlive whatever happens to the camera."""
        viewer = await self.join(self.daemon, stream, view)
        await viewer.sees(1, JOINS_S)
        await self._pause(seconds)
        state, known, goes_on = viewer.state, await viewer.is_known(), viewer.times_go_on()
        await viewer.close()
        return Visit(stream, view, len(viewer.seen), state == "connected" and known, goes_on)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            pass

    # -- samples ---------------------------------------------------------------------------------

    async def _sample(self, began: float) -> None:
        while not self._stop.is_set():
            sample = await asyncio.to_thread(self._read_sample, time.monotonic() - began)
            self.report.add(sample)
            await self._pause(self.plan.sample_s)

    def _read_sample(self, at_s: float) -> Sample:
        metrics, held = self.daemon.metrics(), self._held()
        streams: list[dict[str, Any]] = self.daemon.get("/api/v1/streams").json["streams"]
        return Sample(
            at_s=round(at_s, 1),
            daemon_mb=round(resident_mb(self.daemon.pid), 1),
            worker_mb=round(metrics.value("streamd_worker_resident_memory_bytes") / 1e6, 1),
            files=sum(held.files.values()),
            threads=sum(held.threads.values()),
            restarts=_restarts(metrics),
            worker_restarts=round(metrics.value("streamd_worker_restarts_total")),
            viewers=round(metrics.value("streamd_viewers")),
            loop_lag_ms=round(1e3 * metrics.value("streamd_event_loop_lag_seconds"), 1),
            latency_ms={stream["name"]: stream["latency_ms"] for stream in streams},
            states={stream["name"]: stream["state"] for stream in streams},
        )


def _restarts(metrics: Metrics) -> dict[str, int]:
    return {name: round(metrics.value("streamd_source_restarts_total", stream=name)) for name in RUNNING}


def open_files(pid: int) -> dict[str, int]:
    """How many of each kind."""
    kinds: Counter[str] = Counter()
    for entry in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):  # closed meanwhile
            name = os.readlink(f"/proc/{pid}/fd/{entry}")
            kinds["recording" if name.endswith(".mp4") else name.partition(":[")[0]] += 1
    return dict(kinds)


def _names(tasks: Iterable[Path]) -> dict[str, int]:
    """How many threads or processes have each name."""
    names: Counter[str] = Counter()
    for task in tasks:
        with suppress(OSError):  # ended meanwhile
            names[(task / "comm").read_text().strip()] += 1
    return dict(names)


async def soak(plan: Plan, folder: Path, on_sample: Callable[[Sample], None] = lambda sample: None) -> Report:
    """``folder`` takes what streamd and the cameras leave. ``on_sample`` is called with each sample."""
    async with AsyncExitStack() as stack:
        camera = stack.enter_context(cameras(folder))
        dying, hanging = [await asyncio.to_thread(camera) for _ in range(2)]
        daemon = Daemon(("--config", str(_settings(folder, dying, hanging)), "--model", "embedded"), _home(folder))
        stack.push_async_callback(asyncio.to_thread, daemon.close)
        await asyncio.to_thread(lambda: daemon.start().until_ready(within_s=60))
        join = await stack.enter_async_context(witnesses())
        chaos = Chaos(plan, daemon, dying, hanging, join)
        chaos.report.on_sample = on_sample
        return await chaos.run()


def _home(folder: Path) -> Path:
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return home


def _settings(folder: Path, dying: Camera, hanging: Camera) -> Path:
    clip = make_clip(folder / "clip.mp4", 3, rate=15)
    return write_settings(
        folder / "streamd.toml",
        {
            "dies": {"source": dying.url("small"), "read_timeout_s": READ_TIMEOUT_S},
            "hangs": {"source": hanging.url("small"), "read_timeout_s": READ_TIMEOUT_S},
            "file": {"source": str(clip), "loop": True},
            "sleeper": {
                "source": "lavfi:smptebars=size=320x180:rate=15",
                "mode": "on_demand",
                "linger_s": 1,
                "record": [],
            },
        },
        recording={"directory": str(folder / "recordings"), "segment_seconds": 60},
    )
