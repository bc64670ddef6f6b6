"""The end of the daemon, with all that may hang at once."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

from tests.e2e.conftest import Shared, StartDaemon, make_home
from tests.e2e.processes import Daemon, alive
from tests.e2e.test_recording import probe, segments
from tests.support.camera import StartCamera
from tests.support.clips import frames_of
from tests.support.faulty_disk import FaultyDisk, needs_fuse
from tests.support.settings import write_settings
from tests.support.waiting import until

BARS = "lavfi:testsrc2=size=320x180:rate=20"


def files(folder: Path) -> list[Path]:
    return list(folder.glob("*.mp4"))


def runs(daemon: Daemon, stream: str) -> bool:
    return daemon.state(stream) == "running"


def published(daemon: Daemon, stream: str) -> float:
    return daemon.metrics().value("streamd_frames_published_total", stream=stream)


def published_more(daemon: Daemon, stream: str, before: float) -> bool:
    return published(daemon, stream) > before + 5


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
    for name in streams:
        until(f"{name} has pictures in its segment", partial(published_more, running, name, published(running, name)))
    for worker in running.workers():  # two, while one is changed for one that does more at a time
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


HUNG_LOOKUP = """
import socket, time
ask = socket.getaddrinfo
def getaddrinfo(host, *rest, **more):
    while host == "turn.example":
        time.sleep(1)
    return ask(host, *rest, **more)
socket.getaddrinfo = getaddrinfo
"""
"""A DNS server that does not answer: a fake at one seam, which ``sitecustomize`` puts in place."""
TURN = """
[[webrtc.ice_servers]]
urls = ["turn:turn.example:3478"]
username = "u"
credential = "not-a-secret"
"""
SILENT = {
    "events": b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "mjpeg": b"GET /api/v1/streams/bars/mjpeg?fps=30 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "live": b"GET /api/v1/streams/bars/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "upload": b"POST /api/v1/depth HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\nx",
}
"""What clients ask for that then neither read nor send any more."""


async def make_offer() -> bytes:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    offer = peer.localDescription.sdp
    await peer.close()
    return str(offer).encode()


@contextmanager
def silent_clients(running: Daemon) -> Iterator[None]:
    address = urlsplit(running.url)
    with ExitStack() as clients:
        for request in SILENT.values():
            client = clients.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect((address.hostname, address.port))
            client.sendall(request)
        yield


@needs_fuse
@pytest.mark.parametrize("is_disk_hung", [True, False], ids=["disk hangs", "disk works"])
def test_all_that_may_hang_at_once(
    daemon: StartDaemon, camera: StartCamera, tmp_path: Path, is_disk_hung: bool
) -> None:
    """A camera, the depth worker, clients that do not read, a name lookup for a TURN server, the disk."""
    porch, seam = camera(), tmp_path / "seam"
    seam.mkdir()
    (seam / "sitecustomize.py").write_text(HUNG_LOOKUP)
    streams: dict[str, dict[str, Any]] = {
        "porch": {"source": porch.url("live"), "read_timeout_s": 60, "record": ["depth", "side-by-side"]},
        "bars": {"source": BARS, "record": ["depth", "side-by-side"]},
    }
    with FaultyDisk(tmp_path / "disk") as disk, ExitStack() as undo:
        recording = {"directory": str(disk.folder), "min_free_gb": 0.002}
        settings = write_settings(tmp_path / "streamd.toml", streams, model={"timeout_s": 60}, recording=recording)
        settings.write_text(settings.read_text() + TURN)
        path = f"{seam}:{os.environ.get('PYTHONPATH', '')}"
        running = daemon("--config", settings, PYTHONPATH=path)
        for name in streams:
            until(f"{name} is recorded", lambda name=name: len(files(disk.folder / name)) == 2)  # type: ignore[misc]
            until(f"{name} runs", partial(runs, running, name))
        until("a second is on the disk", lambda: size(running) > 20_000)
        answer = running.request("POST", "/whep/bars", asyncio.run(make_offer()), {"Content-Type": "application/sdp"})
        assert answer.status == 201
        undo.enter_context(silent_clients(running))
        workers = running.workers()  # two, while one is changed for one that does more at a time
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        porch.hang()
        undo.callback(porch.wake)
        time.sleep(1)  # until all wait for them
        if is_disk_hung:
            disk.hang()
            undo.callback(disk.answer)
            time.sleep(1)
        began = time.monotonic()
        assert running.stop() == 0
        print(f"disk {'hangs' if is_disk_hung else 'works'}: ended {time.monotonic() - began:.1f} s after SIGTERM")
        assert workers
        assert not any(map(alive, workers))
        if not is_disk_hung:
            for name in streams:
                for segment in segments(disk.folder / name):
                    assert segment.read_bytes()[-12:-8] == b"mfro"
                    assert probe(segment).frames > 1


def size(running: Daemon) -> float:
    return running.metrics().value("streamd_recorded_bytes_total")


def test_signals_at_any_moment_of_the_end_do_not_make_it_a_bad_one(daemon: StartDaemon) -> None:
    """systemd, a terminal and an impatient user may all send one."""
    running = daemon(BARS)
    until("it runs", lambda: running.state("lavfi-testsrc2") == "running")
    deadline = time.monotonic() + 10
    while running.running and time.monotonic() < deadline:
        os.kill(running.pid, signal.SIGTERM)
        time.sleep(0.002)
    assert running.process.wait(1) == 0


def test_a_worker_that_does_not_get_ready_does_not_outlive_us(daemon: StartDaemon, tmp_path: Path) -> None:
    running = daemon(BARS, model="")
    worker = until("a worker starts", running.worker)
    os.kill(worker, signal.SIGSTOP)
    assert running.state("lavfi-testsrc2") == "starting"
    began = time.monotonic()
    assert running.stop() == 0
    print(f"ended {time.monotonic() - began:.1f} s after SIGTERM")
    assert not alive(worker)


def test_a_log_that_nobody_reads_does_not_hold_the_end(shared: Shared, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    running = Daemon((BARS, "--model", "embedded"), make_home(shared, tmp_path), stderr=writing).start()
    try:
        until("it runs", lambda: running.state("lavfi-testsrc2") == "running")
        filling = threading.Thread(target=fill, args=(writing,), daemon=True)
        filling.start()
        filling.join(1)
        assert filling.is_alive(), "the pipe is not full"
        assert running.stop() == 0
    finally:
        os.close(reading)
        running.close()


def fill(pipe: int) -> None:
    try:
        os.write(pipe, bytes(1 << 20))
    except BrokenPipeError:
        pass
    finally:
        os.close(pipe)


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
