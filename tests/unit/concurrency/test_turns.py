from __future__ import annotations

import threading
import time

import pytest

from streamd.concurrency import threads, turns
from streamd.concurrency.mailbox import Closed
from streamd.concurrency.turns import Turns

pytestmark = pytest.mark.timeout(10)


def never() -> bool:
    return False


def test_no_more_than_so_many_at_a_time() -> None:
    shared, inside, most = Turns(2), 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with shared.one(never):
                with lock:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.0001)
                with lock:
                    inside -= 1

    workers = [threads.start(f"worker-{n}", work) for n in range(5)]
    for worker in workers:
        worker.join()
        worker.finished.result()
    assert (inside, most) == (0, 2)


def test_who_comes_back_at_once_does_not_push_in() -> None:
    """Each takes its turns as fast as it can; they come out even."""
    shared, counts, stop = Turns(1), [0, 0, 0], threading.Event()

    def work(number: int) -> None:
        while not stop.is_set():
            with shared.one(never):
                counts[number] += 1
                time.sleep(0.0002)

    workers = [threads.start(f"worker-{n}", lambda n=n: work(n)) for n in range(3)]  # type: ignore[misc]
    while sum(counts) < 300:
        time.sleep(0.001)
    stop.set()
    for worker in workers:
        worker.join()
    assert max(counts) - min(counts) <= 5


def test_who_is_no_longer_wanted_gives_up_and_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "POLL_S", 0.01)
    shared = Turns(1)
    with shared.one(never), pytest.raises(Closed), shared.one(lambda: True):
        pass
    with shared.one(never):
        pass


def test_a_failure_gives_the_turn_back() -> None:
    shared = Turns(1)
    with pytest.raises(ZeroDivisionError), shared.one(never):
        raise ZeroDivisionError
    with shared.one(never):
        pass


def test_more_turns_let_those_who_wait_begin_and_fewer_let_those_under_way_end() -> None:
    turns, under_way, may_end = Turns(1), threading.Semaphore(0), threading.Event()

    def work() -> None:
        with turns.one(lambda: False):
            under_way.release()
            may_end.wait(10)

    workers = [threads.start(f"worker-{number}", work) for number in range(3)]
    assert under_way.acquire(timeout=10)
    assert not under_way.acquire(blocking=False)
    turns.resize(3)
    assert under_way.acquire(timeout=10)
    assert under_way.acquire(timeout=10)
    turns.resize(1)
    may_end.set()
    for worker in workers:
        worker.finished.result(10)
    with turns.one(lambda: False):
        late = threads.start("late", work)
        assert not under_way.acquire(timeout=0.05), "one at a time again"
    assert under_way.acquire(timeout=10)
    late.finished.result(10)
