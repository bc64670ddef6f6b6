"""What `streamd run` makes of its arguments, without running it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamd.cli import run
from streamd.cli.run import _named
from streamd.config.sections import STREAM_NAME, StreamConfig
from tests.support.commands import outcome

NO_SRT = "PyAV's FFmpeg has no SRT: let the camera send RTSP, or a relay between"

pytestmark = pytest.mark.usefixtures("logging_restored")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("demo:", "demo"),
        ("/videos/My clip (1).mp4", "My-clip-1"),
        ("clip.tar.mp4", "clip.tar"),
        ("/dev/video0", "video0"),
        ("v4l2:/dev/v4l/by-id/usb-Cam-index0", "usb-Cam-index0"),
        ("lavfi:testsrc2=size=64x64:rate=5", "lavfi-testsrc2"),
        ("rtsp://10.0.0.5:554/Streaming/Channels/101", "10.0.0.5-Streaming-Channels-101"),
        ("видео.mp4", "stream"),
        ("..", "stream"),
        ("-.mp4", "stream"),
        ("x" * 99, "x" * 48),
    ],
)
def test_a_source_has_a_short_name(source: str, name: str) -> None:
    assert _named([source]) == {name: source}


def test_sources_of_one_name_get_different_names() -> None:
    assert list(_named(["a/x.mp4", "b/x.mp4", "c/x.mp4"])) == ["x", "x-2", "x-3"]


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://admin:hunter2@cam/live",
        "rtsp://admin:hun/ter2@cam/live",
        "http://cam/live?token=hunter2",
        "rtsp://cam/user=admin_password=hunter2_channel=1",
    ],
)
def test_a_name_shows_no_password(source: str) -> None:
    (name,) = _named([source])
    assert "ter2" not in name
    assert name.startswith("cam")


def test_every_name_is_one_that_the_configuration_takes() -> None:
    for source in ("a b", "ä", "_x", ".hidden", "http://[::1]/a?b", "x" * 200, "rtsp://u:p@h", "/"):
        (name,) = _named([source])
        assert re.fullmatch(STREAM_NAME, name), (source, name)


class TestRun:
    @pytest.fixture
    def configs(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        served: list[Any] = []

        async def serve(config: Any, reload: Callable[[], Any]) -> None:
            assert reload() == config
            served.append(config)

        monkeypatch.setattr(run, "_serve", serve)
        return served

    def test_alone_it_plays_the_demo(self, configs: list[Any]) -> None:
        assert outcome("run") == 0
        assert configs[0].streams == {"demo": StreamConfig(source="demo:")}

    def test_the_command_line_wins_over_the_file(self, configs: list[Any], tmp_path: Path) -> None:
        file = tmp_path / "a.toml"
        file.write_text('[server]\nlisten = "127.0.0.1:1"\n[model]\nname = "embedded"\nprecision = "bf16"\n')
        arguments = ["--listen", "127.0.0.1:0", "--precision", "fp32", "--record", "/rec", "--config", str(file)]
        assert outcome("run", "lavfi:testsrc2", "lavfi:mandelbrot", *arguments) == 0
        config = configs[0]
        assert (config.server.listen, config.model.name, config.model.precision) == ("127.0.0.1:0", "embedded", "fp32")
        assert config.recording.directory == Path("/rec")
        assert list(config.streams) == ["lavfi-testsrc2", "lavfi-mandelbrot"]

    def test_a_file_with_streams_needs_no_source(self, configs: list[Any], tmp_path: Path) -> None:
        (tmp_path / "a.toml").write_text('[streams.porch]\nsource = "rtsp://cam/"\n')
        assert outcome("run", "--config", str(tmp_path / "a.toml")) == 0
        assert list(configs[0].streams) == ["porch"]

    @pytest.mark.parametrize(
        ("name", "content", "reason"),
        [
            ("missing.mp4", None, "not found"),
            ("notes.mp4", b"hello", "is not a video that can be decoded"),
            ("", None, "is a directory, not a video"),
        ],
    )
    def test_a_source_that_cannot_be_is_reported_at_once(
        self,
        configs: list[Any],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        name: str,
        content: bytes | None,
        reason: str,
    ) -> None:
        file = tmp_path / name
        if content is not None:
            file.write_bytes(content)
        assert outcome("run", str(file)) == 1
        err = capsys.readouterr().err
        assert err == f"streamd: {file}: {reason}\n"
        assert configs == []

    def test_a_protocol_that_ffmpeg_lacks_is_reported_at_once(
        self, configs: list[Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert outcome("run", "srt://h:9000") == 1
        assert capsys.readouterr().err == f"streamd: srt://h:9000: {NO_SRT}\n"
        assert configs == []

    def test_strangers_are_kept_out(self, configs: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
        assert outcome("run", "--listen", "0.0.0.0:8080") == 78
        assert "nobody has to log in" in capsys.readouterr().err
