from __future__ import annotations

import json
import socket
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from streamd.config.load import parse
from streamd.doctor import inputs
from streamd.sources import v4l2
from tests.support.findings import SECRET, found, only

SIZES = (v4l2.Size(640, 480, (Fraction(30),)), v4l2.Size(1280, 720, (Fraction(30),)))
CAMERA = v4l2.Camera(
    "/dev/video0", "HD Cam", "/dev/v4l/by-id/usb-HD", "usb-1", (v4l2.PixelFormat("MJPG", "Motion-JPEG", SIZES),)
)
LOCKED = v4l2.Camera("/dev/video0", "HD Cam", None, "", (), v4l2.explain(13, "/dev/video0"))
BUSY = v4l2.Camera("/dev/video0", "HD Cam", None, "", CAMERA.formats, v4l2.explain(16, "/dev/video0"))


class TestInputs:
    @pytest.mark.parametrize(
        ("cameras", "status", "words"),
        [
            ([], "ok", "none on this machine"),
            ([CAMERA], "ok", "HD Cam (v4l2:/dev/v4l/by-id/usb-HD): MJPG up to 1280x720; taken as 1280x720 mjpeg"),
            ([LOCKED], "warning", "no permission"),
            ([BUSY], "warning", "is in use"),
        ],
    )
    def test_cameras(
        self, monkeypatch: pytest.MonkeyPatch, cameras: list[v4l2.Camera], status: str, words: str
    ) -> None:
        monkeypatch.setattr(v4l2, "cameras", lambda: cameras)
        finding = only(inputs.cameras)
        assert finding.status == status
        assert words in finding.found
        assert json.dumps(finding.details) == json.dumps(cameras[0].describe() if cameras else None)

    @pytest.mark.parametrize(
        ("camera", "status"), [(None, "problem"), (CAMERA, "ok"), (LOCKED, "problem"), (BUSY, "warning")]
    )
    def test_a_stream_of_a_webcam(
        self, monkeypatch: pytest.MonkeyPatch, camera: v4l2.Camera | None, status: str
    ) -> None:
        monkeypatch.setattr(v4l2, "camera", lambda path: camera)
        assert only(inputs.streams, streams={"desk": {"source": "v4l2:/dev/v4l/by-id/usb-HD"}}).status == status

    def test_streams_that_need_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").touch()
        sources = ("demo:", "lavfi:testsrc2", "udp://:5000", str(tmp_path / "a.mp4"), f"file:{tmp_path}/a.mp4")
        assert found(inputs.streams, streams={f"s{n}": {"source": source} for n, source in enumerate(sources)}) == []

    def test_what_ffmpeg_lacks(self) -> None:
        streams = {"dock": {"source": f"srt://h:9000?passphrase={SECRET}"}}
        finding = only(inputs.streams, streams=streams)
        assert (finding.status, finding.found) == ("problem", "dock: PyAV's FFmpeg has no SRT")
        assert finding.advice
        (problem,) = inputs.unsupported(parse({"streams": streams}))
        assert problem.path == "streams.dock.source"
        assert SECRET not in str(problem)

    @pytest.mark.parametrize(
        ("section", "package", "found"),
        [
            ({"mqtt": {"url": "mqtt://h"}}, "paho", ["mqtt.url"]),
            ({"ros2": {"enabled": True}}, "cyclonedds", ["ros2.enabled"]),
            (
                {"foxglove": {"listen": "127.0.0.1:8765", "mcap": "/m"}},
                "foxglove",
                ["foxglove.listen", "foxglove.mcap"],
            ),
            ({"ros2": {"enabled": False}}, "cyclonedds", []),
        ],
    )
    def test_packages_that_are_not_installed(
        self, monkeypatch: pytest.MonkeyPatch, section: dict[str, Any], package: str, found: list[str]
    ) -> None:
        """The start would be refused, so `streamd check` has to say it."""
        assert list(inputs.not_installed(parse(section))) == []
        monkeypatch.setitem(sys.modules, package, None)
        assert [problem.path for problem in inputs.not_installed(parse(section))] == found

    def test_a_file_that_is_missing(self) -> None:
        assert only(inputs.streams, streams={"a": {"source": "/nowhere/a.mp4"}}).status == "problem"

    @pytest.mark.parametrize("login", ["", f"admin:{SECRET}@", f"admin:pa/{SECRET}@", f"user:file:/run/{SECRET}@"])
    def test_a_camera_that_listens(self, login: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            where = f"127.0.0.1:{server.getsockname()[1]}"
            finding = only(inputs.streams, streams={"porch": {"source": f"rtsp://{login}{where}/live?token={SECRET}"}})
        assert (finding.status, finding.found) == ("ok", f"porch: {where} answers")

    def test_a_camera_that_does_not(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            number = server.getsockname()[1]
        source = f"http://admin:{SECRET}@127.0.0.1:{number}/"
        finding = only(inputs.streams, streams={"porch": {"source": source}})
        assert (finding.status, finding.found) == ("problem", f"porch: 127.0.0.1:{number}: connection refused")
        assert SECRET not in repr(finding)

    def test_one_that_is_silent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inputs, "CONNECT_S", 0.05)
        with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
            address = server.getsockname()
            with socket.create_connection(address), socket.socket() as full:
                full.setblocking(False)
                full.connect_ex(address)  # nobody accepts, and the queue is full: the next one gets no answer
                finding = only(inputs.streams, streams={"porch": {"source": f"rtsp://127.0.0.1:{address[1]}/"}})
        assert (finding.status, finding.found) == ("problem", f"porch: 127.0.0.1:{address[1]}: no answer")

    def test_the_usual_ports(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[str, int]] = []

        def connect(host: str, port: int) -> str:
            asked.append((host, port))
            return ""

        monkeypatch.setattr(inputs, "_connect", connect)
        sources = (
            "rtsp://127.0.0.1/",
            "RTSPS://[::1]/a@b",
            "http://cam/?to=me@example.org",
            "https://cam/",
            "rtmp://cam/a",
        )
        findings = found(inputs.streams, streams={f"s{n}": {"source": source} for n, source in enumerate(sources)})
        assert sorted(asked) == [("127.0.0.1", 554), ("::1", 322), ("cam", 80), ("cam", 443), ("cam", 1935)]
        assert [each.status for each in findings] == ["ok"] * 5
