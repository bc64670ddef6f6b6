"""The hand-over between two threads: what waits, what is skipped, who is woken."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.concurrency import threads
from streamd.concurrency.mailbox import Closed, Mailbox
from tests.support.waiting import scaled, until

pytestmark = pytest.mark.timeout(10)


def test_the_latest_wins_and_the_skipped_are_reported() -> None:
    skipped: list[int] = []
    box: Mailbox[int] = Mailbox(on_skip=skipped.append)
    for number in range(5):
        box.put(number)
    assert box.get() == 4
    assert skipped == [0, 1, 2, 3]


@given(st.integers(1, 4), st.lists(st.booleans(), max_size=40))
def test_nothing_is_lost_uncounted(capacity: int, puts: list[bool]) -> None:
    """Any order of puts and gets: what came out and what was skipped is what went in, in order."""
    skipped: list[int] = []
    got: list[int] = []
    box: Mailbox[int] = Mailbox(capacity=capacity, on_skip=skipped.append)
    for number, is_put in enumerate(puts):
        if is_put:
            box.put(number)
        elif (item := box.get(timeout_s=0)) is not None:
            got.append(item)
    box.close()
    try:
        while (item := box.get()) is not None:
            got.append(item)
    except Closed:
        pass
    assert got == sorted(got)
    assert sorted(got + skipped) == [number for number, is_put in enumerate(puts) if is_put]


def test_every_mode_makes_the_producer_wait() -> None:
    skipped: list[int] = []
    box: Mailbox[int] = Mailbox(every=True, capacity=2, on_skip=skipped.append)
    done: list[int] = []

    def produce() -> None:
        for number in range(10):
            box.put(number)
            done.append(number)

    producer = threads.start("producer", produce)
    until("two are in, the third has to wait", lambda: len(done) == 2, step_s=0.001)
    with pytest.raises(TimeoutError):
        producer.finished.result(0.05)
    assert done == [0, 1]
    assert [box.get() for _ in range(10)] == list(range(10))
    producer.finished.result(scaled(5))
    assert skipped == []


def test_wake_makes_a_waiting_get_return_nothing() -> None:
    box: Mailbox[int] = Mailbox()
    woken: list[int | None] = []
    waiter = threads.start("waiter", lambda: woken.append(box.get()))
    box.wake()
    waiter.finished.result(scaled(5))
    assert woken == [None]


def test_a_wake_is_kept_for_the_next_get_and_used_up_by_it() -> None:
    box: Mailbox[int] = Mailbox()
    box.wake()
    assert box.get(timeout_s=scaled(5)) is None
    box.put(1)
    assert box.get() == 1


def test_get_gives_up_after_its_timeout() -> None:
    assert Mailbox[int]().get(timeout_s=0.01) is None


def test_close_delivers_what_waits_and_then_ends() -> None:
    box: Mailbox[int] = Mailbox()
    box.put(1)
    box.close()
    box.close()
    assert box.get() == 1
    with pytest.raises(Closed):
        box.get()
    with pytest.raises(Closed):
        box.put(2)


def test_close_may_discard_what_waits() -> None:
    box: Mailbox[int] = Mailbox()
    box.put(1)
    box.close(discard=True)
    with pytest.raises(Closed):
        box.get()


def test_it_shows_whether_what_waits_is_still_wanted() -> None:
    box: Mailbox[int] = Mailbox()
    assert (box.closed, box.discarded) == (False, False)
    box.close()
    assert (box.closed, box.discarded) == (True, False)
    box.close(discard=True)
    assert (box.closed, box.discarded) == (True, True)


@pytest.mark.parametrize("every", [False, True])
def test_close_frees_whoever_waits(every: bool) -> None:
    box: Mailbox[int] = Mailbox(every=every)
    if every:
        box.put(0)
    waits = (lambda: box.put(1)) if every else box.get
    started = threading.Event()

    def wait() -> None:
        started.set()
        waits()

    waiter = threads.start("waiter", wait)
    assert started.wait(scaled(5))
    box.close(discard=True)
    with pytest.raises(Closed):
        waiter.finished.result(scaled(5))


def test_on_skip_may_use_the_mailbox() -> None:
    """It is called without the lock."""
    seen: list[int | None] = []
    box: Mailbox[int] = Mailbox(on_skip=lambda _: seen.append(box.get(timeout_s=0)))
    box.put(1)
    box.put(2)
    assert seen == [2]


def test_to_wait_takes_nothing() -> None:
    box: Mailbox[int] = Mailbox()
    box.put(1)
    box.wait()
    box.put(2)  # replaces what was waited for
    box.wait()
    assert box.get() == 2
    box.close()
    with pytest.raises(Closed):
        box.wait()


def test_an_offer_is_taken_or_refused_at_once() -> None:
    box: Mailbox[int] = Mailbox(capacity=2)
    assert [box.offer(number) for number in (1, 2, 3)] == [True, True, False]
    assert len(box) == 2
    assert box.get() == 1
    assert box.offer(4)
    box.close()
    assert not box.offer(5)
    assert (box.get(), box.get()) == (2, 4)


def test_a_result_is_given_or_raised() -> None:
    box: Mailbox[int] = Mailbox()
    good, bad = Future[int](), Future[int]()
    good.set_result(1)
    bad.set_exception(ZeroDivisionError())
    assert box.result(good) == 1
    with pytest.raises(ZeroDivisionError):
        box.result(bad)


def test_a_result_is_still_awaited_when_the_box_is_only_closed() -> None:
    box: Mailbox[int] = Mailbox()
    future = Future[int]()
    box.close()
    worker = threads.start("answer", lambda: future.set_result(2))
    assert box.result(future) == 2
    worker.join()


def test_a_result_is_not_awaited_when_nobody_wants_it() -> None:
    box: Mailbox[int] = Mailbox()
    worker = threads.start("close", lambda: box.close(discard=True))
    with pytest.raises(Closed):
        box.result(Future[int]())
    worker.join()
