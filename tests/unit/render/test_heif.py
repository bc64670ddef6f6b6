"""HEIC and AVIF through the child that decodes them: as people see them, and one line where they cannot be read."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streamd.errors import PictureError
from streamd.render import heif
from streamd.render.picture_reader import read_picture
from tests.support.picture_files import TURNED, avif, corners, corners_of, exif, heic

CORNERS = corners(64, 128)
WRITERS = {"HEIC": heic, "AVIF": avif}


def claiming(data: bytes, width: int, height: int) -> bytes:
    """The same, with another size in its `ispe`."""
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_turned_one_is_upright(kind: str) -> None:
    assert corners_of(read_picture(WRITERS[kind](CORNERS, exif=b"Exif\0\0" + exif(6)))) == TURNED[6]


@pytest.mark.parametrize("kind", WRITERS)
def test_what_is_transparent_lies_on_white(kind: str) -> None:
    pixels = np.dstack([np.zeros_like(CORNERS), np.full((64, 128), 255, np.uint8)])
    pixels[:, 64:, 3] = 0
    rgb = read_picture(heic(pixels, "RGBA") if kind == "HEIC" else avif(pixels))
    assert rgb[:, :60].max() < 12
    assert rgb[:, 68:].min() > 243


def test_a_dark_gray_of_ten_bits_stays_dark() -> None:
    rgb = read_picture(heic(np.full((64, 64), 12 * 257, np.uint16), "I;16", quality=-1))
    assert abs(int(rgb.mean()) - 12) <= 1


def test_what_claims_too_much_is_refused() -> None:
    with pytest.raises(PictureError, match="is a picture of more than 25 million pixels"):
        read_picture(claiming(avif(CORNERS), 8000, 4000))


@pytest.mark.parametrize("kind", WRITERS)
def test_what_holds_more_than_it_claims_ends_the_child_at_its_bound(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """libavif makes 220 million pixels of 3 kB that claim 64x64, and 64x64 of these."""
    bounded = (
        "import sys; from streamd.render import heif_child as child; child.ROOM_BYTES = 4 << 20; sys.exit(child.main("
    )
    monkeypatch.setattr(heif, "_COMMAND", [sys.executable, "-c", f"{bounded}sys.argv[1:]))"])
    with pytest.raises(PictureError, match=f"is an? {kind} picture that is damaged"):
        read_picture(claiming(WRITERS[kind](np.zeros((2048, 2048, 3), np.uint8)), 64, 64))


@pytest.mark.parametrize("kind", WRITERS)
def test_a_damaged_file_is_one_line(kind: str) -> None:
    data = WRITERS[kind](CORNERS)
    for broken in (data[: len(data) // 2], data[:-200] + bytes(200)):
        with pytest.raises(PictureError, match=f"is an? {kind} picture that is damaged"):
            read_picture(broken)


def test_what_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heif, "TIMEOUT_S", 0.01)
    with pytest.raises(PictureError, match="takes longer than 0 s to read"):
        read_picture(heic(CORNERS))


@pytest.mark.parametrize(
    ("kind", "module", "package"), [("HEIC", "pillow_heif", "pillow-heif"), ("AVIF", "PIL", "pillow")]
)
def test_without_its_library_the_line_says_what_to_install(
    kind: str, module: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{module}.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(PictureError, match=f"which takes {package} to read: pip install {package}, or convert it"):
        read_picture(WRITERS[kind](CORNERS))


def test_the_child_is_told_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA_PASSWORD", "hunter22")
    asked = {}

    def run(*_: object, env: dict[str, str], **__: object) -> None:
        asked.update(env)
        raise subprocess.TimeoutExpired("", 1)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(PictureError):
        read_picture(heic(CORNERS))
    assert "CAMERA_PASSWORD" not in asked
