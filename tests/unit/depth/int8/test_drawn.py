from __future__ import annotations

import numpy as np

from streamd.depth.int8.drawn import HEIGHT, WIDTH, draw


def test_the_same_each_time_and_another_for_each_seed() -> None:
    one, again, other = draw(1, 2), draw(1, 2), draw(2, 2)
    np.testing.assert_array_equal(one, again)
    assert {picture.shape for picture in one} == {(HEIGHT, WIDTH, 3)}
    assert np.abs(one[0].astype(int) - other[0]).mean() > 20


def test_things_move() -> None:
    first, second = (picture.astype(int) for picture in draw(1, 2))
    changed = np.abs(first - second).max(axis=2) > 30
    assert 0.001 < changed.mean() < 0.3
