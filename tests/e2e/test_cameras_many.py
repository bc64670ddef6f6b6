"""Many cameras on one network: each gets its share; cameras nobody looks at sleep; cameras come and go at run time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.pictures import read
from tests.e2e.processes import Answer, Daemon, Window, streamd
from tests.support.camera import Camera, StartCamera, cameras, enters, needs_rtsp_server, restarts
from tests.support.settings import write_settings
from tests.support.waiting import scaled, until
from tests.support.witness import Join

BARS = "lavfi:smptebars=size=320x180:rate=15"
CAMERAS = 8
JAIN = 0.98
WINDOW_S = 10.0
FIRST_PICTURE_S = scaled(4.0)
"""Twice what is wanted: benchmarks/streams.py --on-demand measures it."""
LINGER_S = 1.0
JSON = {"Content-Type": "application/json"}


# -- many -----------------------------------------------------------------------------------------


@needs_rtsp_server
@pytest.mark.usefixtures("midas_small")
def test_nobody_starves(daemon: StartDaemon, camera: StartCamera, tmp_path: Path) -> None:
    """Eight cameras, more pictures than the network can take, also on a fast box."""
    street = camera("--cameras", str(CAMERAS))
    streams = {f"cam{number}": {"source": street.url(f"cam{number}")} for number in range(CAMERAS)}
    settings = write_settings(tmp_path / "streamd.toml", streams)
    slow = {"STREAMD_MODEL__PRECISION": "fp32", "STREAMD_MODEL__INPUT_SIZE": "384"}
    running = daemon("--config", settings, model="midas_small", **slow)
    for name in streams:
        enters(running, name, "running", within_s=40)

    before, began = running.metrics(), time.monotonic()
    until("the window is over", lambda: time.monotonic() - began > WINDOW_S, WINDOW_S + 1)
    window = Window(before, running.metrics())
    done = [window.more("streamd_capture_to_publish_seconds_count", stream=name) for name in streams]
    skipped = window.more("streamd_frames_skipped_total", reason="superseded")
    print(f"processed {done}, Jain {jain(done):.4f}, skipped {skipped:g}")
    assert skipped > 0.1 * sum(done), "the network has time for all: this shows nothing"
    assert jain(done) >= JAIN


def jain(shares: list[float]) -> float:
    """1 when all are alike, 1/n when one has everything (Jain, Chiu, Hawe 1984)."""
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))


# -- on demand ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Camera]:
    with cameras(tmp_path_factory.mktemp("gate")) as start:
        yield start()


@pytest.fixture(scope="module")
def sleeping(module_daemon: StartDaemon, gate: Camera, tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    """With two streams that nobody looks at."""
    on_demand = {"mode": "on_demand", "linger_s": LINGER_S}
    streams = {"gate": {"source": gate.url("small"), **on_demand}, "pattern": {"source": BARS, **on_demand}}
    settings = write_settings(tmp_path_factory.mktemp("on-demand") / "streamd.toml", streams)
    return module_daemon("--config", settings).until_ready()


@needs_rtsp_server
class TestOnDemand:
    def test_a_snapshot_wakes_it(self, sleeping: Daemon, gate: Camera) -> None:
        assert_all_sleeps(sleeping, gate)
        for stream in ("gate", "pattern"):  # the second finds the worker awake
            asked_at = time.monotonic()
            picture = sleeping.get(f"/api/v1/streams/{stream}/snapshot?view=source&format=png")
            took_s = time.monotonic() - asked_at
            print(f"{stream}: snapshot after {took_s:.2f} s")
            assert picture.status == 200, picture.text
            assert took_s < FIRST_PICTURE_S
            assert read(picture.body).shape == (180, 320, 3)
            yellow = read(picture.body)[60, 70]
            assert yellow[0] > 140 > 90 > yellow[2], "not the camera's picture"

    async def test_a_viewer_wakes_it(self, sleeping: Daemon, gate: Camera, join: Join) -> None:
        await asyncio.to_thread(assert_all_sleeps, sleeping, gate)
        for stream in ("gate", "pattern"):
            viewer = await join(sleeping, stream)
            first = await viewer.waits_for("the camera's picture", lambda seen: seen.bars, within_s=10, since=0.0)
            print(f"{stream}: first picture after {first.at - viewer.posted_at:.2f} s")
            assert first.at - viewer.posted_at < FIRST_PICTURE_S
            await viewer.sees(2)
            assert sleeping.worker() != 0
            assert (await asyncio.to_thread(sleeping.stream, stream))["state"] == "running"
            left_at = time.monotonic()
            await viewer.close()
            await asyncio.to_thread(enters, sleeping, stream, "idle", LINGER_S + 5)
            assert time.monotonic() - left_at > 0.9 * LINGER_S


def assert_all_sleeps(daemon: Daemon, gate: Camera) -> None:
    """No camera is open, and not even the worker runs."""
    for stream in ("gate", "pattern"):
        enters(daemon, stream, "idle", LINGER_S + 5)
        assert daemon.metrics().value("streamd_stream_state", stream=stream, state="idle") == 1
    until("no worker runs", lambda: daemon.worker() == 0)
    until("nobody is connected to the camera", lambda: gate.connections() == 0)
    assert daemon.get("/readyz").status == 200


# -- at run time ----------------------------------------------------------------------------------


class TestChanges:
    """Of other streams: "keep" has a viewer who notices nothing."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Path:
        return write_settings(tmp_path / "streamd.toml", {"keep": {"source": BARS}, "old": {"source": BARS}})

    @pytest.fixture
    async def running(self, daemon: StartDaemon, settings: Path) -> Daemon:
        return await asyncio.to_thread(lambda: daemon("--config", settings).until_ready())

    async def test_by_the_api(self, running: Daemon, join: Join) -> None:
        viewer = await join(running, "keep")
        await viewer.sees(5)
        await asyncio.to_thread(self._add_change_remove, running)
        await assert_noticed_nothing(running, viewer)

    def _add_change_remove(self, running: Daemon) -> None:
        assert send(running, "PUT", "new", {"source": BARS}).status == 201
        enters(running, "new", "running")
        assert send(running, "PUT", "new", {"source": BARS.replace("320x180", "256x144")}).status == 200
        until("it is the other source", lambda: running.stream("new")["width"] == 256)
        assert send(running, "PATCH", "new", {"max_fps": 3}).status == 200
        enters(running, "new", "running")
        until("pictures are left out", lambda: left_out(running, "new") > 20)
        assert running.stream("new")["width"] == 256, "PATCH changes only what it names"
        assert running.request("DELETE", "/api/v1/streams/new").status == 200
        assert running.get("/api/v1/streams/new").status == 404
        for method, body in (("PATCH", {"max_fps": 3}), ("DELETE", None)):
            assert send(running, method, "new", body).error == (404, "unknown_stream")
        assert 'stream="new"' not in running.get("/metrics").text.replace('state="stopping"', "")

    async def test_a_bad_value_is_refused_as_check_does(self, running: Daemon, tmp_path: Path) -> None:
        await asyncio.to_thread(self._refuse, running, tmp_path)

    def _refuse(self, running: Daemon, folder: Path) -> None:
        bad = {"source": BARS, "max_fps": -1, "wrong": 1}
        settings = write_settings(folder / "bad.toml", {"old": bad})
        reported = streamd(folder, "check", settings)
        assert reported.code == 78
        problems = [line for line in reported.stderr.splitlines() if "streams.old." in line]
        assert len(problems) == 2, reported.stderr
        for method in ("PUT", "PATCH"):
            answer = send(running, method, "old", bad)
            assert answer.error[0] == 422, answer.text
            for problem in problems:
                reason = problem[problem.index("streams.old.") + len("streams.old.") :]
                assert reason in answer.json["error"]["message"]
        assert running.state("old") == "running"

    async def test_by_the_file(self, running: Daemon, settings: Path, join: Join) -> None:
        """SIGHUP: one stream goes, one comes, one changes with its viewer, one stays; a bad file changes nothing."""
        await asyncio.to_thread(send, running, "PUT", "by-api", {"source": BARS})
        keep, old = await join(running, "keep"), await join(running, "old")
        await asyncio.gather(keep.sees(5), old.sees(5))

        streams: dict[str, dict[str, Any]] = {"keep": {"source": BARS}, "old": {"source": BARS, "max_fps": 3}}
        streams["new"] = {"source": BARS}
        await asyncio.to_thread(write_settings, settings, streams)
        os.kill(running.pid, signal.SIGHUP)
        await asyncio.to_thread(until, "it has come", lambda: running.get("/api/v1/streams/new").status == 200)
        await asyncio.to_thread(enters, running, "new", "running")

        await asyncio.to_thread(until, "pictures are left out", lambda: left_out(running, "old") > 20)
        await old.sees(2)
        assert await old.is_known()
        assert old.times_go_on()

        await asyncio.to_thread(settings.write_text, "[streams.keep]\nsource = 7\n")
        os.kill(running.pid, signal.SIGHUP)
        await asyncio.to_thread(until, "it says so", lambda: "streams.keep.source" in running.log)
        del streams["new"], streams["old"]
        await asyncio.to_thread(write_settings, settings, streams)
        os.kill(running.pid, signal.SIGHUP)
        for gone in ("/api/v1/streams/new", "/api/v1/streams/old"):
            await asyncio.to_thread(until, "it has gone", lambda gone=gone: running.get(gone).status == 404)
        await assert_noticed_nothing(running, keep)


def left_out(daemon: Daemon, stream: str) -> float:
    """Because of max_fps."""
    return daemon.metrics().value("streamd_frames_skipped_total", stream=stream, reason="max_fps")


def send(daemon: Daemon, method: str, stream: str, body: dict[str, Any] | None) -> Answer:
    data = None if body is None else json.dumps(body).encode()
    return daemon.request(method, f"/api/v1/streams/{stream}", data, JSON)


async def assert_noticed_nothing(running: Daemon, viewer: Any) -> None:
    """The viewer of "keep": same session, no pause, nothing but its camera, no frame lost uncounted."""
    await viewer.sees(5)
    assert (viewer.state, await viewer.is_known()) == ("connected", True)
    first = next(number for number, seen in enumerate(viewer.seen) if seen.bars)
    seen = viewer.seen[first:]
    assert all(picture.bars for picture in seen)
    assert viewer.times_go_on()
    assert max(after.at - before.at for before, after in pairwise(seen)) < scaled(1.5)
    stream = await asyncio.to_thread(running.stream, "keep")
    assert (stream["state"], stream["viewers"]) == ("running", 1)
    assert await asyncio.to_thread(restarts, running, "keep") == 0
