from __future__ import annotations

import numpy as np
import pytest

from streamd.depth.int8 import album
from streamd.depth.int8.album import MAX_TAKES, Album

PICTURE = np.zeros((3, 32, 64), np.float32)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(album, "time", clock)
    return clock


def play(kept: Album, clock: Clock, seconds: float, *sources: str, fps: float = 10) -> None:
    for number in range(round(seconds * fps)):
        for source in sources:
            kept.offer("m", source, PICTURE + number)
        clock.now_s += 1 / fps


def test_closed_it_keeps_nothing(clock: Clock) -> None:
    kept = Album()
    play(kept, clock, 10, "porch")
    assert kept.takes() == []


def test_two_pictures_one_after_the_other_now_and_then(clock: Clock) -> None:
    kept = Album()
    kept.open("m")
    play(kept, clock, 10, "porch")
    takes = kept.takes()
    assert len(takes) == 5
    assert {(take.source, take.planes.shape, take.planes.dtype.name) for take in takes} == {
        ("porch", (2, 3, 32, 64), "float16")
    }
    assert all(float(np.ptp(take.planes[:, 0, 0, 0])) == 1 for take in takes)


def test_a_still_scene_has_takes_too(clock: Clock) -> None:
    """The network sees it every two seconds."""
    kept = Album()
    kept.open("m")
    play(kept, clock, 40, "porch", fps=0.48)
    assert len(kept.takes()) >= 8


def test_all_streams_have_their_share(clock: Clock) -> None:
    kept = Album()
    kept.open("m")
    play(kept, clock, 30, "porch", "yard", fps=7)
    sources = [take.source for take in kept.takes()]
    assert min(sources.count("porch"), sources.count("yard")) >= 3


def test_it_stays_small_and_spreads_over_all_the_time(clock: Clock) -> None:
    kept = Album()
    kept.open("m")
    play(kept, clock, 600, "porch")
    takes = kept.takes()
    assert MAX_TAKES // 2 <= len(takes) < MAX_TAKES
    first, last = (float(take.planes[0, 0, 0, 0]) for take in (takes[0], takes[-1]))
    assert first < 1000
    assert last > 4500


def test_large_pictures_are_fewer(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(album, "MAX_BYTES", 5 * 4 * PICTURE.size)
    kept = Album()
    kept.open("m")
    play(kept, clock, 100, "porch")
    assert 2 <= len(kept.takes()) <= 5


def test_pictures_of_another_size_are_no_pair(clock: Clock) -> None:
    kept = Album()
    kept.open("m")
    kept.offer("m", "porch", PICTURE)
    kept.offer("m", "porch", PICTURE[:, :16])
    assert kept.takes() == []


def test_of_one_network_at_a_time(clock: Clock) -> None:
    kept = Album()
    kept.open("m")
    play(kept, clock, 10, "porch")
    kept.open("m")
    assert kept.takes()
    kept.open("another")
    assert kept.takes() == []
    play(kept, clock, 10, "porch")
    assert kept.takes() == [], "they are for the one before"
