"""Whether a quantised network is as good as the exact one, on pictures that it was not calibrated on.

The figures are those that told good from bad when they were tried: bf16 meets all of them, and a network whose every
layer is in int8 none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from streamd.media.frames import FloatImage

MAX_MEAN, MAX_WORST = 0.01, 0.025
MIN_SPEARMAN = 0.995
MIN_EDGES = 0.85
MAX_FLICKER = 1.5
EDGE_PX = 1.5
"""An edge counts as found so far from where it should be."""
BF16_FLICKER = 0.0039
"""What bf16 adds, measured: stands for it where the CPU does not compute in it."""

_SOBEL = 8.0
"""What OpenCV's gives for a slope of 1."""

Takes = Sequence[FloatImage]
"""What a network makes of each take: (n, h, w), of pictures one after the other."""


@dataclass(frozen=True)
class Figures:
    """How far a network strays from fp32."""

    mean: float
    """Of the error of all pictures: RMSE after scale and shift, as a share of the 2-98 % spread of fp32's map."""
    worst: float
    """Picture's."""
    spearman: float
    """Correlation of the ranks of depths in a picture; the lowest."""
    edges: float
    """F1 of edges found within ``EDGE_PX``; the mean."""
    flicker: float
    """How much the error changes from a picture to the next, as a multiple of what it does in bf16."""

    @property
    def good(self) -> bool:
        """False for a NaN too."""
        return (
            self.mean <= MAX_MEAN
            and self.worst <= MAX_WORST
            and self.spearman >= MIN_SPEARMAN
            and self.edges >= MIN_EDGES
            and self.flicker <= MAX_FLICKER
        )

    def __str__(self) -> str:
        return (
            f"mean error {100 * self.mean:.2f} % (at most {100 * MAX_MEAN:g} %), "
            f"worst {100 * self.worst:.2f} % (at most {100 * MAX_WORST:g} %), "
            f"Spearman {self.spearman:.4f} (at least {MIN_SPEARMAN}), "
            f"edges F1 {self.edges:.2f} (at least {MIN_EDGES}), "
            f"flicker {self.flicker:.2f} x bf16 (at most {MAX_FLICKER})"
        )


def compare(expected: Takes, made: Takes, in_bf16: Takes | None) -> Figures:
    """``expected`` is in fp32, ``made`` by the network in question; None where the CPU has no bf16. One take has two
    pictures at least."""
    pairs = [pair for takes in zip(expected, made, strict=True) for pair in zip(*takes, strict=True)]
    sizes = [math.sqrt(float(np.mean(_error(*pair) ** 2))) for pair in pairs]
    own = BF16_FLICKER if in_bf16 is None else _flicker(expected, in_bf16)
    return Figures(
        mean=float(np.mean(sizes)),
        worst=float(np.max(sizes)),
        spearman=float(np.min([_spearman(*pair) for pair in pairs])),
        edges=float(np.mean([_edges_found(*pair) for pair in pairs])),
        flicker=_ratio(_flicker(expected, made), own),
    )


def _error(expected: FloatImage, made: FloatImage) -> FloatImage:
    """Of a picture, or of a take by one scale and shift: as a share of the spread of what was expected."""
    low, high = np.percentile(expected, (2, 98))
    x, y = made.astype(np.float64), expected.astype(np.float64)
    variance = x.var()
    scale = ((x - x.mean()) * (y - y.mean())).mean() / variance if variance else 0.0
    aligned = scale * (x - x.mean()) + y.mean()
    return np.asarray((aligned - y) / max(high - low, np.finfo(np.float32).tiny), np.float32)


def _flicker(expected: Takes, made: Takes) -> float:
    """How much the error changes from a picture to the next. A scale that wavers is such a change."""
    errors = [_error(*takes) for takes in zip(expected, made, strict=True)]
    changes = [np.abs(after - before).mean() for take in errors for before, after in pairwise(take)]
    return float(np.mean(changes)) if changes else math.nan


def _ratio(made: float, own: float) -> float:
    if made == own:
        return 1.0
    return made / own if own else math.inf


def _spearman(expected: FloatImage, made: FloatImage) -> float:
    a, b = _ranks(expected), _ranks(made)
    spread = a.std() * b.std()
    return float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread else math.nan


def _ranks(depth: FloatImage) -> NDArray[np.float64]:
    """Equal values share their mean rank."""
    _, places, counts = np.unique(depth.ravel(), return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks


def _edges_found(expected: FloatImage, made: FloatImage) -> float:
    """F1."""
    there, found = _edges(expected), _edges(made)
    if not there.any() or not found.any():
        return float(there.any() == found.any())
    precision, recall = (_near(there)[found]).mean(), (_near(found)[there]).mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _near(edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    distance = cv2.distanceTransform((~edges).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance <= EDGE_PX)


def _edges(depth: FloatImage) -> NDArray[np.bool_]:
    """Where depth changes faster than on both sides, in the steepest fifth of the map, and faster than on a floor that
    reaches from the nearest to the farthest."""
    across, down = (cv2.Sobel(depth, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    steep = np.hypot(across, down)
    least = _SOBEL * float(np.diff(np.percentile(depth, (2, 98)))[0]) / min(depth.shape)
    around = np.pad(steep, 1)
    sideways = np.abs(across) >= np.abs(down)
    before = np.where(sideways, around[1:-1, :-2], around[:-2, 1:-1])
    behind = np.where(sideways, around[1:-1, 2:], around[2:, 1:-1])
    ridge: NDArray[np.bool_] = (steep >= before) & (steep > behind) & (steep >= max(np.percentile(steep, 80), least))
    return ridge
