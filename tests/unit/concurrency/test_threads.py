from __future__ import annotations

import asyncio
import threading

import pytest

from streamd.concurrency import threads
from streamd.concurrency.threads import SerialExecutor
from streamd.errors import Busy

pytestmark = pytest.mark.timeout(10)


def test_a_worker_is_named_and_keeps_the_process_alive() -> None:
    seen: list[threading.Thread] = []
    worker = threads.start("capture-porch", lambda: seen.append(threading.current_thread()))
    assert worker.finished.result(1) is None
    assert [(thread.name, thread.daemon) for thread in seen] == [("capture-porch", False)]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(3)])
def test_how_a_worker_failed_is_never_lost(error: BaseException) -> None:
    def fail() -> None:
        raise error

    assert threads.start("fails", fail).finished.exception(1) is error


async def test_whoever_waits_for_a_worker_may_give_up() -> None:
    go = threading.Event()
    worker = threads.start("goes-on", go.wait)
    waiting = asyncio.wrap_future(worker.finished)
    waiting.cancel()
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.wrap_future(worker.finished) is None


def test_a_caller_runs_calls_in_order_in_one_thread() -> None:
    caller = SerialExecutor("caller")
    futures = [caller.submit(lambda n=n: (n, threading.current_thread().name)) for n in range(5)]  # type: ignore[misc]
    assert [future.result(1) for future in futures] == [(n, "caller") for n in range(5)]
    caller.close()


def test_a_call_that_fails_harms_no_other() -> None:
    caller = SerialExecutor("caller")
    bad, good = caller.submit(lambda: 1 / 0), caller.submit(lambda: 1)
    assert isinstance(bad.exception(1), ZeroDivisionError)
    assert good.result(1) == 1
    caller.close()


def test_a_caller_refuses_more_than_its_capacity() -> None:
    """The one under way counts too."""
    caller, gate = SerialExecutor("caller", capacity=2), threading.Event()
    futures = [caller.submit(gate.wait) for _ in range(2)]
    with pytest.raises(Busy):
        caller.submit(gate.wait)
    gate.set()
    assert [future.result(1) for future in futures] == [True, True]
    for _ in range(20):
        caller.submit(int).result(1)  # room again
    caller.close()


def test_a_cancelled_call_is_not_made() -> None:
    caller, gate, made = SerialExecutor("caller"), threading.Event(), []
    running, waiting = caller.submit(gate.wait), caller.submit(lambda: made.append(1))
    assert waiting.cancel()
    gate.set()
    caller.close()
    assert running.done()
    assert made == []


def test_close_finishes_what_waits() -> None:
    caller = SerialExecutor("caller")
    future = caller.submit(lambda: 5)
    caller.close()
    assert future.result(0) == 5
