"""Against OpenCV, and by hand for what OpenCV does not have."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from streamd.depth.enlarge import enlarge
from streamd.depth.models.base import Enlargement

DEPTH = np.random.default_rng(0).standard_normal((12, 21)).astype(np.float32)
SIZES = [(640, 360), (21, 12), (7, 500), (2, 3), (1, 1), (2100, 1000)]


@pytest.mark.parametrize(("how", "kernel"), [("cubic", cv2.INTER_CUBIC), ("linear", cv2.INTER_LINEAR)])
@pytest.mark.parametrize("size", SIZES)
def test_opencvs(how: Enlargement, kernel: int, size: tuple[int, int]) -> None:
    np.testing.assert_array_equal(enlarge(DEPTH, *size, how), cv2.resize(DEPTH, size, interpolation=kernel))


@pytest.mark.parametrize("size", SIZES)
def test_corners_stay_in_place(size: tuple[int, int]) -> None:
    """Against interpolation along each axis with the first and the last pixel where they were."""
    width, height = size
    rows = np.array([np.interp(np.linspace(0, 20, width), np.arange(21), row) for row in DEPTH])
    expected = np.array([np.interp(np.linspace(0, 11, height), np.arange(12), column) for column in rows.T]).T
    found = enlarge(DEPTH, width, height, "corners")
    assert (found.shape, found.dtype) == ((height, width), np.float32)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_one_pixel_fills_the_picture() -> None:
    assert (enlarge(np.full((1, 1), 3, np.float32), 5, 4, "corners") == 3).all()
