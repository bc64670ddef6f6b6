"""How far the depth of one runtime, precision or machine is from that of another."""

from __future__ import annotations

import math

import numpy as np

from streamd.media.frames import FloatImage

MAX_ERROR = 0.01
"""What differs more from float32 here is not used."""


def error_share(depth: FloatImage, expected: FloatImage) -> float:
    """Mean |difference| as a share of the 2-98 % spread of what was expected; infinite for a NaN."""
    low, high = np.percentile(expected, (2, 98))
    error = float(np.abs(depth - expected).mean() / max(high - low, np.finfo(np.float32).tiny))
    return error if math.isfinite(error) else math.inf
