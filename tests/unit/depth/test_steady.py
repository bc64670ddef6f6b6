"""streamd.depth.steady: blended where the picture is still, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.depth.steady import SteadyDepth
from streamd.media.frames import ByteImage, FloatImage

SIZE = (32, 64)


def depth(value: float) -> FloatImage:
    return np.full(SIZE, value, np.float32)


def luma(value: int) -> ByteImage:
    return np.full(SIZE, value, np.uint8)


def test_still_pixels_are_blended_and_moved_ones_are_new() -> None:
    steady, seen = SteadyDepth(0.5), luma(100)
    steady.blend(depth(0), seen, "m")
    moved = seen.copy()
    moved[:, 32:] = 150
    shown = steady.blend(depth(8), moved, "m")
    assert (shown[:, :28] == 4).all()
    assert (shown[:, 36:] == 8).all()
    assert (np.diff(shown[0]) >= 0).all()


def test_it_settles_on_what_stays() -> None:
    steady = SteadyDepth(0.5)
    steady.blend(depth(0), luma(100), "m")
    shown = [float(steady.blend(depth(8), luma(100), "m").max()) for _ in range(4)]
    assert shown == [4, 6, 7, 7.5]


def test_a_map_that_was_not_needed_counts_less() -> None:
    steady = SteadyDepth(0.5)
    steady.blend(depth(0), luma(100), "m")
    np.testing.assert_allclose(steady.blend(depth(100), luma(100), "m", refreshed=True), 35, rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_another_model_or_size_begins_anew(smoothing: float) -> None:
    steady = SteadyDepth(smoothing)
    steady.blend(depth(0), luma(100), "m")
    other = depth(8)
    assert steady.blend(other, luma(100), "other") is other
    small = np.ones((8, 8), np.float32)
    assert steady.blend(small, np.zeros((8, 8), np.uint8), "other") is small


def test_one_bad_map_does_not_spoil_the_next() -> None:
    steady = SteadyDepth(0.5)
    steady.blend(depth(4), luma(100), "m")
    steady.blend(depth(np.nan), luma(100), "m")
    steady.blend(depth(4), luma(100), "m")
    assert (steady.blend(depth(4), luma(100), "m") == 4).all()
