"""Cameras of every kind, each a stream of one daemon: codecs, transports, logins, and one that changes its size."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.pictures import ffmpeg, read
from tests.e2e.processes import Daemon
from tests.support.camera import StartCamera, cameras, captured, enters, needs_rtsp_server
from tests.support.ports import free_port
from tests.support.settings import write_settings
from tests.support.waiting import until
from tests.support.witness import Join

pytestmark = needs_rtsp_server

PASSWORD = "s3cret/of@the:house"
FIRST, SECOND = (320, 180), (256, 144)
"""Sizes of the camera that changes."""
LIVES_S = 2.0
"""How long it keeps one."""

KINDS = [
    "h264",
    "h265",
    "mjpeg",
    "b-frames",
    "udp",
    "auto-tcp",
    "auto-udp",
    "tls",
    "basic",
    "digest",
    "password-in-the-environment",
    "password-in-a-file",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cameras")


@pytest.fixture(scope="module")
def camera(folder: Path) -> Iterator[StartCamera]:
    with cameras(folder) as start:
        yield start


@pytest.fixture(scope="module")
def changing(folder: Path) -> Iterator[int]:
    """The UDP port to which ffmpeg sends H.264 that has another size every two seconds."""
    parts = []
    for number, (width, height) in enumerate((FIRST, SECOND)):
        parts.append(folder / f"{number}.ts")
        ffmpeg(
            *("-f", "lavfi", "-i", f"smptebars=size={width}x{height}:rate=15:duration={LIVES_S}"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-profile:v", "baseline"),
            *("-g", "5", "-pix_fmt", "yuv420p", "-output_ts_offset", f"{number * LIVES_S}", parts[-1]),
        )
    whole = folder / "changing.ts"
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    port = free_port()
    with sending(whole, port):
        yield port


@contextmanager
def sending(clip: Path, port: int) -> Iterator[None]:
    """The clip as RTP, for ever."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(clip), "-c", "copy"]
    command += ["-payload_type", "96", "-f", "rtp", f"rtp://127.0.0.1:{port}?pkt_size=1200"]
    sender = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        sender.kill()
        sender.wait()


@pytest.fixture(scope="module")
def running(folder: Path, camera: StartCamera, changing: int, module_daemon: StartDaemon) -> Daemon:
    """With a stream for each kind of camera, and one called "changing"."""
    certificate = make_certificate(folder)
    quoted = "s3cret%2Fof%40the%3Ahouse"
    (folder / "password").write_text(PASSWORD + "\n")
    plain, tls = camera("--relay", str(changing)), camera("--tls", *map(str, certificate))
    basic, digest = camera("--basic", f"user:{PASSWORD}"), camera("--digest", f"user:{PASSWORD}")
    streams = {
        "h264": {"source": plain.url("small")},
        "h265": {"source": plain.url("h265")},
        "mjpeg": {"source": plain.url("mjpeg")},
        "b-frames": {"source": plain.url("bframes")},
        "udp": {"source": plain.url("small"), "transport": "udp"},
        "auto-tcp": {"source": plain.url("small"), "transport": "auto"},
        "auto-udp": {"source": plain.url("udponly"), "transport": "auto"},
        "tls": {"source": tls.url("small", scheme="rtsps")},
        "basic": {"source": basic.url("small", login=f"user:{quoted}")},
        "digest": {"source": digest.url("small", login=f"user:{quoted}")},
        "password-in-the-environment": {"source": digest.url("small", login="user:env:CAMERA_PASSWORD")},
        "password-in-a-file": {"source": digest.url("small", login=f"user:file:{folder}/password")},
        "changing": {"source": plain.url("relay")},
    }
    settings = write_settings(folder / "streamd.toml", streams)
    return module_daemon("--debug", "--config", settings, CAMERA_PASSWORD=PASSWORD)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Self-signed, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    what = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=camera"]
    where = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", *what, *where], check=True, capture_output=True)
    return certificate, key


@pytest.mark.parametrize("kind", KINDS)
def test_depth_of_a_camera(running: Daemon, kind: str) -> None:
    enters(running, kind, "running")
    before = captured(running, kind)
    until("pictures come", lambda: captured(running, kind) >= before + 10)
    picture = running.get(f"/api/v1/streams/{kind}/snapshot?format=png&view=source")
    assert picture.status == 200, picture.text
    image = read(picture.body)
    assert image.shape == ((176, 320, 3) if kind == "mjpeg" else (180, 320, 3))
    yellow = image[60, 70].astype(int)  # the second of seven bars
    assert min(yellow[:2]) > 140, yellow
    assert yellow[2] < 90, yellow


def test_passwords_are_shown_nowhere(running: Daemon) -> None:
    reported = running.log + "".join(running.get(path).text for path in ("/api/v1/streams", "/readyz", "/metrics"))
    assert "s3cret" not in reported


async def test_a_camera_that_changes_its_size(running: Daemon, join: Join) -> None:
    """New SPS in mid-stream: no restart, and the viewer stays."""
    await asyncio.to_thread(enters, running, "changing", "running")
    viewer = await join(running, "changing")

    def changes() -> list[tuple[int, int]]:
        return [size for size, _ in groupby(seen.size for seen in viewer.seen if seen.bars)]

    await viewer.waits_for("three changes of size", lambda _: len(changes()) >= 4, within_s=15)
    assert set(changes()) == {FIRST, SECOND}
    assert viewer.times_go_on()
    assert await viewer.is_known()
    stream = await asyncio.to_thread(running.stream, "changing")
    assert stream["state"] == "running"
    metrics = await asyncio.to_thread(running.metrics)
    assert metrics.value("streamd_source_restarts_total", stream="changing") == 0
