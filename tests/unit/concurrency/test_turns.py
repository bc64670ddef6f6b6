from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from streamd.concurrency import threads, turns
from streamd.concurrency.mailbox import Closed
from streamd.concurrency.turns import Turns
from tests.support.waiting import scaled

pytestmark = pytest.mark.timeout(10)


@pytest.fixture(autouse=True)
def asks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "POLL_S", 0.001)


def never() -> bool:
    return False


class Waiter:
    """A thread that takes a turn, writes its name down and gives the turn back; in the queue once this returns."""

    def __init__(self, name: str, shared: Turns, order: list[str]) -> None:
        self._waits = threading.Event()
        self._wanted = True
        self._thread = threads.start(name, lambda: self._take(shared, order))
        assert self._waits.wait(scaled(5)), f"{name} does not wait"

    def _take(self, shared: Turns, order: list[str]) -> None:
        with shared.one(self._asked):
            order.append(self._thread.name)

    def _asked(self) -> bool:
        """Asked only in the queue."""
        self._waits.set()
        return not self._wanted

    def give_up(self) -> None:
        self._wanted = False

    def result(self) -> None:
        self._thread.join()
        self._thread.finished.result(0)


def test_no_more_than_so_many_at_a_time() -> None:
    shared, order = Turns(2), list[str]()
    with shared.one(never):
        with shared.one(never):
            third = Waiter("third", shared, order)
            assert order == []
        third.result()
    assert order == ["third"]


def test_who_comes_back_at_once_does_not_push_in() -> None:
    shared, order = Turns(1), list[str]()
    with shared.one(never):
        waiters = [Waiter(name, shared, order) for name in ("first", "second", "third")]
    with shared.one(never):
        order.append("again")
    for waiter in waiters:
        waiter.result()
    assert order == ["first", "second", "third", "again"]


def test_who_is_no_longer_wanted_gives_up_and_takes_nothing() -> None:
    shared, order = Turns(1), list[str]()
    with shared.one(never):
        leaves, stays = Waiter("leaves", shared, order), Waiter("stays", shared, order)
        leaves.give_up()
        with pytest.raises(Closed):
            leaves.result()
    stays.result()
    assert order == ["stays"]


def test_a_turn_that_comes_as_one_gives_up_goes_on() -> None:
    shared, holder = Turns(1), ExitStack()
    holder.enter_context(shared.one(never))

    def unwanted() -> bool:
        holder.close()  # now it comes
        return True

    with pytest.raises(Closed), shared.one(unwanted):
        pass
    with shared.one(lambda: pytest.fail("it must be free")):
        pass


def test_a_failure_gives_the_turn_back() -> None:
    shared = Turns(1)
    with pytest.raises(ZeroDivisionError), shared.one(never):
        raise ZeroDivisionError
    with shared.one(lambda: pytest.fail("it must be free")):
        pass


def test_more_turns_let_those_who_wait_begin_and_fewer_let_those_under_way_end() -> None:
    turns, under_way, may_end = Turns(1), threading.Semaphore(0), threading.Event()

    def work() -> None:
        with turns.one(lambda: False):
            under_way.release()
            may_end.wait(10)

    workers = [threads.start(f"worker-{number}", work) for number in range(3)]
    assert under_way.acquire(timeout=scaled(10))
    assert not under_way.acquire(blocking=False)
    turns.resize(3)
    assert under_way.acquire(timeout=scaled(10))
    assert under_way.acquire(timeout=scaled(10))
    turns.resize(1)
    may_end.set()
    for worker in workers:
        worker.finished.result(scaled(10))
    with turns.one(lambda: False):
        late = threads.start("late", work)
        assert not under_way.acquire(timeout=0.05), "one at a time again"
    assert under_way.acquire(timeout=scaled(10))
    late.finished.result(scaled(10))


@pytest.mark.parametrize(("count", "held"), [(1, 0), (2, 0), (3, 1), (4, 2)])
def test_what_can_wait_leaves_one_for_what_cannot(count: int, held: int) -> None:
    shared = Turns(count)
    with ExitStack() as stack:
        for _ in range(held):
            assert shared.has_spare
            stack.enter_context(shared.one(never))
        assert shared.has_spare
        stack.enter_context(shared.one(never))
        assert not shared.has_spare
    assert shared.has_spare


def test_what_can_wait_goes_on_one_after_the_other() -> None:
    shared = Turns(4)
    with shared.one(never, spare=True):
        assert not shared.has_spare
    assert shared.has_spare
