"""streamd.depth.gate: noise is no change, a small object is."""

from __future__ import annotations

from dataclasses import replace

import av
import cv2
import numpy as np
import pytest

from streamd.depth.gate import ChangeGate
from streamd.media.frames import ByteImage, Picture
from streamd.states import Change
from tests.support import objects

SIZE = (1280, 720)


def gray(luma: ByteImage) -> Picture:
    return av.VideoFrame.from_ndarray(luma, format="gray")


def scene(random: np.random.Generator, bright: int = 200) -> ByteImage:
    """Smooth patches."""
    patches = random.integers(20, bright, (9, 16)).astype(np.uint8)
    return np.kron(patches, np.ones((80, 80), np.uint8))


def noisy(still: ByteImage, sigma: float, random: np.random.Generator) -> ByteImage:
    return np.clip(still + random.standard_normal(still.shape, np.float32) * sigma, 0, 255).astype(np.uint8)


def seen(gate: ChangeGate, luma: ByteImage, at_s: float = 0.0) -> Change:
    picture = gray(luma)
    change = gate.test(picture, at_s)
    if not change.reuses_depth:
        gate.inferred(picture, at_s)
    return change


@pytest.mark.parametrize("sigma", [0, 2, 6, 12])
def test_noise_is_no_change(sigma: float) -> None:
    random, gate = np.random.default_rng(1), ChangeGate(60)
    still = scene(random)
    changes = [seen(gate, noisy(still, sigma, random)) for _ in range(60)]
    assert changes[0] is Change.CHANGED
    assert all(change.reuses_depth for change in changes[1:])
    assert changes[30:] == 30 * [Change.NONE], "once its strength is known"


@pytest.mark.parametrize("sigma", [0, 3])
def test_small_print_is_seen_though_it_needs_no_inference(sigma: float) -> None:
    """Figures 16 pixels high in 720p."""
    random, gate, missed = np.random.default_rng(4), ChangeGate(60), 0
    still = scene(random, 100)
    for number in range(60):
        picture = still.copy()
        cv2.putText(picture, f"12:00:{number // 2:02d}", (40, 60), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1, cv2.LINE_AA)
        change = seen(gate, noisy(picture, sigma, random))
        missed += number >= 30 and number % 2 == 0 and change is Change.NONE
        assert number < 30 or number % 2 == 0 or change is Change.NONE
    assert missed == 0


@pytest.mark.parametrize("sigma", [0, 6])
@pytest.mark.parametrize("bright", [30, 200])
def test_a_small_object_is_seen_at_its_first_picture(sigma: float, bright: int) -> None:
    """20 pixels of 720p, 25 code values brighter, anywhere."""
    random, missed = np.random.default_rng(2), 0
    still = scene(random, bright)
    gate = ChangeGate(60)
    for _ in range(25):
        for _ in range(3):
            seen(gate, noisy(still, sigma, random))
        x, y = random.integers(0, SIZE[0] - 20), random.integers(0, SIZE[1] - 20)
        with_object = still.copy()
        with_object[y : y + 20, x : x + 20] += 25
        missed += seen(gate, noisy(with_object, sigma, random)).reuses_depth
    assert missed == 0


@pytest.mark.parametrize(
    "name", ["bright, 1 Mbit/s", "dark, gain changes", "beside leaves in gusts", "half of it in gusts, darker object"]
)
def test_objects_that_come_and_go_are_seen_at_once_in_what_a_camera_sends(name: str) -> None:
    """A few of what `benchmarks/still.py --trials 200` tries."""
    (scene,) = (scene for scene in objects.SCENES if scene.name == name)
    found = objects.try_scene(scene, trials=4)
    assert (found.came, found.gone, found.alarms) == (4, 4, 0)


def test_without_an_object_nothing_is_seen() -> None:
    """Those trials could fail."""
    (scene,) = (scene for scene in objects.SCENES if scene.name == "beside leaves in gusts")
    found = objects.try_scene(replace(scene, step=0), trials=4)
    assert (found.came, found.gone) == (0, 0)


def test_movement_everywhere_is_not_taken_for_noise() -> None:
    random, gate = np.random.default_rng(3), ChangeGate(60)
    wide = np.hstack([scene(random), scene(random)])
    pan = [wide[:, 6 * step : 6 * step + SIZE[0]] for step in range(100)]
    assert [seen(gate, np.ascontiguousarray(luma)) for luma in pan] == 100 * [Change.CHANGED]


def test_another_size_is_a_change() -> None:
    gate = ChangeGate(60)
    seen(gate, np.zeros((720, 1280), np.uint8))
    assert seen(gate, np.zeros((480, 640), np.uint8)) is Change.CHANGED


@pytest.mark.parametrize("kind", ["yuv420p", "yuvj444p", "nv12", "rgb24", "yuv420p10le"])
def test_a_change_of_colour_alone_is_seen(kind: str) -> None:
    """As when a camera turns to infrared, or the lamp of a machine from one colour to another."""
    planes = np.full((3, 720, 1280), 120, np.uint8)
    planes[:, 300:360, 500:560] = np.array([120, 160, 90], np.uint8)[:, None, None]
    lamp, gray = planes.copy(), planes.copy()
    lamp[:, 300:360, 500:560] = np.array([120, 90, 160], np.uint8)[:, None, None]
    gray[1:] = 128
    gate = ChangeGate(60)
    seen = []
    for number, yuv in enumerate([planes, planes, lamp, lamp, gray, gray]):
        picture = av.VideoFrame.from_ndarray(yuv, format="yuv444p", channel_last=False).reformat(format=kind)
        change = gate.test(picture, 0.0)
        seen.append(change)
        if not change.reuses_depth:
            gate.inferred(picture, number)
    assert seen == 3 * [Change.CHANGED, Change.NONE]


@pytest.mark.parametrize("kind", ["yuv420p", "nv12", "rgb24", "yuv420p10le"])
@pytest.mark.parametrize("size", [(1, 1), (3, 1), (2, 2), (37, 21), (1920, 1080), (3840, 2160)])
def test_any_picture_can_be_tested(kind: str, size: tuple[int, int]) -> None:
    if kind != "rgb24":
        size = (max(2, size[0] & ~1), max(2, size[1] & ~1))
    picture = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 90, np.uint8), format="rgb24")
    picture = picture.reformat(format=kind)
    gate = ChangeGate(1.0)
    assert gate.test(picture, 0.0) is Change.CHANGED
    gate.inferred(picture, 0.0)
    assert [gate.test(picture, at_s) for at_s in (0.5, 1.0)] == [Change.NONE, Change.DUE]
    assert [gate.test(picture, at_s, is_busy=True) for at_s in (1.0, 4.0)] == [Change.NONE, Change.DUE]


def test_while_others_need_the_network_it_waits_longer_and_not_for_ever() -> None:
    random, waits = np.random.default_rng(3), set[int]()
    still = scene(random)
    for _ in range(8):
        gate = ChangeGate(2.0)
        seen(gate, still)
        assert gate.test(gray(still), 2.0) is Change.DUE
        waits.add(next(s for s in range(2, 99) if gate.test(gray(still), float(s), is_busy=True) is Change.DUE))
    assert all(4 <= wait_s <= 8 for wait_s in waits)
    assert len(waits) > 1, "cameras that began together come one after the other"
