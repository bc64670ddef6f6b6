"""A real Prometheus scrapes a real daemon: every query of every dashboard and rule has an answer, the number of
series is bounded by the configuration, and a stream that sleeps wakes nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from streamd import __version__
from streamd.config.sections import RECORDED_VIEWS
from streamd.states import LossReason, StreamState
from streamd.telemetry.metrics import STAGE_BUCKETS
from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Daemon
from tests.e2e.viewer import Viewer
from tests.support.monitoring import Prometheus, needs_prometheus, panel_queries, prometheus, promtool
from tests.support.ports import free_port
from tests.support.waiting import until

pytestmark = needs_prometheus

CONFIG = """
[recording]
directory = "{recordings}"
[streams.live]
source = "lavfi:testsrc2=size=320x180:rate=20"
[streams.dead]
source = "rtsp://127.0.0.1:{nobody}/gone"
[streams.asleep]
source = "demo:"
mode = "on_demand"
record = []
"""
STREAMS = {"live", "dead", "asleep"}
EXTRA = {"source": "lavfi:testsrc2=size=160x96:rate=10", "record": []}

Series = frozenset[tuple[str, frozenset[tuple[str, str]]]]


@pytest.fixture(scope="module")
def running(module_daemon: StartDaemon, tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    """One stream runs and is recorded, one has a camera that is not there, one sleeps."""
    folder = tmp_path_factory.mktemp("monitored")
    file = folder / "streamd.toml"
    file.write_text(CONFIG.format(recordings=folder / "recordings", nobody=free_port()))
    daemon = module_daemon("--config", file)
    until("the stream runs", lambda: daemon.state("live") == "running")
    until("the other is lost", lambda: daemon.metrics().value("streamd_source_restarts_total", stream="dead") > 0)
    return daemon


@pytest.fixture(scope="module")
def watcher(running: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with prometheus(tmp_path_factory.mktemp("prometheus"), instance(running)) as scraping:
        yield scraping


def instance(daemon: Daemon) -> str:
    return daemon.url.removeprefix("http://").rstrip("/")


@asynccontextmanager
async def viewing(daemon: Daemon, stream: str = "live", *, viewers: int = 1) -> AsyncIterator[None]:
    async with aiohttp.ClientSession() as client:
        joined = [Viewer(client, f"{daemon.url}whep/{stream}") for _ in range(viewers)]
        try:
            await asyncio.gather(*(viewer.join() for viewer in joined))
            await asyncio.gather(*(viewer.sees(1) for viewer in joined))
            yield
        finally:
            await asyncio.gather(*(viewer.close() for viewer in joined))


def unanswered(ask: Callable[[str], object], queries: dict[str, str]) -> Callable[[], bool]:
    """Whether all of them have been answered by now; takes those that have out of ``queries``."""

    def look() -> bool:
        for name in [name for name, query in queries.items() if ask(query)]:
            del queries[name]
        return not queries

    return look


async def all_answered(watcher: Prometheus, queries: dict[str, str]) -> None:
    """Each has had at least one number within the deadline."""
    assert queries
    try:
        await asyncio.to_thread(until, "every query has an answer", unanswered(watcher.ask, queries))
    except AssertionError as error:
        raise AssertionError(f"no data for {json.dumps(queries, indent=1)}") from error


# -- queries ----------------------------------------------------------------------------------


def test_promtool_finds_no_fault(running: Daemon) -> None:
    promtool("check", "metrics", stdin=running.get("/metrics").text)


async def test_every_panel_of_every_dashboard_has_data(running: Daemon, watcher: Prometheus) -> None:
    queries = panel_queries()
    asked = {query.panel: query.asked(instance=instance(running), stream="live") for query in queries}
    async with viewing(running):
        await all_answered(watcher, asked)


async def test_every_rule_has_data(running: Daemon, watcher: Prometheus) -> None:
    recorded = watcher.rules("record")
    async with viewing(running):
        await all_answered(watcher, {rule["name"]: rule["query"] for rule in recorded})
        await all_answered(watcher, {f"{rule['name']} as recorded": rule["name"] for rule in recorded})
    assert {rule["health"] for rule in watcher.rules("record") + watcher.rules("alert")} == {"ok"}


def test_a_dead_camera_raises_an_alert_and_a_sleeping_one_does_not(running: Daemon, watcher: Prometheus) -> None:
    def streams_of(alert: str) -> set[str]:
        return {each["labels"]["stream"] for each in watcher.alerts() if each["labels"]["alertname"] == alert}

    until("the dead camera is noticed", lambda: streams_of("StreamdSourceDown"))
    assert streams_of("StreamdSourceDown") == {"dead"}
    assert not [each for each in watcher.alerts() if each["labels"].get("stream") == "asleep"]
    assert watcher.ask('streamd_stream_state{stream="asleep", state="idle"} == 1')


# -- how many series --------------------------------------------------------------------------


def allowed(model: dict[str, str]) -> dict[str, set[str]]:
    """Every value that a label may have: from the configuration, the code's fixed lists, and the model."""
    skips = {"superseded", "overflow", "max_fps", "error", "disk", "corrupt", "late"}
    losses = {reason.value for reason in LossReason}
    keyframes = {"join", "pli", "overflow", "segment"}
    deaths = {"crashed", "deadline", "memory", "start", "stopped", "changed", "error"}
    return {
        "stream": STREAMS,
        "view": set(RECORDED_VIEWS),
        "state": set(StreamState),
        "stage": {"decode", "wait", "preprocess", "infer", "render", "encode"},
        "le": {str(edge) for edge in STAGE_BUCKETS} | {"+Inf"},
        "streamd_frames_skipped_total reason": skips,
        "streamd_source_restarts_total reason": losses,
        "streamd_keyframe_requests_total reason": keyframes,
        "streamd_worker_restarts_total reason": deaths,
        "model": {model["name"]},
        "runtime": {model["runtime"]},
        "precision": {model["precision"]},
        "sha256": {model["sha256"]},
        "version": {__version__},
    }


def series(daemon: Daemon) -> Series:
    return frozenset((sample.name, frozenset(sample.labels.items())) for sample in daemon.metrics().samples)


def settled(daemon: Daemon) -> Series:
    """Without those that a reason brings to life, whenever it first occurs; how many these are is bounded too."""
    return frozenset((name, labels) for name, labels in series(daemon) if "reason" not in dict(labels))


def all_of(daemon: Daemon, stream: str) -> Series:
    return frozenset((name, labels) for name, labels in series(daemon) if ("stream", stream) in labels)


async def test_labels_come_from_the_configuration_alone(running: Daemon) -> None:
    async with viewing(running, viewers=2):
        samples = (await asyncio.to_thread(running.metrics)).samples
        model = (await asyncio.to_thread(running.stream, "live"))["model"]
    values = allowed(model)
    for sample in samples:
        if sample.name.startswith("streamd_"):
            for label, value in sample.labels.items():
                there_are = values[f"{sample.name} {label}" if label == "reason" else label]
                assert value in there_are, sample


async def test_viewers_that_go_leave_no_series_behind(running: Daemon) -> None:
    async with viewing(running):
        pass  # the first one brings the series of this view to life
    before = await asyncio.to_thread(settled, running)
    for _ in range(4):
        async with viewing(running, viewers=5):
            pass
    assert await asyncio.to_thread(settled, running) == before


async def test_a_stream_that_goes_leaves_no_series_behind(running: Daemon) -> None:
    before = await asyncio.to_thread(settled, running)
    for _ in range(2):
        await asyncio.to_thread(come_and_go, running)
    assert await asyncio.to_thread(settled, running) == before
    assert await asyncio.to_thread(all_of, running, "extra") == frozenset()


def come_and_go(daemon: Daemon) -> None:
    path = "/api/v1/streams/extra"
    headers = {"Content-Type": "application/json"}
    assert daemon.request("PUT", path, json.dumps(EXTRA).encode(), headers).status == 201
    until("the added stream runs", lambda: daemon.state("extra") == "running")
    asyncio.run(leave_it_watched(daemon, path))


async def leave_it_watched(daemon: Daemon, path: str) -> None:
    """Removes it under its viewer's eyes."""
    async with viewing(daemon, "extra"):
        assert (await asyncio.to_thread(daemon.request, "DELETE", path)).status == 200
