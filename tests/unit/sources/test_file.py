"""Pace: when each picture of a file is due."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from fractions import Fraction

import pytest

from streamd.config.sections import StreamConfig
from streamd.errors import SourceUnsupported
from streamd.sources.file import DemoSource, FileSource, Pace


@dataclass
class Shown:
    time: float
    duration: int = 100
    time_base: Fraction = Fraction(1, 1000)


class Player:
    """Sleeps as it is told, by a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.pace = Pace()
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def show(self, time: float, busy_s: float = 0.0) -> float:
        """When the picture was shown; then something else keeps us busy."""
        delay = self.pace.delay(Shown(time))  # type: ignore[arg-type]
        assert delay >= 0
        self.now += delay
        shown_at = self.now - 100
        self.now += busy_s
        return shown_at


@pytest.fixture
def player(monkeypatch: pytest.MonkeyPatch) -> Player:
    return Player(monkeypatch)


def times(player: Player, *shown: float) -> list[float]:
    return [round(player.show(time), 3) for time in shown]


def test_pictures_come_at_their_own_times(player: Player) -> None:
    assert times(player, 0, 0.04, 0.08, 0.5, 0.52) == [0, 0.04, 0.08, 0.5, 0.52]


def test_a_file_may_begin_at_any_time(player: Player) -> None:
    assert times(player, 3600.0, 3600.5, 3601.0) == [0, 0.5, 1.0]


def test_a_little_late_is_caught_up_without_drift(player: Player) -> None:
    player.show(0, busy_s=0.3)
    assert times(player, 0.1, 0.2, 0.4) == [0.3, 0.3, 0.4]


def test_very_late_goes_on_from_now(player: Player) -> None:
    """Else minutes of pictures would be hurried through."""
    player.show(0, busy_s=60)
    assert times(player, 0.1, 0.2, 0.3) == [60, 60.1, 60.2]


@pytest.mark.parametrize("interval", [0.9, 2, 60, 600])
def test_a_slow_show_is_no_jump(player: Player, interval: float) -> None:
    """Nor is a pause: what is one ``Timeline`` knows."""
    shown = [n * interval for n in range(4)]
    assert times(player, *shown) == shown


@pytest.mark.parametrize("jump", [1000.0, -1000.0])
def test_a_leap_of_what_is_live_is_not_waited_for(player: Player, jump: float) -> None:
    player.pace = Pace(longest_s=10)
    assert times(player, 2000, 2000.1, 2000.2 + jump, 2000.3 + jump) == [0, 0.1, 0.1, 0.2]


@pytest.mark.parametrize("start", [0.0, 0.08, 1.4])
def test_the_next_round_follows_when_the_last_picture_ends(player: Player, start: float) -> None:
    """Wherever the file begins."""
    shown = []
    for _ in range(3):
        shown += times(player, start, start + 0.1, start + 0.2)
        player.pace.restart()
    assert shown == pytest.approx([n / 10 for n in range(9)])


def test_the_demo_is_in_the_package_and_never_ends() -> None:
    assert DemoSource(StreamConfig(source="demo:"), threading.Event()).loop
    assert DemoSource(StreamConfig(source="demo:"), threading.Event()).probe().width == 1280


def test_an_address_is_not_taken_for_a_file_of_its_path() -> None:
    """As `streamd convert` would, which plays files only."""
    source = FileSource(StreamConfig(source="http://jo:secret@h/etc/passwd"), threading.Event())
    with pytest.raises(SourceUnsupported, match=r"^http://\*\*\*@h/etc/passwd: is not a file"):
        source.probe()
