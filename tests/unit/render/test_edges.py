"""Edges are drawn half as wide as the network gives them; what is smooth, flat or faint stays as it is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.media.frames import FloatImage
from streamd.render.edges import drawn

WIDTH = 64


def step(low: float, high: float, blur_px: float = 1.5) -> FloatImage:
    """Far on the left, near on the right."""
    sharp = np.where(np.arange(WIDTH) < WIDTH // 2, low, high).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(np.tile(sharp, (32, 1)), (0, 0), blur_px))


def width_px(depth: FloatImage) -> float:
    """From a tenth to nine tenths of the step, in the middle row."""
    share = (depth[16] - depth.min()) / (depth.max() - depth.min())
    left, right = (np.interp(at, share, np.arange(WIDTH)) for at in (0.1, 0.9))
    return float(right - left)


def test_plain_is_the_array_itself() -> None:
    depth = step(0.1, 0.9)
    assert drawn(depth, "plain") is depth


def test_an_edge_gets_narrower_and_stays_where_it_is() -> None:
    blurred = step(0.1, 0.9)
    crisp = drawn(blurred, "crisp")
    assert width_px(crisp) < 0.65 * width_px(blurred)
    middle = [np.interp(0.5, depth[16], np.arange(WIDTH)) for depth in (blurred, crisp)]
    assert middle[0] == pytest.approx(middle[1], abs=0.05)
    assert crisp.dtype == np.float32


def test_what_is_faint_is_left_alone() -> None:
    faint = step(0.5, 0.5 + 7 / 255)
    assert np.array_equal(drawn(faint, "crisp"), faint)


def test_a_slope_stays_a_slope() -> None:
    slope = np.tile(np.linspace(0, 1, WIDTH, dtype=np.float32), (32, 1))
    inside = (slice(None), slice(2, -2))
    assert np.allclose(drawn(slope, "crisp")[inside], slope[inside], atol=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_no_value_leaves_those_around_it(seed: int) -> None:
    """So nothing rings, and the range stays."""
    depth = np.random.default_rng(seed).random((24, 32), np.float32)
    kernel = np.ones((5, 5), np.uint8)
    crisp = drawn(depth, "crisp")
    assert (crisp >= cv2.erode(depth, kernel) - 1e-6).all()
    assert (crisp <= cv2.dilate(depth, kernel) + 1e-6).all()
