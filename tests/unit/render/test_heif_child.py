"""HEIC and AVIF as libheif and libavif decode them: turned once, whole, and refused by their size first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import AvifImagePlugin

from streamd.media.frames import ByteImage
from streamd.render.heif_child import Decoded, TooLarge, decoded
from streamd.render.picture_reader import _upright
from tests.support.picture_files import TURNED, avif, corners, corners_of, exif, heic

CORNERS = corners(64, 128)
MANY = 1 << 24
WRITERS = {"HEIC": heic, "AVIF": avif}


def shown(found: Decoded) -> ByteImage:
    """(h, w, 3) RGB, upright."""
    bgr = found.pixels[..., :3] if found.pixels.ndim == 3 else np.dstack([found.pixels] * 3)
    return _upright(bgr[..., ::-1].copy(), found.orientation)


def close(rgb: NDArray[Any], expected: Any, by: float = 4) -> bool:
    return float(np.abs(rgb.astype(int) - expected).mean()) <= by


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("orientation", TURNED)
def test_upright_once_by_the_container_though_exif_says_it_too(kind: str, orientation: int) -> None:
    data = WRITERS[kind](CORNERS, exif=b"Exif\0\0" + exif(orientation))
    assert (b"irot" in data or b"imir" in data) == (orientation > 1)
    assert corners_of(shown(decoded(kind, data, MANY))) == TURNED[orientation]


def test_an_orientation_in_exif_alone_is_not_applied() -> None:
    """As MIAF has it, and browsers do."""
    data = heic(CORNERS, exif=b"Exif\0\0" + exif(6)).replace(b"irot", b"free", 1)
    assert corners_of(shown(decoded("HEIC", data, MANY))) == TURNED[1]


@pytest.mark.parametrize("kind", WRITERS)
def test_alpha_comes_along(kind: str) -> None:
    pixels = np.dstack([CORNERS, np.full((64, 128), 255, np.uint8)])
    pixels[:, 64:, 3] = 0
    data = heic(pixels, "RGBA") if kind == "HEIC" else avif(pixels)
    alpha = decoded(kind, data, MANY).pixels[..., 3]
    assert alpha[:, :60].min() > 250
    assert alpha[:, 68:].max() < 5


def test_tiles_are_put_together_as_phones_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pillow_heif.options.GRID_TILE_SIZE", 64)
    y, x = np.mgrid[0:150, 0:200]
    pixels = np.stack([x, y, (x + y) // 2], axis=-1).astype(np.uint8)
    data = heic(pixels)
    assert b"grid" in data
    assert close(shown(decoded("HEIC", data, MANY)), pixels)


def test_ten_bits_come_out_as_bright_as_they_are() -> None:
    level = np.full((64, 64, 3), 200 * 257, np.uint16)
    assert close(decoded("HEIC", heic(level, "RGB;16", quality=-1), MANY).pixels, 200, 1)
    gray = decoded("HEIC", heic(level[..., 0], "I;16", quality=-1), MANY).pixels
    assert gray.dtype == np.uint16
    assert close(gray, 200 * 257, 64)


def test_gray() -> None:
    level = np.full((64, 64), 77, np.uint8)
    assert close(decoded("HEIC", heic(level, "L"), MANY).pixels, 77, 2)
    found = decoded("AVIF", avif(level, subsampling="4:0:0"), MANY).pixels
    assert found.shape[2:] in ((), (1,), (3,))
    assert close(found, 77, 2)


def test_gray_with_alpha() -> None:
    pixels = np.dstack([np.full((64, 64), 77, np.uint8), np.full((64, 64), 128, np.uint8)])
    for kind, data in (("HEIC", heic(pixels, "LA")), ("AVIF", avif(pixels, subsampling="4:0:0"))):
        found = decoded(kind, data, MANY).pixels
        assert close(found[..., 0], 77, 2)
        assert close(found[..., -1], 128, 2)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_size_is_refused_before_anything_is_decoded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AvifImagePlugin.AvifImageFile, "load", None)
    monkeypatch.setattr(pillow_heif.HeifFile, "__array_interface__", None)
    with pytest.raises(TooLarge):
        decoded(kind, WRITERS[kind](CORNERS), 64 * 128 - 1)
