"""Commands without standard descriptors, and between pipes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.pictures import make_clip
from tests.e2e.processes import environment_of
from tests.support.waiting import scaled


def shell(home: Path, folder: Path, line: str) -> subprocess.CompletedProcess[bytes]:
    """``streamd`` stands for the command."""
    line = line.replace("streamd", f"{sys.executable} -m streamd")
    environment = environment_of(home)
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=scaled(60),
    )


@pytest.mark.parametrize("streams", ["<&- >&- 2>&-", "2>/dev/full >/dev/full"])
def test_a_video_is_converted_whatever_the_standard_streams_are(home: Path, tmp_path: Path, streams: str) -> None:
    make_clip(tmp_path / "in.mp4", 0.5)
    done = shell(home, tmp_path, f"streamd convert in.mp4 out.mp4 --model embedded {streams}")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (tmp_path / "out.mp4").stat().st_size > 1000


def test_pictures_and_videos_come_through_pipes(home: Path, tmp_path: Path) -> None:
    make_clip(tmp_path / "in.mp4", 0.5)
    picture = "ffmpeg -v error -i in.mp4 -frames:v 1 -f image2pipe -c:v png -"
    done = shell(home, tmp_path, f"{picture} | streamd depth - --output - --format png --model embedded")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"\x89PNG")
    assert done.stdout.endswith(b"IEND\xaeB\x60\x82")
    done = shell(home, tmp_path, "mkfifo f; (cat in.mp4 > f) & streamd convert f out.mp4 --model embedded")
    assert (done.returncode, done.stderr) == (0, b"")
    done = shell(home, tmp_path, "echo no video > text; (cat text > f) & streamd convert f out.mp4 --model embedded")
    assert done.stderr == b"streamd: f: is not a video that can be decoded\n"
    done = shell(home, tmp_path, "streamd run f")
    assert done.stderr.startswith(b"streamd: f: is a pipe")


def test_who_reads_a_listing_may_stop(home: Path, tmp_path: Path) -> None:
    done = shell(home, tmp_path, "set -o pipefail; streamd schema | head -1 && streamd --help | true")
    assert (done.returncode, done.stderr) == (0, b"")
