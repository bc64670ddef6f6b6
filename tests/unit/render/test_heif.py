"""HEIC and AVIF: the same picture as people see it, once upright, within bounds; and one line where they cannot be."""

from __future__ import annotations

import builtins
import io
import struct
import sys
from typing import Any

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import AvifImagePlugin, Image

from streamd.errors import PictureError
from streamd.media.frames import ByteImage
from streamd.render.picture_reader import read_picture
from tests.support.picture_files import TURNED, corners, corners_of, exif, heic

CORNERS = corners(64, 128)


def avif(pixels: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "AVIF", **({"quality": 95, "speed": 10} | options))
    return buffer.getvalue()


WRITERS = {"HEIC": heic, "AVIF": avif}


def close(rgb: ByteImage, expected: NDArray[Any], by: float = 4) -> bool:
    return rgb.shape == expected.shape and float(np.abs(rgb.astype(int) - expected).mean()) <= by


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("orientation", TURNED)
def test_upright_once_by_the_container_though_exif_says_it_too(kind: str, orientation: int) -> None:
    data = WRITERS[kind](CORNERS, exif=b"Exif\0\0" + exif(orientation))
    assert (b"irot" in data or b"imir" in data) == (orientation > 1)
    assert corners_of(read_picture(data)) == TURNED[orientation]


def test_an_orientation_in_exif_alone_is_not_applied() -> None:
    """As MIAF has it, and browsers do."""
    data = heic(CORNERS, exif=b"Exif\0\0" + exif(6)).replace(b"irot", b"free", 1)
    assert corners_of(read_picture(data)) == TURNED[1]


@pytest.mark.parametrize(("kind", "mode"), [("HEIC", "RGBA"), ("AVIF", "RGBA")])
def test_what_is_transparent_lies_on_white(kind: str, mode: str) -> None:
    pixels = np.dstack([np.zeros_like(CORNERS), np.full((64, 128), 255, np.uint8)])
    pixels[:, 64:, 3] = 0
    data = heic(pixels, mode) if kind == "HEIC" else avif(pixels)
    rgb = read_picture(data)
    assert rgb[:, :60].max() < 12
    assert rgb[:, 68:].min() > 243


def test_tiles_are_put_together_as_phones_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pillow_heif.options.GRID_TILE_SIZE", 64)
    y, x = np.mgrid[0:150, 0:200]
    pixels = np.stack([x, y, (x + y) // 2], axis=-1).astype(np.uint8)
    data = heic(pixels)
    assert b"grid" in data
    assert close(read_picture(data), pixels)


def test_ten_bits_come_out_as_bright_as_they_are() -> None:
    level = np.full((64, 64, 3), 200 * 257, np.uint16)
    assert close(read_picture(heic(level, "RGB;16", quality=-1)), np.full((64, 64, 3), 200), 1)
    assert close(read_picture(heic(level[..., 0] // 16, "I;16", quality=-1)), np.full((64, 64, 3), 12), 1)


def test_gray() -> None:
    assert close(read_picture(heic(np.full((64, 64), 77, np.uint8), "L")), np.full((64, 64, 3), 77), 2)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_size_is_refused_before_it_is_decoded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = WRITERS[kind](CORNERS)
    at = data.index(b"ispe") + 8
    claimed = data[:at] + struct.pack(">II", 8000, 4000) + data[at + 8 :]
    with pytest.raises(PictureError, match=r"more than 25 million pixels|damaged"):
        read_picture(claimed)
    monkeypatch.setattr("streamd.render.heif.MAX_PIXELS", 64 * 128 - 1)
    monkeypatch.setattr(AvifImagePlugin.AvifImageFile, "load", None)
    monkeypatch.setattr(pillow_heif.HeifFile, "__array_interface__", None)
    with pytest.raises(PictureError, match="more than 25 million pixels"):
        read_picture(data)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_damaged_file_is_one_line(kind: str) -> None:
    data = WRITERS[kind](CORNERS)
    for broken in (data[: len(data) // 2], data[:40], data[:-200] + bytes(200)):
        with pytest.raises(PictureError, match=f"is a {kind} picture that is damaged"):
            read_picture(broken)


@pytest.mark.parametrize(
    ("kind", "module", "package"), [("HEIC", "pillow_heif", "pillow-heif"), ("AVIF", "PIL", "pillow")]
)
def test_without_its_library_the_line_says_what_to_install(
    kind: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = WRITERS[kind](CORNERS)
    real = builtins.__import__

    def lacking(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == module:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", lacking)
    for loaded in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    with pytest.raises(PictureError, match=f"which takes {package} to read: pip install {package}, or convert it"):
        read_picture(data)
