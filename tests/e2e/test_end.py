"""The end of the daemon, with all that may hang at once."""

from __future__ import annotations

import os
import signal
import socket
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Daemon
from tests.support.camera import StartCamera
from tests.support.clips import frames_of
from tests.support.settings import write_settings
from tests.support.waiting import until

BARS = "lavfi:testsrc2=size=320x180:rate=20"


def files(folder: Path) -> list[Path]:
    return list(folder.glob("*.mp4"))


def runs(daemon: Daemon, stream: str) -> bool:
    return daemon.state(stream) == "running"


@pytest.mark.parametrize("way", ["API", "SIGTERM"])
def test_a_camera_and_a_network_that_hang_hold_up_neither_a_change_nor_the_end(
    daemon: StartDaemon, camera: StartCamera, tmp_path: Path, way: str
) -> None:
    porch, recordings = camera(), tmp_path / "recordings"
    streams: dict[str, dict[str, Any]] = {
        "porch": {"source": f"rtsp://127.0.0.1:{porch.port}/live", "read_timeout_s": 60},
        "bars": {"source": BARS},
    }
    settings = write_settings(
        tmp_path / "streamd.toml", streams, model={"timeout_s": 60}, recording={"directory": str(recordings)}
    )
    running = daemon("--config", settings)
    for name in streams:
        until(f"{name} is recorded", partial(files, recordings / name))
        until(f"{name} runs", partial(runs, running, name))
    worker = running.worker()
    os.kill(worker, signal.SIGSTOP)
    porch.hang()
    time.sleep(0.5)  # until all wait for them
    try:
        if way == "API":
            began = time.monotonic()
            for method, body in (("PATCH", b'{"max_fps": 5}'), ("DELETE", None)):
                answer = running.request(method, "/api/v1/streams/bars", body, {"Content-Type": "application/json"})
                assert answer.status == 200
            assert time.monotonic() - began < 5
        began = time.monotonic()
        assert running.stop() == 0
        print(f"{way}: ended {time.monotonic() - began:.1f} s after SIGTERM")
    finally:
        porch.wake()
    for name in streams:
        newest = max(files(recordings / name))
        assert len(frames_of(newest)) > 1


def test_a_second_signal_ends_it_at_once(daemon: StartDaemon, tmp_path: Path) -> None:
    """Whatever it waits for: here a client that takes its answer slowly."""
    running = daemon(BARS, "--record", tmp_path / "recordings")
    until("it runs", lambda: running.state("lavfi-testsrc2") == "running")
    with running.connect() as client:
        client.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        client.recv(100)
        for _ in range(2):
            os.kill(running.pid, signal.SIGINT)
            time.sleep(0.05)
        began = time.monotonic()
        assert running.process.wait(5) == 0
        assert time.monotonic() - began < 2
        client.shutdown(socket.SHUT_RDWR)
