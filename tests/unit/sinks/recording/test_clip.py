"""A span of time out of several files: the right pictures at the right times, and nothing left behind."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import av
import pytest

from streamd.sinks.recording import clip as module
from streamd.sinks.recording.clip import Clip, ClipRefused, ClipStopped, NoRoom, NothingThen, cut
from streamd.sinks.recording.index import Index
from streamd.sinks.recording.library import Library
from streamd.sinks.recording.store import Filter
from tests.support.clips import number_in
from tests.support.segments import BEGIN_S, packets, segment


def made(root: Path, first_s: float, last_s: float, **options: object) -> Clip:
    library = Library(root)
    index = Index(library)
    found = index.within(Filter("porch", "depth", BEGIN_S + first_s, BEGIN_S + last_s))
    index.close()
    return cut(library, found, BEGIN_S + first_s, BEGIN_S + last_s, **options)  # type: ignore[arg-type]


def shown(clip: Clip) -> list[tuple[float, int]]:
    """When, and which picture."""
    os.lseek(clip.descriptor, 0, os.SEEK_SET)
    with open(clip.descriptor, "rb") as file, av.open(file, "r") as container:
        return [(round(frame.time or 0.0, 3), number_in(frame)) for frame in container.decode(video=0)]


def test_across_three_files_and_a_gap(tmp_path: Path) -> None:
    segment(tmp_path, 0, packets(100))
    segment(tmp_path, 4.01, packets(100, first=100))
    segment(tmp_path, 30, packets(75, first=200))
    clip = made(tmp_path, 3, 31)
    assert (clip.from_s - BEGIN_S, clip.keyframe_s - BEGIN_S) == (3, 2)
    assert clip.to_s - BEGIN_S == pytest.approx(31, abs=0.05)
    assert clip.left_out_s == pytest.approx(30 - 8.01, abs=0.05)
    pictures = shown(clip)
    assert [number for _, number in pictures] == list(range(75, 225))
    times = [time for time, _ in pictures]
    assert times[:2] == [0, 0.04]
    assert times[25] == pytest.approx(1.01, abs=0.002), "a gap of a moment stays"
    assert times[125] - times[124] == pytest.approx(0.04, abs=0.002), "a long one does not"
    assert sorted(os.listdir(tmp_path)) == [".index.sqlite", "porch"]


def length_s(clip: Clip) -> float:
    os.lseek(clip.descriptor, 0, os.SEEK_SET)
    with open(os.dup(clip.descriptor), "rb") as file, av.open(file, "r") as container:
        return (container.duration or 0) / av.time_base


@pytest.mark.parametrize(
    ("first_s", "last_s", "to_s", "numbers"),
    [
        (0, 2.5, 2.5, [0, 24, 48]),
        (1.5, 3.5, 3.5, [24, 48, 72]),
        (1, 9, 8.0, [24, 48, 72, 96, 100, 124, 148, 172, 196]),
        (1, 4.1, 4.1, [24, 48, 72, 96, 100]),
        (5.2, 5.3, 5.3, [124]),
    ],
)
def test_of_a_still_scene_it_ends_when_asked(
    tmp_path: Path, first_s: float, last_s: float, to_s: float, numbers: list[int]
) -> None:
    """Each picture is seen for 0.96 s, and the last of each file until that ends."""
    segment(tmp_path, 0, packets(100, step=24, key_every=10**6), ends_s=4.0)
    segment(tmp_path, 4, packets(100, 100, step=24, key_every=10**6), ends_s=4.0)
    clip = made(tmp_path, first_s, last_s)
    assert clip.to_s - BEGIN_S == pytest.approx(to_s, abs=0.02)
    assert length_s(clip) == pytest.approx(to_s - first_s, abs=0.03)
    assert [number for _, number in shown(clip) if number >= numbers[0]] == numbers


@pytest.mark.parametrize(
    ("first_s", "last_s", "numbers"),
    [(0, 1, (0, 24)), (0.5, 0.6, (13, 14)), (-5, 0.2, (0, 4)), (3.9, 99, (98, 99)), (2, 2.1, (50, 52))],
)
def test_parts_of_one_file(tmp_path: Path, first_s: float, last_s: float, numbers: tuple[int, int]) -> None:
    segment(tmp_path, 0, packets(100))
    pictures = [number for _, number in shown(made(tmp_path, first_s, last_s))]
    assert (pictures[0], pictures[-1]) == (pytest.approx(numbers[0], abs=1), numbers[1])


def test_of_what_was_cut_short_what_is_there(tmp_path: Path) -> None:
    segment(tmp_path, 0, packets(100), cut_short=True)
    segment(tmp_path, 4, packets(50, first=100))
    numbers = [number for _, number in shown(made(tmp_path, 0, 99))]
    assert numbers[:75] == list(range(75))
    assert numbers[-50:] == list(range(100, 150))


def test_nothing_is_encoded_again(tmp_path: Path) -> None:
    units = packets(50)
    segment(tmp_path, 0, units)
    clip = made(tmp_path, 0, 99)
    with av.open(str(tmp_path / "porch" / os.listdir(tmp_path / "porch")[0])) as source:
        recorded = [bytes(packet) for packet in source.demux(video=0) if packet.size]
    os.lseek(clip.descriptor, 0, os.SEEK_SET)
    with open(clip.descriptor, "rb") as file, av.open(file, "r") as container:
        assert [bytes(packet) for packet in container.demux(video=0) if packet.size] == recorded


def test_it_ends_where_the_size_changes(tmp_path: Path) -> None:
    segment(tmp_path, 0, packets(50))
    segment(tmp_path, 2, packets(50, first=50, size=(320, 240)))
    clip = made(tmp_path, 0, 99)
    assert clip.to_s - BEGIN_S == pytest.approx(2, abs=0.05)
    assert len(shown(clip)) == 50


class TestRefused:
    def test_nothing_in_it(self, tmp_path: Path) -> None:
        with pytest.raises(NothingThen, match="nothing was recorded"):
            made(tmp_path, 0, 1)

    def test_too_large(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        segment(tmp_path, 0, packets(50))
        monkeypatch.setattr(module, "MAX_CLIP_BYTES", 1000)
        with pytest.raises(ClipRefused, match="ask for less"):
            made(tmp_path, 0, 99)

    def test_no_room(self, tmp_path: Path) -> None:
        segment(tmp_path, 0, packets(50))
        with pytest.raises(NoRoom, match="no room for a clip"):
            made(tmp_path, 0, 99, min_free_bytes=1e18)

    def test_nobody_waits(self, tmp_path: Path) -> None:
        segment(tmp_path, 0, packets(50))
        stop = threading.Event()
        stop.set()
        with pytest.raises(ClipStopped):
            made(tmp_path, 0, 99, stop=stop)
        assert sorted(os.listdir(tmp_path)) == [".index.sqlite", "porch"]

    def test_what_is_no_video_is_passed_over(self, tmp_path: Path) -> None:
        name = segment(tmp_path, 0, packets(50))
        (tmp_path / name.path).write_bytes(b"\0\0\0\x20ftypisom" + os.urandom(2000))
        with pytest.raises(ClipRefused):
            made(tmp_path, 0, 99)
