from __future__ import annotations

import numpy as np

from streamd.depth.models.attention import relative_biases


def test_the_bias_of_a_pair_is_that_of_its_offsets() -> None:
    """Queries are every second place of a grid of 3 by 3, and the table is by distance: row, then column."""
    table = np.arange(2 * 3 * 3, dtype=np.float32).reshape(2, 3, 3)
    places = np.arange(3)
    biases = relative_biases(table, abs(places[::2, None] - places))
    assert biases.shape == (1, 2, 4, 9)
    query, key = (2, 0), (1, 2)
    assert biases[0, 1, 1 * 2 + 0, 1 * 3 + 2] == table[1, abs(query[0] - key[0]), abs(query[1] - key[1])]
    assert (biases[0, 0, 0] == table[0].ravel()).all()
