"""The guard, with planted outputs: each figure alone, and what is taken and what refused."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import cv2
import numpy as np
import pytest

from streamd.depth.int8.guard import BF16_FLICKER, Figures, compare
from streamd.media.frames import FloatImage

RANDOM = np.random.default_rng(0)
GOOD = Figures(0.01, 0.025, 0.995, 0.85, 1.5)


def maps(seed: int) -> FloatImage:
    """(2, 64, 128): things before a slope."""
    random = np.random.default_rng(seed)
    depth = np.tile(np.linspace(1, 4, 64, dtype=np.float32)[:, None], (1, 128))
    for _ in range(5):
        centre = (int(random.integers(10, 118)), int(random.integers(8, 56)))
        cv2.circle(depth, centre, int(random.integers(4, 14)), float(random.uniform(3, 8)), -1)
    return np.stack([cv2.GaussianBlur(depth, (0, 0), 1.5)] * 2)


EXACT = [maps(seed) for seed in range(3)]
SPREADS = [float(np.diff(np.percentile(take, (2, 98)))[0]) for take in EXACT]


def noisy(share: float, seed: int = 1, smooth: float = 3.0) -> list[FloatImage]:
    """An RMSE of about ``share`` of the spread, another in each picture."""
    random, made = np.random.default_rng(seed), []
    for take, spread in zip(EXACT, SPREADS, strict=True):
        noise = np.stack([cv2.GaussianBlur(each, (0, 0), smooth) for each in random.standard_normal(take.shape)])
        made.append((take + share * spread * noise / noise.std()).astype(np.float32))
    return made


BF16 = noisy(0.005, seed=2)


def test_what_is_equal_has_no_fault() -> None:
    figures = compare(EXACT, EXACT, EXACT)
    assert (figures.mean, figures.worst, figures.edges, figures.flicker) == (0, 0, 1, 1)
    assert figures.spearman == pytest.approx(1)


def test_scale_and_shift_are_no_error() -> None:
    figures = compare(EXACT, [3 * take - 7 for take in EXACT], BF16)
    assert (figures.mean, figures.worst, figures.flicker) == pytest.approx((0, 0, 0), abs=1e-5)
    assert figures.spearman == pytest.approx(1)
    assert figures.good


def test_the_error_is_rmse_as_a_share_of_the_spread() -> None:
    figures = compare(EXACT, noisy(0.02), BF16)
    assert figures.mean == pytest.approx(0.02, rel=0.1)
    assert figures.mean <= figures.worst < 0.025


def test_one_bad_picture_is_the_worst() -> None:
    made = [take.copy() for take in BF16]
    made[1][0] = noisy(0.05)[1][0]
    figures = compare(EXACT, made, BF16)
    assert figures.worst == pytest.approx(0.05, rel=0.1)
    assert figures.mean == pytest.approx((5 * 0.005 + 0.05) / 6, rel=0.1)
    assert not figures.good


def test_what_is_turned_round_has_the_ranks_of_the_opposite() -> None:
    assert compare(EXACT, [-take for take in EXACT], BF16).spearman == pytest.approx(-1)


def test_edges_that_have_moved_by_two_pixels_are_not_found() -> None:
    by_one, by_three = ([np.roll(take, by, axis=2) for take in EXACT] for by in (1, 3))
    assert compare(EXACT, by_one, BF16).edges > 0.95
    assert compare(EXACT, by_three, BF16).edges < 0.8


def test_flicker_is_what_changes_from_a_picture_to_the_next() -> None:
    still = [np.stack([take[0], take[0]]) for take in noisy(0.02)]
    assert compare(EXACT, still, BF16).flicker == pytest.approx(0, abs=1e-5)
    assert compare(EXACT, noisy(0.01), BF16).flicker == pytest.approx(2, rel=0.2)


@pytest.mark.parametrize(("scale", "shift"), [(1.05, 0.0), (1.0, 0.2)])
def test_a_scale_that_wavers_is_refused(scale: float, shift: float) -> None:
    """Each picture by itself is without fault, and the colours of a stream would pump."""
    made = [np.stack([first, scale * second + shift]) for first, second in BF16]
    figures = compare(EXACT, made, BF16)
    assert figures.mean == pytest.approx(0.005, rel=0.1)
    assert figures.flicker > 2
    assert not figures.good


def test_without_bf16_its_flicker_is_what_was_measured_elsewhere() -> None:
    made = noisy(0.005)
    changes = [np.abs((b - a) - (d - c)) / spread for (a, b), (c, d), spread in zip(EXACT, made, SPREADS, strict=True)]
    assert compare(EXACT, made, None).flicker == pytest.approx(float(np.mean(changes)) / BF16_FLICKER, rel=0.01)


def test_single_pictures_have_no_flicker_of_their_own() -> None:
    single, pairs = [take[:1] for take in EXACT], EXACT
    assert compare([*single, *pairs], [*single, *BF16], [*single, *BF16]).flicker == 1


@pytest.mark.parametrize("planted", [np.nan, np.inf, 0.0])
def test_what_is_no_depth_is_refused(planted: float) -> None:
    with np.errstate(all="ignore"):
        assert not compare(EXACT, [np.full_like(take, planted) for take in EXACT], BF16).good


def test_a_good_one_is_taken_and_a_bad_one_refused() -> None:
    good, bad = compare(EXACT, noisy(0.005), BF16), compare(EXACT, noisy(0.03), BF16)
    assert good.good, str(good)
    assert not bad.good, str(bad)


@pytest.mark.parametrize(
    "worse", [{"mean": 0.0101}, {"worst": 0.0251}, {"spearman": 0.9949}, {"edges": 0.849}, {"flicker": 1.51}]
)
def test_each_figure_alone_refuses(worse: dict[str, Any]) -> None:
    assert GOOD.good, "at the limits"
    assert not replace(GOOD, **worse).good
    assert not replace(GOOD, **{name: float("nan") for name in worse}).good


def test_one_line_has_all_figures() -> None:
    line = str(Figures(0.0113, 0.024, 0.9961, 0.83, 1.8))
    assert line == (
        "mean error 1.13 % (at most 1 %), worst 2.40 % (at most 2.5 %), Spearman 0.9961 (at least 0.995), "
        "edges F1 0.83 (at least 0.85), flicker 1.80 x bf16 (at most 1.5)"
    )
    assert asdict(GOOD).keys() == {"mean", "worst", "spearman", "edges", "flicker"}
