"""What calibrates and what tests: never pictures of one scene."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pytest

from streamd.depth.int8 import scenes
from streamd.depth.int8.scenes import Take, calibration, split
from streamd.depth.models import Preprocessing
from streamd.media.frames import FloatImage

HOW = Preprocessing(input_size=64, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def view(seed: int) -> FloatImage:
    """(3, 32, 64): of a place of its own."""
    random = np.random.default_rng(seed)
    return np.repeat(np.repeat(random.standard_normal((3, 8, 16)), 4, axis=1), 4, axis=2).astype(np.float32)


def film(source: str, seed: int, count: int = scenes.ENOUGH) -> list[Take]:
    """A camera that does not move."""
    noise = np.random.default_rng(100 + seed)
    return [
        Take(source, np.stack([view(seed) + 0.1 * noise.standard_normal((3, 32, 64))] * 2).astype(np.float32))
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def clip() -> list[Take]:
    return scenes.built_in(HOW)


def sources(takes: Sequence[Take]) -> set[str]:
    return {take.source for take in takes}


def test_one_camera_calibrates_and_the_demo_clip_tests() -> None:
    learnt, tests = split(film("porch", 1), HOW)
    assert (sources(learnt), sources(tests)) == ({"porch"}, {"demo clip"})


def test_every_second_camera_tests() -> None:
    own = [take for number, name in enumerate("abcd") for take in film(name, number)]
    learnt, tests = split(own, HOW)
    assert (sources(learnt), sources(tests)) == ({"a", "c"}, {"b", "d", "demo clip"})
    assert max(len(learnt), len(tests)) <= scenes.MAX_TAKES


def test_two_streams_of_one_camera_are_one_scene() -> None:
    learnt, tests = split([*film("porch", 1), *film("porch again", 1)], HOW)
    assert (sources(learnt), sources(tests)) == ({"porch", "porch again"}, {"demo clip"})


def test_the_demo_clip_as_a_camera_is_not_tested_on_itself(clip: list[Take]) -> None:
    learnt, tests = split([Take("demo", take.planes) for take in clip], HOW)
    assert sources(learnt) == {"demo"}
    assert all(name.startswith("drawn") for name in sources(tests))


def test_with_nothing_of_its_own_the_demo_clip_calibrates_and_drawn_pictures_test() -> None:
    learnt, tests = split([], HOW)
    assert sources(learnt) == {"demo clip"}
    assert all(name.startswith("drawn") for name in sources(tests))
    assert {take.planes.shape for take in [*learnt, *tests]} == {(2, 3, 32, 64)}


def test_a_few_photos_test_and_do_not_calibrate_alone() -> None:
    learnt, tests = split([Take("photo.jpg", view(1)[None])], HOW)
    assert sources(learnt) == {"demo clip"}
    assert {"photo.jpg"} < sources(tests), "and something that moves, for the flicker"


def test_few_pictures_are_used_recoloured_too() -> None:
    few, many = film("porch", 1, 4), film("porch", 1, 24)
    pictures = calibration(few, HOW)
    assert len(pictures) == 2 * 8
    assert {(each.shape, each.dtype) for each in pictures} == {((1, 3, 32, 64), np.dtype(np.float32))}
    assert all(np.abs(each).max() <= 2.0 + 1e-5 for each in pictures[8:]), "within what pixels can be"
    assert not np.allclose(pictures[8], pictures[0], atol=0.1)
    assert len(calibration(many, HOW)) == 48


def test_pictures_pass_through_memory() -> None:
    takes, memory = film("a camera", 1, 3), os.memfd_create("test")
    with os.fdopen(os.dup(memory), "wb") as file:
        scenes.write(takes, file)
    again = scenes.read(memory)
    assert [take.source for take in again] == ["a camera"] * 3
    np.testing.assert_array_equal(again[2].planes, takes[2].planes)


def test_nothing_passes_too() -> None:
    memory = os.memfd_create("test")
    with os.fdopen(os.dup(memory), "wb") as file:
        scenes.write([], file)
    assert scenes.read(memory) == []
