"""A disk that fills, goes read-only, breaks, is taken away or hangs while it is recorded to, and comes back: the
streams go on, and soon after its return so does the recording."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Daemon
from tests.e2e.test_recording import probe, segments
from tests.support.faulty_disk import FaultyDisk, needs_fuse
from tests.support.waiting import until

pytestmark = [needs_fuse, pytest.mark.timeout(120)]

CAMERA, NAME = "lavfi:testsrc2=size=320x180:rate=20", "lavfi-testsrc2"
RECORDING = f"/api/v1/streams/{NAME}/recording"
BACK_S = 10.0
FULL = 1_500_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FaultyDisk]:
    with FaultyDisk(tmp_path / "disk") as disk:
        yield disk


def recorded(daemon: StartDaemon, folder: Path, *more: str) -> Daemon:
    running = daemon(CAMERA, *more, "--record", folder, STREAMD_RECORDING__MIN_FREE_GB="0.002")
    until("it runs", lambda: running.state(NAME) == "running")
    until("a second is on the disk", lambda: size(running) > 5000)
    return running


def size(running: Daemon) -> float:
    return running.metrics().value("streamd_recorded_bytes_total")


def active(running: Daemon) -> tuple[float, float]:
    """What should be recorded, and what is."""
    metrics = running.metrics()
    return (
        metrics.value("streamd_recording_wanted", stream=NAME, view="depth"),
        metrics.value("streamd_recording_active", stream=NAME, view="depth"),
    )


def passed(running: Daemon) -> float:
    """Frames that went all the way, whoever looks."""
    return running.metrics().value("streamd_capture_to_publish_seconds_count", stream=NAME)


def is_untouched(running: Daemon, since: float, before: float, fps: float = 10) -> None:
    """Pictures went on at ``fps`` at least, the rest of the API too."""
    assert passed(running) - before >= fps * (time.monotonic() - since), "the stream was disturbed"
    assert running.state(NAME) == "running"
    assert running.metrics().value("streamd_event_loop_lag_seconds") < 1.0


def goes_on(running: Daemon, folder: Path) -> None:
    """In a new segment, in time."""
    back, before = time.monotonic(), size(running)
    until("something is recorded again", lambda: size(running) > before + 5000, BACK_S)
    until("it says so", lambda: running.stream(NAME)["recording_error"] is None, BACK_S - (time.monotonic() - back))
    assert running.stream(NAME)["recording_active"] == ["depth"]
    assert active(running) == (1, 1)


@pytest.mark.parametrize(
    ("code", "free", "reason"),
    [
        (errno.ENOSPC, 64_000_000, "no space left"),
        (0, FULL, "GB free"),
        (errno.EROFS, 64_000_000, "read-only file system"),
        (errno.EIO, 64_000_000, "input/output error"),
    ],
    ids=["fills", "below min_free_gb", "read-only", "broken"],
)
def test_it_fails_and_comes_back(daemon: StartDaemon, disk: FaultyDisk, code: int, free: int, reason: str) -> None:
    running = recorded(daemon, disk.folder)
    since, before = time.monotonic(), passed(running)
    disk.set_fault(code, free)
    until("it says so", lambda: reason in str(running.stream(NAME)["recording_error"]))
    described = running.stream(NAME)
    assert (described["recording"], described["recording_views"]) == (False, ["depth"])
    assert active(running) == (1, 0)
    time.sleep(6)  # it tries again meanwhile
    is_untouched(running, since, before)
    [first] = segments(disk.folder)
    assert running.log.count("recording stopped") == 1, "once, not at every try"
    disk.set_fault(0)
    goes_on(running, disk.folder)
    assert running.stop() == 0
    assert first == segments(disk.folder)[0]
    assert len(segments(disk.folder)) == 2
    if not code:
        assert probe(first).frames > 0
    assert probe(segments(disk.folder)[1]).frames > 0


def test_it_is_taken_away_and_comes_back(daemon: StartDaemon, disk: FaultyDisk) -> None:
    """What is below the mount point meanwhile is the disk of the system: nothing is recorded there."""
    running = recorded(daemon, disk.folder)
    since, before = time.monotonic(), passed(running)
    disk.unmount()
    until("it says so", lambda: running.stream(NAME)["recording_error"])
    time.sleep(3)
    assert os.listdir(disk.folder) == []
    assert "not mounted" in str(running.stream(NAME)["recording_error"])
    is_untouched(running, since, before)
    disk.mount()
    goes_on(running, disk.folder)


def test_it_hangs_and_comes_back(daemon: StartDaemon, disk: FaultyDisk) -> None:
    running = recorded(daemon, disk.folder)
    since, before = time.monotonic(), passed(running)
    disk.hang()
    until("it says so", lambda: "does not answer" in str(running.stream(NAME)["recording_error"]))
    assert active(running) == (1, 0)
    for path in ("/healthz", "/metrics", "/api/v1/streams", "/"):
        asked = time.monotonic()
        assert running.get(path).status == 200
        assert time.monotonic() - asked < 1
    until("queues are full", lambda: running.metrics().value("streamd_frames_skipped_total", reason="disk") > 20, 40)
    is_untouched(running, since, before)
    asked = time.monotonic()
    assert running.request("DELETE", RECORDING).json["recording_views"] == []
    assert time.monotonic() - asked < 3
    assert "does not answer" in running.request("PUT", RECORDING).json["recording_error"]
    disk.answer()
    goes_on(running, disk.folder)
    assert running.stop() == 0


def test_a_hung_disk_and_a_hung_camera_do_not_hold_the_end(daemon: StartDaemon, disk: FaultyDisk) -> None:
    """And the free space is not known, rather than what it was."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        running = recorded(daemon, disk.folder, f"rtsp://127.0.0.1:{silent.getsockname()[1]}/live")
        disk.hang()
        until("it says so", lambda: "does not answer" in str(running.stream(NAME)["recording_error"]))
        until("nothing is known", lambda: not running.metrics().value("streamd_disk_free_bytes") > 0)
        asked = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - asked < 5
    disk.answer()


def test_the_last_segment_is_whole_though_a_camera_hangs(daemon: StartDaemon, disk: FaultyDisk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        running = recorded(daemon, disk.folder, f"rtsp://127.0.0.1:{silent.getsockname()[1]}/live")
        asked = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - asked < 5
    [last] = segments(disk.folder / NAME)
    assert last.read_bytes()[-12:-8] == b"mfro"
    assert probe(last).frames > 0
