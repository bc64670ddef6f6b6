from __future__ import annotations

import time

import pytest

from streamd.telemetry.statistics import Latencies, Rate


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [50.0]
    monkeypatch.setattr(time, "monotonic", lambda: moment[0])
    return moment


def test_a_rate_counts_intervals(now: list[float]) -> None:
    rate = Rate()
    for _ in range(31):
        rate.tick()
        now[0] += 1 / 30
    assert rate.per_second() == pytest.approx(30)


def test_a_rate_forgets_what_is_long_ago(now: list[float]) -> None:
    rate = Rate(window_s=3)
    for _ in range(100):
        rate.tick()
    now[0] += 2
    for _ in range(3):
        now[0] += 0.5
        rate.tick()
    assert rate.per_second() == pytest.approx(2)


@pytest.mark.parametrize("fps", [2, 0.5, 0.2, 1 / 60])
def test_a_slow_rate_is_the_true_one_at_any_moment(now: list[float], fps: float) -> None:
    rate = Rate()
    for _ in range(4):
        rate.tick()
        for _ in range(10):
            now[0] += 0.0999 / fps
            assert rate.per_second() == 0 or rate.per_second() == pytest.approx(fps, rel=0.01)
    assert rate.per_second() > 0


@pytest.mark.parametrize("fps", [30, 0.2])
def test_a_rate_falls_towards_nothing_when_nothing_comes(now: list[float], fps: float) -> None:
    rate = Rate()
    for _ in range(100):
        now[0] += 1 / fps
        rate.tick()
    seen = []
    for _ in range(100):
        now[0] += 1 / fps
        seen.append(rate.per_second())
    assert seen == sorted(seen, reverse=True)
    assert seen[0] == pytest.approx(fps, rel=0.05)
    now[0] += 3600
    assert rate.per_second() < 0.001


def test_one_event_is_no_rate(now: list[float]) -> None:
    rate = Rate()
    assert rate.per_second() == 0
    rate.tick()
    assert rate.per_second() == 0


def test_a_rate_never_grows(now: list[float]) -> None:
    rate = Rate(max_events=10)
    for _ in range(1000):
        rate.tick()
        now[0] += 0.01
    assert len(rate._times) == 10
    assert rate.per_second() == pytest.approx(100)


@pytest.mark.parametrize(("fraction", "ms"), [(0.5, 51), (0.95, 96), (0, 1), (1, 100)])
def test_percentiles(fraction: float, ms: float) -> None:
    latencies = Latencies()
    for value in reversed(range(1, 101)):
        latencies.add(value / 1000)
    assert latencies.percentile_ms(fraction) == pytest.approx(ms)


def test_the_newest_latencies_count_and_no_more_are_kept() -> None:
    latencies = Latencies(max_values=10)
    assert latencies.percentile_ms(0.5) is None
    for value in [9.0] * 50 + [0.001] * 10:
        latencies.add(value)
    assert latencies.percentile_ms(1) == pytest.approx(1)
