from __future__ import annotations

import threading

import pytest

from streamd.concurrency import threads
from streamd.concurrency.backoff import Backoff
from streamd.errors import StreamStuck
from streamd.streams.recovery import HOPELESS_AFTER, MAX_ABANDONED, Abandoned, Faults, Liveness


def watched(seconds: int, *, captures: bool = True, publishes: bool = False, can_publish: bool = True) -> None:
    """Looks once a second at a stream that does the same all the time."""
    liveness = Liveness(15.0)
    for now in range(1000, 1000 + seconds):
        liveness.check(
            now,
            captured_at=now - 0.1 if captures else None,
            published_at=now - 0.05 if publishes else None,
            can_publish=can_publish,
        )


def test_who_gets_pictures_and_publishes_none_is_stuck() -> None:
    watched(16)
    with pytest.raises(StreamStuck, match="nothing has been published for 16 s"):
        watched(17)


def test_who_publishes_gets_none_or_has_no_network_is_not() -> None:
    watched(100, publishes=True)
    watched(100, captures=False)
    watched(100, can_publish=False)


def test_the_time_counts_from_the_last_publication() -> None:
    liveness = Liveness(15.0)
    for now in range(64):
        liveness.check(now, captured_at=now, published_at=min(now, 49), can_publish=True)
    with pytest.raises(StreamStuck):
        liveness.check(64, captured_at=64, published_at=49, can_publish=True)


def test_a_source_that_stops_delivering_is_not_stuck() -> None:
    liveness = Liveness(15.0)
    for now in range(100):
        liveness.check(now, captured_at=min(now, 10), published_at=None, can_publish=True)


def test_it_is_hopeless_when_no_run_of_several_published() -> None:
    faults = Faults(Backoff(first_s=1.0, factor=2.0, jitter=lambda: 0.5))
    delays = [faults.add(StreamStuck(15.0), 0.0) for _ in range(HOPELESS_AFTER)]
    assert faults.hopeless
    assert delays == [1.0, 2.0, 4.0]
    faults.published()
    assert not faults.hopeless


def test_another_fault_is_no_reason_to_give_up() -> None:
    faults = Faults(Backoff(first_s=0))
    for _ in range(10):
        faults.add(ZeroDivisionError(), 0.0)
    assert not faults.hopeless


def test_runs_whose_threads_hang_are_counted_until_one_ends() -> None:
    abandoned, go = Abandoned(), [threading.Event() for _ in range(MAX_ABANDONED)]
    workers = [threads.start("hangs", each.wait) for each in go]
    for worker in workers:
        assert not abandoned.too_many
        abandoned.add([worker])
        abandoned.add([])
    assert abandoned.too_many
    go[1].set()
    workers[1].join()
    assert not abandoned.too_many
    for each in go:
        each.set()
