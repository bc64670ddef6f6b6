"""Pictures of files, each later than the one before."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

from streamd.sources.steady import steadied

BASE = Fraction(1, 1000)


@dataclass(eq=False)
class Decoded:
    """A picture, in ms."""

    pts: int | None
    dts: int | None = None
    duration: int = 100
    time_base: Fraction = BASE


def shown(*pictures: Decoded) -> list[tuple[float, float]]:
    """When, and for how long, ms."""
    got: Any = list(steadied(pictures))  # type: ignore[arg-type]
    assert all(a.pts < b.pts for a, b in pairwise(got))
    unit = [1000 * float(picture.time_base) for picture in got]
    return [(picture.pts * ms, picture.duration * ms) for picture, ms in zip(got, unit, strict=True)]


def times(*stamps: int | None, **others: Any) -> list[float]:
    return [moment for moment, _ in shown(*(Decoded(stamp, **others) for stamp in stamps))]


def test_good_times_are_kept() -> None:
    assert shown(*map(Decoded, (0, 40, 50, 5_000))) == [(0, 40), (40, 10), (50, 4950), (5000, 100)]


def test_missing_times_follow_from_the_duration() -> None:
    assert times(None, None, None) == [0, 100, 200]
    assert times(0, None, None, 300) == [0, 100, 200, 300]


@pytest.mark.parametrize("stray", [0, 100, -50_000, 7_000, 86_400_000])
def test_a_stray_time_falls_between_its_neighbours(stray: int) -> None:
    assert times(0, 100, stray, 300, 400) == pytest.approx([0, 100, 200, 300, 400])


@pytest.mark.parametrize("stray", [7_000, 86_400_000])
def test_a_stray_time_does_not_make_the_picture_before_it_last(stray: int) -> None:
    assert [length for _, length in shown(*map(Decoded, (0, 100, stray, 300, 400)))] == pytest.approx([100] * 5)


def test_two_pictures_of_one_time_are_both_shown() -> None:
    """Such as at 2000 pictures a second in Matroska, which counts ms."""
    assert times(0, 0, 1, 1, 2, duration=0) == pytest.approx([0, 0.5, 1, 1.5, 2])


def test_times_that_go_back_go_on() -> None:
    assert times(0, 100, 200, 0, 100, 200) == [0, 100, 200, 300, 400, 500]


def test_bad_pts_are_left_for_dts() -> None:
    """As FFmpeg guesses them for H.264 in AVI."""
    pts, dts = (200, 600, 400, 800, 700, 1000), (200, 300, 400, 500, 600, 700)
    assert [moment for moment, _ in shown(*map(Decoded, pts, dts))][2:] == [400, 500, 600, 700]


def test_the_last_picture_lasts_as_long_as_it_says() -> None:
    assert shown(Decoded(0), Decoded(100, duration=2_000))[-1] == (100, 2_000)


def test_what_was_wrong_before_is_not_believed_of_the_last() -> None:
    """Matroska may give each picture the mean of all."""
    assert shown(*(Decoded(stamp, duration=1_600) for stamp in (0, 100, 200)))[-1] == (200, 100)
