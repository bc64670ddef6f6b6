"""Metres by points of known distance: the line, its uncertainty, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from streamd.depth.calibration import Calibration, Reading, calibrate
from streamd.errors import UsageError
from tests.support.geometry import SCENES, A, B, inverse_depth

TRIALS, POINTS = 200, 12


def reading(metres: float, inverse_depth: float, scatter: float = 0.0) -> Reading:
    return Reading(0.5, 0.5, metres, inverse_depth, scatter)


def exact(*metres: float) -> list[Reading]:
    return [reading(each, (1 / each - B) / A) for each in metres]


@pytest.mark.parametrize("metres", [(1, 4), (0.5, 2, 8), (1, 1, 3, 3, 9)])
def test_exact_points_give_the_line_and_both_ways_along_it(metres: tuple[float, ...]) -> None:
    line = calibrate(exact(*metres))
    assert (line.a, line.b) == pytest.approx((A, B))
    for distance in (0.4, 2.5, 15.0):
        assert line.metres(line.inverse_depth(distance)) == pytest.approx(distance)
        low, high = line.interval(line.inverse_depth(distance))
        assert low <= distance <= high


def test_arrays_are_float32_and_agree_with_single_values() -> None:
    line = calibrate(exact(1, 4))
    depths = np.array([[200.0, 10.0], [-12.0, -500.0]], np.float32)
    found = line.metres(depths)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.array([[line.metres(float(each)) for each in row] for row in depths]), rel=1e-5)
    assert found[1, 1] == math.inf, "the sky is no negative distance"


def trial(metres: np.ndarray, noise: Callable[[np.random.Generator], tuple[float, float]], seed: int) -> Calibration:
    """Points all over the scene. ``noise`` gives that of the network's answer, and the factor of what is typed."""
    random = np.random.default_rng(seed)
    depths = inverse_depth(metres.astype(np.float32)).ravel()
    distances = metres.ravel()
    order = np.argsort(distances)
    quantiles = np.linspace(0, len(order) - 1, POINTS).astype(int)
    if len(np.unique(distances)) == 2:  # a box before its wall
        near, far = order[0], order[-1]
        places = [near if index % 2 else far for index in range(POINTS)]
    else:
        places = [int(order[index]) for index in quantiles]
    found = []
    for place in places:
        added, factor = noise(random)
        found.append(reading(float(distances[place]) * factor, float(depths[place]) + added))
    return calibrate(found)


NOISES = {
    "network": lambda random: (random.normal(0, 0.5), 1.0),
    "typed": lambda random: (0.0, 1 + random.normal(0, 0.01)),
    "both": lambda random: (random.normal(0, 0.4), 1 + random.normal(0, 0.01)),
}


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_distances_are_right_and_the_stated_uncertainty_holds(
    scene: Callable[[], np.ndarray], noise: Callable[[np.random.Generator], tuple[float, float]]
) -> None:
    metres = scene()
    places = np.linspace(0, metres.size - 1, 40).astype(int)
    distances = metres.ravel()[places]
    depths = inverse_depth(distances)
    held = errors = 0.0
    for seed in range(TRIALS):
        line = trial(metres, noise, seed)
        random = np.random.default_rng(10_000 + seed)
        for distance, depth in zip(distances, depths, strict=True):
            low, high = line.interval(float(depth) + noise(random)[0])
            held += low <= distance <= high
        errors = max(errors, float(np.mean(np.abs(line.metres(depths) / distances - 1))))
    assert held / TRIALS / len(places) >= 0.94, "95 %, as far as so many trials can tell"
    assert errors < 0.03


@pytest.mark.parametrize("count", [3, 4, 6, 30])
def test_the_uncertainty_is_of_a_points_own_noise_too(count: int) -> None:
    """95 %, also with few points; with many it is exact, for then nothing but they counts."""
    random, held = np.random.default_rng(1), 0
    distances = np.linspace(1, 6, count, dtype=np.float32)
    for _ in range(2000):
        noisy = inverse_depth(distances) + random.normal(0, 3, count)
        line = calibrate([reading(*pair) for pair in zip(distances.tolist(), noisy.tolist(), strict=True)])
        low, high = line.interval(float(inverse_depth(np.array(3, np.float32))) + random.normal(0, 3))
        held += low <= 3 <= high
    assert held / 2000 > 0.935
    assert count < 30 or held / 2000 == pytest.approx(0.95, abs=0.03)


def test_two_points_take_what_is_assumed_of_distances_and_seen_in_frames() -> None:
    calm, noisy = calibrate(exact(1, 4)), calibrate([reading(1, 237.5, 5.0), reading(4, 50, 5.0)])
    low, high = calm.interval(calm.inverse_depth(2))
    assert 0.03 < (high - low) / 2 / 2 < 0.15, "several per cent"
    assert noisy.standard_error > 1.3 * calm.standard_error


def test_more_points_make_it_surer() -> None:
    def width(count: int) -> float:
        distances = np.linspace(1, 6, count, dtype=np.float32)
        depths = inverse_depth(distances) + np.resize([1.0, -1.0, 0.5, -0.5], count)
        line = calibrate([reading(*pair) for pair in zip(distances.tolist(), depths.tolist(), strict=True)])
        low, high = line.interval(line.inverse_depth(3))
        return high - low

    assert width(3) > width(5) > width(20)


def test_what_may_lie_beyond_all_numbers_has_no_far_end() -> None:
    line = calibrate([reading(1, 240), reading(2, 105), reading(4, 57), reading(8, 20)])
    low, high = line.interval(line.inverse_depth(60))
    assert (math.isfinite(low), high) == (True, math.inf)


@pytest.mark.parametrize(
    ("readings", "reason"),
    [
        ([reading(1, 5)], "1: from 2 to 64 are needed"),
        ([reading(1, 5)] * 65, "65: from 2 to 64 are needed"),
        ([reading(2, 5), reading(2, 9)], "at the same distance"),
        ([reading(1, 5), reading(3, 5)], "at the same depth for the network"),
        ([reading(1, 5.01), reading(3, 5)], "at the same depth for the network"),
        ([reading(1, 9, 4.0), reading(3, 5, 4.0)], "at the same depth for the network"),
        ([reading(1, math.nan), reading(3, 5)], "no depth there"),
        ([reading(1, 5), reading(3, 9)], r"point 1 \(1 m\) is farther away for the network than point 2 \(3 m\)"),
        ([reading(3, 9), reading(1, 5)], r"point 2 \(1 m\) is farther away for the network than point 1 \(3 m\)"),
        ([reading(1, 9), reading(2, 2), reading(4, 5)], r"point 2 \(2 m\) is farther .* point 3 \(4 m\)"),
        ([reading(0.1, 10), reading(5, 9), reading(6, 1), reading(100, 0)], "no line fits"),
    ],
)
def test_nonsense_is_refused_in_a_line_that_says_what(readings: list[Reading], reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as refused:
        calibrate(readings, range_of_picture=10)
    assert "\n" not in str(refused.value)
