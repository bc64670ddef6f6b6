"""The control law, on a box that the test plays."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from streamd.depth.governor import SMALLEST, Governor, Load, ladder
from streamd.depth.models import Preprocessing, find_model
from streamd.depth.preprocess import network_size

SIZES = [256, 224, 192, 160, 128]
FULL = find_model("midas_small").preprocessing


def cost(size: int, picture: tuple[int, int] = (1280, 720)) -> float:
    width, height = network_size(*picture, FULL.sized(size))
    return width * height


class Box:
    """One stream of 30 fps. ``ms`` is the network's time for a frame at 256, ``other_ms`` that of all else."""

    def __init__(self, ms: float, other_ms: float = 8.0, min_fps: float = 15.0, noise: float = 0.0) -> None:
        self.ms, self.other_ms, self.noise = ms, other_ms, noise
        self.inferred = 1.0
        self.min_fps = min_fps
        self.governor = Governor(SIZES, min_fps)
        self.size = SIZES[0]
        self.in_use_at = 0.0
        self.now = 0.0
        self.rates: list[float] = []
        self.sizes: list[int] = []
        self.random = random.Random(1)

    @property
    def fps(self) -> float:
        ms = self.inferred * self.ms * cost(self.size) / cost(256) + self.other_ms
        return min(30.0, 1000 / ms) * (1 + self.noise * self.random.uniform(-1, 1))

    def run(self, seconds: int) -> None:
        """A new size is in use 2 s after it was chosen; rates look back 3 s."""
        for _ in range(seconds):
            self.now += 1.0
            if self.governor.size != self.size and self.in_use_at <= self.now:
                self.size = self.governor.size
                self.governor.settle(self.now)
            self.rates.append(self.fps)
            recent = sum(self.rates[-3:]) / len(self.rates[-3:])
            network_ms = self.ms * cost(self.size) / cost(256)
            moving = recent * network_ms / 1000
            load = Load(recent, moving * self.inferred, moving)
            if self.governor.size == self.size:
                self.governor.step(self.now, load, cost)
                self.in_use_at = self.now + 2
            self.sizes.append(self.size)


def changes(sizes: list[int]) -> int:
    return sum(a != b for a, b in pairwise(sizes))


def test_a_box_that_is_fast_enough_is_left_alone() -> None:
    box = Box(ms=20)
    box.run(300)
    assert set(box.sizes) == {256}


@pytest.mark.parametrize("slower", [1.3, 1.7, 2.0, 3.0])
@pytest.mark.parametrize("noise", [0.0, 0.06])
@pytest.mark.parametrize("other_ms", [2.0, 15.0])
def test_a_box_that_slows_down_settles_in_time_and_stays(slower: float, noise: float, other_ms: float) -> None:
    box = Box(ms=45, other_ms=other_ms, noise=noise)
    box.run(60)
    assert box.size == 256
    box.ms *= slower
    box.run(10)
    settled = box.size
    box.run(120)
    held = [min(1.0, rate / box.min_fps) for rate in box.rates[-120:]]
    assert sum(held) / len(held) > 0.9 or settled == SMALLEST
    assert changes(box.sizes[-120:]) <= 1, "it may find one more step at first"
    assert len(set(box.sizes[-110:])) == 1


def test_it_goes_up_again_when_there_is_room() -> None:
    box = Box(ms=120)
    box.run(30)
    assert box.size < 200
    box.ms = 20
    box.run(180)
    assert box.size == 256
    assert min(box.rates[-60:]) > box.min_fps


def test_while_the_scene_stands_still_it_stays_at_what_a_moving_one_takes() -> None:
    box = Box(ms=120)
    box.run(30)
    settled = box.size
    box.inferred = 0.02
    box.run(180)
    box.inferred = 1.0
    box.run(30)
    assert set(box.sizes[-200:]) == {settled}
    assert min(box.rates[-25:]) > 0.9 * box.min_fps


def test_a_step_up_that_was_too_much_is_not_tried_again_soon() -> None:
    """The law believes that there is room, and there never is."""
    box = Box(ms=100)
    box.run(20)
    lower = box.size
    tries = 0

    def lying(size: int) -> float:
        return 1.0

    governor, now = box.governor, box.now
    for _ in range(1800):
        now += 1
        fits = governor.size <= lower
        before = governor.size
        load = Load(20.0, 0.5, 0.5) if fits else Load(10.0, 0.9, 0.9)
        governor.step(now, load, lying if fits else cost)
        tries += governor.size > before
    assert tries <= 10, "30, 60, 120, ... seconds apart"


@pytest.mark.parametrize(
    "load",
    [
        pytest.param(None, id="nobody watches"),
        pytest.param(Load(5.0, 0.2, 0.2), id="it is not the network"),
        pytest.param(Load(14.6, 0.95, 0.95), id="nearly enough"),
    ],
)
def test_what_is_no_reason(load: Load | None) -> None:
    governor = Governor(SIZES, 15.0)
    for second in range(100):
        assert governor.step(float(second), load, cost) == 256


def test_with_nothing_smaller_it_stays() -> None:
    governor = Governor([256], 15.0)
    for second in range(100):
        assert governor.step(float(second), Load(1.0, 1.0, 1.0), cost) == 256


@pytest.mark.parametrize(
    ("full", "sizes"),
    [
        (Preprocessing(), SIZES),
        (Preprocessing(input_size=128), [128]),
        (Preprocessing(input_size=224, fixed=True), [224]),
        (Preprocessing(input_size=252, multiple_of=14), [252, 210, 168]),
    ],
)
def test_the_ladder_has_what_the_network_takes(full: Preprocessing, sizes: list[int]) -> None:
    assert ladder(full) == sizes
    for size in sizes:
        assert full.sized(size).input_size == size
