from __future__ import annotations

import time

import pytest

from streamd.concurrency.deadline import Deadline


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_before_the_start_a_step_has_its_usual_time(clock: list[float]) -> None:
    assert Deadline(3.0).left_s(60.0) == 60.0


def test_steps_share_the_time_that_is_left(clock: list[float]) -> None:
    end = Deadline(3.0)
    end.start()
    assert end.left_s(2.5) == 2.5
    clock[0] += 2
    assert end.left_s(2.5) == 1.0
    end.start()  # a second time puts nothing off
    clock[0] += 2
    assert end.left_s(2.5) == 0.0
    assert end.left_s(2.5, min_s=0.25) == 0.25
