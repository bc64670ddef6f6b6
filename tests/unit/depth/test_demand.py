"""Who needs a worker, and how many inferences it should run side by side."""

from __future__ import annotations

import time

import pytest

from streamd.depth.demand import GROW_AFTER_S, REST_AFTER_S, SEEN_S, SHRINK_AFTER_S, Demand


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_worker_rests_some_time_after_the_last_lease(clock: Clock) -> None:
    woken: list[float] = []
    demand = Demand(2, lambda: woken.append(clock.now))
    assert demand.rest_in_s() == 0.0, "nobody has needed one yet"
    with demand.lease(live=False), demand.lease(live=True):
        assert demand.any
        assert demand.rest_in_s() is None
    assert not demand.any
    assert demand.rest_in_s() == REST_AFTER_S
    clock.now += REST_AFTER_S
    assert demand.rest_in_s() == 0.0
    assert len(woken) == 4


@pytest.mark.parametrize(("streams", "parallel"), [(0, 1), (1, 1), (2, 2), (3, 3), (9, 3)])
def test_streams_run_side_by_side_up_to_the_cores(clock: Clock, streams: int, parallel: int) -> None:
    demand = Demand(3, lambda: None)
    demand.add(streams, live=True)
    demand.add(5)  # stills wait for each other
    assert demand.parallel == parallel


def test_a_worker_is_resized_when_the_streams_have_been_others_for_a_while(clock: Clock) -> None:
    demand = Demand(2, lambda: None)
    demand.add(1, live=True)
    assert demand.resize_in_s(1) is None
    demand.add(1, live=True)
    assert demand.resize_in_s(1) == GROW_AFTER_S
    clock.now += GROW_AFTER_S
    assert demand.resize_in_s(1) == 0.0
    assert demand.resize_in_s(2) is None
    demand.add(-1, live=True)
    assert demand.resize_in_s(2) == SHRINK_AFTER_S
    demand.add(-1, live=True)
    assert demand.resize_in_s(2) is None, "it rests soon"


def test_sizes_of_pictures_count_while_they_come(clock: Clock) -> None:
    demand = Demand(2, lambda: None)
    demand.see((1280, 720))
    clock.now += SEEN_S
    demand.see((640, 480))
    assert demand.sizes == [(1280, 720), (640, 480)]
    clock.now += 1
    assert demand.sizes == [(640, 480)]


@pytest.mark.parametrize(("streams", "lanes"), [(0, 1), (1, 1), (2, 2), (3, 3), (9, 3)])
def test_as_many_may_be_under_way_as_there_are_turns(clock: Clock, streams: int, lanes: int) -> None:
    demand = Demand(2, lambda: None)
    demand.add(streams, live=True)
    assert demand.lanes == lanes
