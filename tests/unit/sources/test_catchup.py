"""Whether decoding keeps up, on a made-up clock."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from streamd.sources.catchup import BEHIND_S, FAR_BEHIND_S, SKIPPING_S, Backlog, FrameSkipper, Lag, Skip


def lags(*moments: tuple[float, float | None], hold: bool = False) -> list[float]:
    lag = Lag()
    return [round(lag.measure(now, time, hold=hold), 3) for now, time in moments]


def test_lag_is_what_comes_later_than_at_best() -> None:
    assert lags((100, 5), (100.1, 5.1), (100.5, 5.2), (100.8, 5.3), (100.9, 5.8)) == [0, 0, 0.3, 0.5, 0.1]


def test_a_better_one_becomes_the_best() -> None:
    assert lags((100, 0), (100, 0.5), (100.5, 0.7)) == [0, 0, 0.3]


@pytest.mark.parametrize("jump", [None, 1e6, -1e6, 4.0])
def test_a_jump_is_no_lag(jump: float | None) -> None:
    assert lags((100, 5), (101, 5.1), (103, jump)) == [0, 0.9, 0]


def test_after_a_missing_time_it_begins_anew() -> None:
    assert lags((100, 5), (101, None), (102, 5.1), (103, 5.2)) == [0, 0, 0, 0.9]


@pytest.mark.parametrize("drift", [1e-3, -1e-3])
def test_a_clock_that_drifts_is_no_lag(drift: float) -> None:
    """A second in 17 minutes is far more than real clocks do."""
    lag = Lag()
    assert max(lag.measure(n * 0.04, n * 0.04 * (1 - drift), hold=False) for n in range(100_000)) < 0.03


def test_a_lag_that_stays_is_not_taken_for_the_normal_while_busy() -> None:
    lag = Lag()
    lag.measure(0, 0, hold=True)
    assert min(lag.measure(1 + n * 0.04, n * 0.04, hold=True) for n in range(1, 5000)) > 0.9


@dataclass
class Camera:
    """Sends a packet every 40 ms, whose decoding takes ``cost_s``; what waits, waits in the socket. Non-reference
    packets are every second one, keyframes one in ``gop``."""

    cost_s: float
    gop: int = 50
    jump_at: int | None = None
    timeless: bool = False
    now: float = 0.0
    sent: int = 0
    lag_s: list[float] = field(default_factory=list)
    skipper: FrameSkipper = field(default_factory=FrameSkipper)

    def watch(self, packets: int) -> list[Skip]:
        skips = []
        for _ in range(packets):
            arrived, idle_since = self.sent * 0.04, self.now
            self.now = max(self.now, arrived)
            time = arrived + (1000.0 if self.jump_at is not None and self.sent >= self.jump_at else 0.0)
            keyframe = self.sent % self.gop == 0
            skip = self.skipper.choose(
                self.now, None if self.timeless else time, self.now - idle_since, keyframe=keyframe
            )
            needed = {"DEFAULT": True, "NONREF": self.sent % 2 == 0, "NONKEY": keyframe}[skip]
            self.now += self.cost_s if needed else 0.001
            self.lag_s.append(self.now - arrived)
            self.sent += 1
            skips.append(skip)
        return skips


def test_who_keeps_up_decodes_all() -> None:
    assert set(Camera(cost_s=0.035).watch(3000)) == {"DEFAULT"}


def test_a_slow_line_is_not_our_fault() -> None:
    """Packets come ever later, but we wait for each."""
    skipper, skips = FrameSkipper(), set()
    for n in range(2000):
        skips.add(skipper.choose(n * 0.05, n * 0.04, 0.04, keyframe=False))
    assert skips == {"DEFAULT"}


def test_a_little_too_slow_leaves_out_what_none_refers_to() -> None:
    camera = Camera(cost_s=0.05)
    skips = camera.watch(5000)
    assert set(skips) == {"DEFAULT", "NONREF"}
    assert max(camera.lag_s) < BEHIND_S + 0.3


def test_far_too_slow_leaves_out_all_but_keyframes_and_catches_up() -> None:
    camera = Camera(cost_s=0.2)
    skips = camera.watch(5000)
    assert {"NONREF", "NONKEY"} <= set(skips)
    assert max(camera.lag_s) < FAR_BEHIND_S + 0.5
    changes = [n for n in range(1, 5000) if skips[n - 1] == "NONKEY" and skips[n] != "NONKEY"]
    assert changes
    assert all(n % camera.gop == 0 for n in changes), "the others have nothing to refer to"


def test_after_the_load_is_gone_all_is_decoded_again() -> None:
    camera = Camera(cost_s=0.2)
    camera.watch(1000)
    camera.cost_s = 0.01
    assert set(camera.watch(1000)[-500:]) == {"DEFAULT"}


def test_a_camera_without_keyframes_does_not_stay_dark() -> None:
    camera = Camera(cost_s=0.2, gop=1 << 30)
    camera.watch(500)
    camera.cost_s = 0.01
    assert camera.watch(1000)[-1] == "DEFAULT"


@pytest.mark.parametrize("broken", [{"jump_at": 2500}, {"timeless": True}])
def test_broken_times_do_no_harm(broken: dict[str, int]) -> None:
    assert set(Camera(cost_s=0.035, **broken).watch(5000)) == {"DEFAULT"}  # type: ignore[arg-type]


def test_after_a_jump_lag_is_found_again() -> None:
    camera = Camera(cost_s=0.05, jump_at=2500)
    camera.watch(2600)
    assert "NONREF" in camera.watch(1000)


def test_pictures_are_late_only_when_there_was_always_more_to_read() -> None:
    backlog = Backlog()
    for step in range(1000):
        backlog.note_dry(step / 10)
        assert not backlog.is_late(step / 10 + 0.09)


def test_a_backlog_is_skipped_until_all_is_read() -> None:
    backlog = Backlog()
    backlog.note_dry(10)
    assert not backlog.is_late(10 + BEHIND_S)
    assert backlog.is_late(10.1 + BEHIND_S)
    assert backlog.is_late(10.2 + BEHIND_S)
    backlog.note_dry(10.2 + BEHIND_S)
    assert not backlog.is_late(10.2 + BEHIND_S)


def test_a_backlog_without_end_is_seen_now_and_then() -> None:
    backlog = Backlog()
    late = [backlog.is_late(step / 100) for step in range(1000)]
    assert sum(late) / len(late) == pytest.approx(SKIPPING_S / BEHIND_S, abs=0.05)
