from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import av
import numpy as np
import pytest

from streamd.media.frames import CLOCK_RATE, Scaler, Stamp, StampClock, canvas, yuv_planes


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time; change its one element."""
    moment = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: moment[0])
    yield moment
    monkeypatch.undo()


def test_pts_count_90_khz_since_the_clock_was_made(now: list[float]) -> None:
    clock = StampClock()
    assert clock.stamp() == Stamp(sequence=0, pts=0, captured_at=1000.0, epoch=0)
    now[0] = 1002.5
    assert clock.stamp() == Stamp(sequence=1, pts=225_000, captured_at=1002.5, epoch=0)


def test_pts_grow_though_the_time_stands_still(now: list[float]) -> None:
    clock = StampClock()
    stamps = [clock.stamp() for _ in range(100)]
    assert [stamp.pts for stamp in stamps] == list(range(100))
    assert [stamp.sequence for stamp in stamps] == list(range(100))


def test_pts_go_on_across_a_new_epoch(now: list[float]) -> None:
    clock = StampClock()
    now[0] += 1
    before = clock.stamp()
    clock.epoch += 1
    now[0] += 1
    after = clock.stamp()
    assert (after.epoch, after.pts - before.pts) == (1, CLOCK_RATE)


def test_age_is_the_time_since_capture(now: list[float]) -> None:
    stamp = StampClock().stamp()
    now[0] += 0.25
    assert stamp.age_s() == pytest.approx(0.25)


@pytest.mark.parametrize(("width", "height"), [(2, 2), (62, 34), (320, 180), (1366, 768)])
def test_planes_are_the_pictures_own_memory_without_its_padding(width: int, height: int) -> None:
    picture = canvas(width, height)
    planes = yuv_planes(picture)
    assert [plane.shape for plane in planes] == [(height, width), (height // 2, width // 2), (height // 2, width // 2)]
    for value, plane in enumerate(planes, start=40):
        plane[:] = value
    again = picture.to_ndarray()
    assert (again[:height] == 40).all()
    assert (again[height:] != 40).all()


def test_scaling_to_yuv_is_bt601_in_limited_range() -> None:
    colours = {(255, 255, 255): (235, 128, 128), (0, 0, 0): (16, 128, 128), (255, 0, 0): (81, 90, 240)}
    for rgb, yuv in colours.items():
        picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), rgb, np.uint8), format="rgb24")
        found = tuple(int(plane[8, 8]) for plane in yuv_planes(Scaler().yuv420(picture, 64, 64)))
        assert found == pytest.approx(yuv, abs=2)


def test_a_picture_that_is_right_already_is_not_copied() -> None:
    picture = canvas(64, 48)
    picture.colorspace, picture.color_range = 6, 1
    same = yuv_planes(Scaler().yuv420(picture, 64, 48))[0]
    yuv_planes(picture)[0][:] = 7
    assert (same == 7).all()


def test_hd_colours_become_bt601() -> None:
    """Red in BT.709 is (63, 102, 240); taken for BT.601 it would come out too dark."""
    picture = canvas(64, 48)
    picture.colorspace, picture.color_range = 1, 1
    for plane, value in zip(yuv_planes(picture), (63, 102, 240), strict=True):
        plane[:] = value
    found = [int(plane[9, 9]) for plane in yuv_planes(Scaler().yuv420(picture, 64, 48))]
    assert found == pytest.approx([81, 90, 240], abs=2)


def test_real_clocks_never_go_back() -> None:
    clock = StampClock()
    stamps = [clock.stamp() for _ in range(2000)]
    assert all(a.pts < b.pts and a.captured_at <= b.captured_at for a, b in pairwise(stamps))
    assert stamps[-1].captured_at <= time.monotonic()
