"""What attention adds for where a query and a key are to each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamd.media.frames import FloatImage


def relative_biases(table: FloatImage, offsets: NDArray[np.intp]) -> FloatImage:
    """(1, heads, queries, keys), for every pair of places in two square grids.

    ``table`` is (heads, rows, columns); ``offsets``, (side, side') of the two grids, says for places on one axis which
    row or column of the table is theirs.
    """
    biases = table[:, offsets[:, None, :, None], offsets[None, :, None, :]]
    queries, keys = offsets.shape
    return biases.reshape(1, len(table), queries * queries, keys * keys)
