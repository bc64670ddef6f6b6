"""A camera's process: starts, is killed, hangs, comes back at the same address. What it shows is known again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import av
import pytest

from tests.e2e.processes import Daemon
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE_S, until

PYTHON = "/usr/bin/python3"  # the one with gi
SERVER = Path(__file__).parent / "rtsp_server.py"
_NEEDED = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
INSTALLED = subprocess.run([PYTHON, "-c", _NEEDED], capture_output=True, check=False).returncode == 0

needs_rtsp_server = pytest.mark.skipif(
    not INSTALLED, reason="NO RTSP TEST RUNS: install gir1.2-gst-rtsp-server-1.0 and python3-gi (`make test` does)"
)

StartCamera = Callable[..., "Camera"]


class Camera:
    """``rtsp_server.py`` with these options; started again, it has the same address."""

    def __init__(self, log: Path, *options: str) -> None:
        self.port = free_port()
        self._log, self._options = log, options
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, path: str, *, login: str = "", scheme: str = "rtsp") -> str:
        return f"{scheme}://{login and login + '@'}127.0.0.1:{self.port}/{path}"

    def command(self) -> list[str]:
        return [PYTHON, str(SERVER), str(self.port), *self._options]

    def start(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until("the camera listens", self._listens)
        return self

    def _listens(self) -> bool:
        assert self._process is not None
        output = self._log.read_text()
        assert self._process.poll() is None, output
        return f"ready {self.port}" in output

    def connections(self) -> int:
        """Who is connected to it over TCP."""
        table = Path("/proc/net/tcp").read_text().splitlines()[1:]
        mine, established = f"0100007F:{self.port:04X}", "01"
        return sum(line.split()[1] == mine and line.split()[3] == established for line in table)

    def hang(self) -> None:
        """Keeps its connections and says nothing more."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def cameras(folder: Path) -> Iterator[StartCamera]:
    """``start(*options)`` is one more camera; all end with the context."""
    started: list[Camera] = []

    def start(*options: str) -> Camera:
        started.append(Camera(folder / f"camera-{len(started)}.log", *options))
        return started[-1].start()

    try:
        yield start
    finally:
        for one in started:
            one.kill()


def enters(daemon: Daemon, stream: str, state: str, within_s: float = PATIENCE_S) -> dict[str, Any]:
    """Waits until the stream is in this state; gives the API's description."""
    seen: dict[str, Any] = {}

    def look() -> bool:
        seen.update(daemon.stream(stream))
        return bool(seen["state"] == state)

    try:
        until(f"{stream} is {state}", look, within_s)
    except AssertionError as late:
        raise AssertionError(f"{late}: {seen['state']}: {seen['reason']}") from None
    return seen


def captured(daemon: Daemon, stream: str) -> float:
    return daemon.metrics().value("streamd_frames_captured_total", stream=stream)


def restarts(daemon: Daemon, stream: str, **labels: str) -> float:
    return daemon.metrics().value("streamd_source_restarts_total", stream=stream, **labels)


def shows_bars(picture: av.VideoFrame) -> bool:
    """Whether it is the colour bars of ``/small`` and not, say, a NO SIGNAL picture: white, yellow, cyan in a row."""
    small = picture.reformat(70, 30, format="rgb24").to_ndarray()
    bars = [small[10, 10 * bar + 5].astype(int) for bar in range(3)]
    bright = [[channel > 140 for channel in bar] for bar in bars]
    dark = [[channel < 90 for channel in bar] for bar in bars]
    return all(bright[0]) and bright[1][:2] == [True, True] and dark[1][2] and dark[2][0] and all(bright[2][1:])
