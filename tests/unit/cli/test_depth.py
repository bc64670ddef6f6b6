"""What becomes of OUTPUT, without a network."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from unittest.mock import Mock

import pytest

from streamd.cli import depth
from streamd.host.whole_file import WholeFile
from tests.support.commands import outcome

pytestmark = pytest.mark.usefixtures("logging_restored")


class TestDepth:
    @pytest.fixture(autouse=True)
    def service(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(depth, "start_service", lambda *_, **__: Mock())
        monkeypatch.setattr("streamd.jobs.picture.depth_of_picture", lambda data, *_: data.upper())
        monkeypatch.chdir(tmp_path)
        Path("in.jpg").write_bytes(b"picture")

    def test_a_file_that_was_there_stays_when_the_disk_is_full(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        Path("out.png").write_bytes(b"precious")
        monkeypatch.setattr(os, "fsync", full)
        assert outcome("depth", "in.jpg", "--output", "out.png") == 1
        assert capsys.readouterr().err == "streamd: out.png: no space left on the disk\n"
        assert Path("out.png").read_bytes() == b"precious"
        assert sorted(os.listdir()) == ["in.jpg", "out.png"]

    def test_from_and_to_any_name(self) -> None:
        for name in ("12:30", "rtsp:x", "a\nb", os.fsdecode(b"\xff"), "y" * 251):
            Path(name).write_bytes(b"picture")
            assert outcome("depth", name, "--output", f"{name}.png") == 0
            assert Path(f"{name}.png").read_bytes() == b"PICTURE"

    def test_through_a_link(self) -> None:
        Path("out.png").symlink_to("target.png")
        assert outcome("depth", "in.jpg", "--output", "out.png") == 0
        assert Path("out.png").is_symlink()
        assert Path("target.png").read_bytes() == b"PICTURE"

    def test_one_at_a_time(self, capsys: pytest.CaptureFixture[str]) -> None:
        with WholeFile("out.png"):
            assert outcome("depth", "in.jpg", "--output", "out.png") == 1
        assert capsys.readouterr().err == (
            f"streamd: out.png: is being written by another streamd (pid {os.getpid()})\n"
        )

    def test_from_a_pipe_to_standard_output(self, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        os.mkfifo("pipe")
        writer = threading.Thread(target=lambda: Path("pipe").write_bytes(b"picture"))
        writer.start()
        assert outcome("depth", "pipe", "--output", "-", "--format", "png") == 0
        writer.join()
        assert capfdbinary.readouterr().out == b"PICTURE"

    def test_several_into_a_folder(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr("streamd.jobs.pictures.depth_of_picture", lambda data, *_: data.upper())
        Path("other.jpg").write_bytes(b"other")
        assert outcome("depth", "in.jpg", "other.jpg", "--output", "out") == 0
        assert {file.name: file.read_bytes() for file in Path("out").iterdir()} == {
            "in.png": b"PICTURE",
            "other.png": b"OTHER",
        }
        assert outcome("depth", "in.jpg", "--output", "out", "--format", "npz") == 0, "a folder, so one goes there too"
        assert outcome("depth", "in.jpg", "--output", "new/", "--format", "npz") == 0
        assert Path("out/in.npz").read_bytes() == Path("new/in.npz").read_bytes() == b"PICTURE"
        assert capfd.readouterr().err == ""

    def test_of_several_those_that_fail_are_told(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert outcome("depth", "gone.jpg", "none.jpg", "--output", "out") == 1
        assert sorted(capfd.readouterr().err.splitlines()) == [
            "streamd: 2 of 2 pictures failed",
            "streamd: gone.jpg: no such file or directory",
            "streamd: none.jpg: no such file or directory",
        ]

    @pytest.mark.parametrize(
        ("output", "line"),
        [
            ("in.jpg", "streamd: in.jpg: is no folder, and there are 2 pictures\n"),
            ("-", "streamd: /dev/stdout: is no folder, and there are 2 pictures\n"),
        ],
    )
    def test_several_need_a_folder(self, output: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert outcome("depth", "in.jpg", "other.jpg", "--output", output) == 2
        assert capsys.readouterr().err == line
