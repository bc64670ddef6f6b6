"""One clock for files, whatever their stamps."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
from av.format import Flags

from streamd.sources.timeline import Timeline

BASE = Fraction(1, 1000)
WRAP = 2**33 // 90
"""ms."""


@dataclass
class Sent:
    """A packet, in ms."""

    dts: int | None
    pts: int | None
    kind: str = "video"
    duration: int = 100
    is_keyframe: bool = True
    size: int = 1
    is_discard: bool = False
    time_base: Fraction = BASE
    stream: Any = field(init=False)

    def __post_init__(self) -> None:
        index = ("video", "audio").index(self.kind)
        self.stream = SimpleNamespace(type=self.kind, index=index, codec_context=None)


def video(*stamps: int | None, **others: Any) -> list[Sent]:
    return [Sent(stamp, stamp, **others) for stamp in stamps]


def sound(*stamps: int | None) -> list[Sent]:
    return video(*stamps, kind="audio")


def placed(packets: list[Sent], *, start_ms: int | None = 0, broadcast: bool = True) -> list[int | None]:
    """The dts of each, in the order in which they were sent."""
    format = SimpleNamespace(flags=Flags.ts_discont.value if broadcast else 0)
    container: Any = SimpleNamespace(start_time=None if start_ms is None else 1000 * start_ms, format=format)
    got: Any = list(Timeline(container).placed(packets))  # type: ignore[arg-type]
    assert len(got) == len(packets)
    for index in (0, 1):
        order = [packet for packet in packets if packet.stream.index == index]
        assert [packet for packet in got if packet.stream.index == index] == order
    return [packet.dts for packet in packets]


@pytest.mark.parametrize("start", [0, 1400, 24_549_800, -500])
def test_it_begins_at_0(start: int) -> None:
    assert placed(video(start, start + 100) + sound(start + 20), start_ms=start) == [0, 100, 20]


def test_without_a_start_it_begins_with_the_first_packet() -> None:
    assert placed(video(9_000_000, 9_000_100) + sound(9_000_040), start_ms=None) == [0, 100, 40]


@pytest.mark.parametrize("broadcast", [True, False])
def test_joined_files_follow_each_other(broadcast: bool) -> None:
    first, second = video(0, 100, 200), video(0, 100, 200)
    assert placed(first + second, broadcast=broadcast) == [0, 100, 200, 300, 400, 500]


@pytest.mark.parametrize("order", ["video first", "sound first"])
def test_at_a_join_sound_stays_with_the_picture(order: str) -> None:
    """The sound of each part is 30 ms after its picture."""
    one = [*video(0), *sound(30), *video(100), *sound(130), *video(200), *sound(230)]
    two = [*video(0), *sound(30), *video(100), *sound(130)]
    if order == "sound first":
        two[:2] = two[1::-1]
    placed(one + two)
    assert two[0 if order == "video first" else 1].dts == 300
    assert sorted(packet.dts or 0 for packet in two) == [300, 330, 400, 430]


def test_the_picture_after_a_join_is_shown_when_the_last_one_ends() -> None:
    """Not later by what the decoder of B-frames waits for."""
    second = [Sent(0, 200), Sent(100, 500, is_keyframe=False), Sent(200, 300, is_keyframe=False)]
    placed([*video(0, 100, 200), *second])
    assert [packet.pts for packet in second] == [300, 600, 400]


def test_a_clock_may_wrap_again_and_again() -> None:
    hour = 3_600_000
    raw = [n * hour for n in range(80)]
    packets = video(*(stamp % WRAP for stamp in raw), duration=hour)
    assert placed(packets) == pytest.approx(raw, abs=2)


def test_a_leap_of_a_broadcast_is_no_pause() -> None:
    assert placed(video(0, 100, 200, 86_400_000, 86_400_100) + sound(86_400_050)) == [0, 100, 200, 300, 400, 350]


@pytest.mark.parametrize(("broadcast", "pause"), [(True, 9_000), (False, 9_000), (False, 30_000), (False, 86_400_000)])
def test_a_pause_is_kept(broadcast: bool, pause: int) -> None:
    stamps = [0, 100, 200 + pause, 300 + pause]
    assert placed(video(*stamps), broadcast=broadcast) == stamps


@pytest.mark.parametrize("interval", [2_000, 10_000, 60_000])
def test_a_picture_now_and_then_is_no_leap(interval: int) -> None:
    stamps = [n * interval for n in range(5)]
    assert placed(video(*stamps, duration=interval)) == stamps


def test_a_pause_that_the_pictures_have_crossed_is_none_for_the_sound_either() -> None:
    """A frame that refers to the one after the pause came before it."""
    packets = [*video(0, 100), Sent(200, 40_000, is_keyframe=False), *video(40_100), *sound(40_050)]
    assert placed(packets) == [0, 100, 200, 40_100, 40_050]


@pytest.mark.parametrize("stray", [0, 100, -50_000, 7_000, 86_400_000])
def test_one_stray_stamp_of_sound_takes_its_place(stray: int) -> None:
    """Also one that repeats the one before."""
    assert placed(sound(0, 100, stray, 300, 400)) == [0, 100, 200, 300, 400]


@pytest.mark.parametrize("stray", [-50_000, 7_000, 86_400_000])
def test_one_stray_stamp_of_a_picture_moves_no_other(stray: int) -> None:
    got = placed([*video(0, 100, stray, 300, 400), *sound(350)])
    assert got[:2] + got[3:] == [0, 100, 300, 400, 350]


def test_sound_without_stamps_goes_on() -> None:
    assert placed(sound(0, 100, None, None, 400)) == [0, 100, 200, 300, 400]


def test_sound_that_goes_astray_does_not_move_the_picture() -> None:
    packets = [*video(0), *sound(0, 100, 5), *video(100), *sound(10, 15), *video(200)]
    assert [packet.dts for packet in packets if packet.kind == "video"] == [0, 100, 200]
    assert placed(packets, broadcast=False)[1] == 0
    assert [packet.dts for packet in packets if packet.kind == "video"] == [0, 100, 200]


def test_what_an_edit_list_hides_tells_no_time() -> None:
    """MP4: pictures behind the end of one part, and those before the next that it needs, have times of others."""
    shown, hidden = video(0, 100, 200), video(300, 400, 500, is_discard=True)
    assert placed(shown + hidden + video(300, 400), broadcast=False) == [0, 100, 200, 300, 400, 500, 300, 400]
