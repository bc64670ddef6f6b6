from __future__ import annotations

import cv2
import numpy as np

from streamd.media.frames import canvas, yuv_planes
from streamd.render.colormap import GRAY_Y, INFERNO_RGB, INFERNO_U, INFERNO_V, INFERNO_Y


def decoded(y: int, u: int, v: int) -> np.ndarray:
    """What a player shows of one colour: swscale, BT.601 limited range."""
    picture = canvas(16, 16)
    picture.colorspace, picture.color_range = 6, 1
    for plane, code in zip(yuv_planes(picture), (y, u, v), strict=True):
        plane[:] = code
    return picture.to_ndarray(format="rgb24")[8, 8].astype(int)


def test_inferno_is_the_published_one() -> None:
    """First, middle and last colour of matplotlib's table, times 255."""
    assert INFERNO_RGB.shape == (256, 3)
    for code, colour in ((0, (0, 0, 4)), (128, (188, 55, 84)), (255, (252, 255, 164))):
        np.testing.assert_allclose(INFERNO_RGB[code], colour, atol=2)


def test_the_tables_decode_back_to_inferno() -> None:
    """Within 3 code values of each channel: what 8-bit YUV can hold."""
    for code in range(256):
        shown = decoded(INFERNO_Y[code], INFERNO_U[code], INFERNO_V[code])
        assert np.abs(shown - INFERNO_RGB[code]).max() <= 3, code


def test_readers_that_know_nothing_but_bt601_see_it_too() -> None:
    """OpenCV's own conversion ignores the headers."""
    codes = np.arange(256, dtype=np.uint8)
    picture = canvas(512, 2)
    y, u, v = yuv_planes(picture)
    y[:], u[:], v[:] = np.repeat(INFERNO_Y, 2), INFERNO_U, INFERNO_V
    rgb = cv2.cvtColor(picture.to_ndarray(), cv2.COLOR_YUV2RGB_I420)[0, ::2].astype(int)
    assert np.abs(rgb - INFERNO_RGB[codes]).max() <= 4


def test_nearer_is_brighter() -> None:
    assert (np.diff(INFERNO_Y.astype(int)) >= 0).all()
    assert (INFERNO_Y[0], INFERNO_Y[255]) == (16, 225)


def test_gray_fills_the_limited_range() -> None:
    assert (GRAY_Y[0], GRAY_Y[255]) == (16, 235)
    assert (np.diff(GRAY_Y.astype(int)) >= 0).all()
    assert np.abs(decoded(GRAY_Y[77], 128, 128) - 77).max() <= 1
