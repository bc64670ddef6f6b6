from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
import weakref
from functools import partial
from pathlib import Path

import pytest

from streamd.concurrency import threads
from streamd.concurrency.threads import Periodic, SerialExecutor, SharedCall
from streamd.errors import Busy
from tests.support.waiting import scaled

pytestmark = pytest.mark.timeout(10)


def test_a_worker_is_named_and_keeps_the_process_alive() -> None:
    seen: list[threading.Thread] = []
    told: list[str] = []

    def look() -> None:
        seen.append(threading.current_thread())
        told.append(Path("/proc/thread-self/comm").read_text().strip())

    worker = threads.start("capture-the-porch", look)
    worker.finished.result(scaled(5))
    assert [(thread.name, thread.daemon) for thread in seen] == [("capture-the-porch", False)]
    assert told == ["capture-the-por"]


def test_a_worker_that_has_ended_holds_nothing() -> None:
    class Body:
        def run(self) -> None: ...

    body = Body()
    worker, gone = threads.start("ends", body.run), weakref.ref(body)
    worker.join(scaled(5))
    del body
    assert gone() is None


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(3)])
def test_how_a_worker_failed_is_never_lost(error: BaseException) -> None:
    def fail() -> None:
        raise error

    assert threads.start("fails", fail).finished.exception(scaled(5)) is error


async def test_whoever_waits_for_a_worker_may_give_up() -> None:
    go = threading.Event()
    worker = threads.start("goes-on", go.wait)
    waiting = asyncio.wrap_future(worker.finished)
    waiting.cancel()
    await asyncio.sleep(0)
    go.set()
    await asyncio.wrap_future(worker.finished)


def test_a_caller_runs_calls_in_order_in_one_thread() -> None:
    caller = SerialExecutor("caller")
    futures = [caller.submit(lambda n=n: (n, threading.current_thread().name)) for n in range(5)]  # type: ignore[misc]
    assert [future.result(scaled(5)) for future in futures] == [(n, "caller") for n in range(5)]
    caller.close()


def test_a_call_that_fails_harms_no_other() -> None:
    caller = SerialExecutor("caller")
    bad, good = caller.submit(lambda: 1 / 0), caller.submit(lambda: 1)
    assert isinstance(bad.exception(scaled(5)), ZeroDivisionError)
    assert good.result(scaled(5)) == 1
    caller.close()


def test_a_caller_refuses_more_than_its_capacity() -> None:
    """The one under way counts too."""
    caller, gate = SerialExecutor("caller", capacity=2, calls="pictures"), threading.Event()
    futures = [caller.submit(gate.wait) for _ in range(2)]
    with pytest.raises(Busy, match=r"^busy: too many pictures wait already; try again$"):
        caller.submit(gate.wait)
    gate.set()
    assert [future.result(scaled(5)) for future in futures] == [True, True]
    for _ in range(200):  # there is room again once the result is there
        assert [future.result(scaled(5)) for future in [caller.submit(int) for _ in range(2)]] == [0, 0]
    caller.close()


def test_close_waits_no_longer_than_its_timeout() -> None:
    caller, began, gate = SerialExecutor("caller"), threading.Event(), threading.Event()

    def hang() -> bool:
        began.set()
        return gate.wait(5)

    running, waiting = caller.submit(hang), caller.submit(int)
    assert began.wait(3)
    caller.close(timeout_s=0.0)
    assert waiting.cancelled()
    assert threads.any_abandoned()
    gate.set()
    assert running.result(3), "what it left to itself comes to its end"
    caller._worker.join()


def test_an_owner_has_a_bound_of_its_own() -> None:
    caller, gate = SerialExecutor("caller", capacity=8, max_per_owner=2), threading.Event()
    futures = [caller.submit(gate.wait, owner="greedy") for _ in range(2)]
    with pytest.raises(Busy):
        caller.submit(gate.wait, owner="greedy")
    futures.append(caller.submit(gate.wait, owner="modest"))
    gate.set()
    assert [future.result(1) for future in futures] == [True] * 3
    caller.close()
    assert not caller._pending, "who has no calls is forgotten"


def test_owners_take_turns() -> None:
    caller, began, gate = SerialExecutor("caller"), threading.Event(), threading.Event()
    order: list[str] = []

    def first() -> None:
        began.set()
        gate.wait(3)

    caller.submit(first, owner="a")
    assert began.wait(3)
    for owner in "aaabbc":
        caller.submit(partial(order.append, owner), owner=owner)
    gate.set()
    caller.close()
    assert "".join(order) == "bcabaa"


def test_a_closed_executor_takes_nothing_more() -> None:
    caller = SerialExecutor("caller")
    caller.close()
    with pytest.raises(Busy):
        caller.submit(int)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_a_nice_executor_leaves_the_other_threads_as_they_are() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before, caller = niceness(), SerialExecutor("caller", niceness=3)
    assert caller.submit(niceness).result(1) == min(19, before + 3)
    caller.close()
    assert niceness() == before


class TestSharedCall:
    def test_who_asks_while_it_runs_shares_the_result(self) -> None:
        gate, calls = threading.Event(), []

        def call() -> int:
            gate.wait(3)
            calls.append(1)
            return len(calls)

        shared = SharedCall("devices", call)
        first = shared.start()
        assert shared.start() is first
        gate.set()
        assert first.result(1) == 1
        shared._worker.join()  # type: ignore[union-attr]
        assert shared.start().result(1) == 2, "the next one asks anew"
        shared.close()

    def test_one_who_gives_up_does_not_cancel_it(self) -> None:
        gate = threading.Event()
        shared = SharedCall("devices", gate.wait)
        assert not shared.start().cancel()
        gate.set()
        assert shared.start().result(1)

    def test_a_failure_is_for_those_who_asked(self) -> None:
        def fail() -> None:
            raise OSError("test")

        assert str(SharedCall("devices", fail).start().exception(1)) == "test"

    def test_close_does_not_wait_for_what_hangs(self) -> None:
        gate = threading.Event()
        shared = SharedCall("devices", gate.wait)
        future = shared.start()
        shared.close()
        assert threads.any_abandoned()
        gate.set()
        assert future.result(1)


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


class TestPeriodic:
    async def test_it_calls_again_and_again_whatever_fails(self, caplog: pytest.LogCaptureFixture) -> None:
        enough, calls = threading.Event(), []

        def call(_: threading.Event) -> None:
            calls.append(1)
            if len(calls) == 3:
                enough.set()
            raise ZeroDivisionError

        periodic = Periodic("disk-watch", call, 0.001)
        assert await asyncio.to_thread(enough.wait, 5)
        await periodic.stop()
        assert "thread disk-watch: internal error" in caplog.text

    async def test_a_long_call_is_given_the_event_that_ends_it(self) -> None:
        periodic = Periodic("prunes", lambda stop: stop.wait(10), 10)
        async with asyncio.timeout(1):
            await periodic.stop(within_s=5)


async def test_who_hangs_is_abandoned_and_others_are_waited_for() -> None:
    gate = threading.Event()
    worker = threads.start("hangs", gate.wait)
    assert not await threads.finish(worker, 0.01)
    assert threads.any_abandoned()
    gate.set()
    assert await threads.finish(worker, 5)
    worker.join(5)
    assert not threads.any_abandoned()


async def test_an_executor_is_left_to_a_call_that_hangs() -> None:
    executor, gate = SerialExecutor("recordings"), threading.Event()
    executor.submit(gate.wait)
    last = executor.submit(lambda: "closed")
    async with asyncio.timeout(1):
        await executor.leave(within_s=0.01)
    gate.set()
    assert last.result(5) == "closed", "what waited is still done"
    await asyncio.to_thread(executor.close)


def test_a_sandbox_that_keeps_priorities_keeps_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd's SystemCallFilter answers EPERM."""

    def forbidden(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", forbidden)
    executor = SerialExecutor("nice", niceness=5)
    assert executor.submit(lambda: 42).result(10) == 42
    executor.close()


def test_nobody_waits_at_the_end_for_a_name_that_is_looked_up() -> None:
    go = threading.Event()

    async def look_up() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(threads.LeftExecutor())
        loop.run_in_executor(None, go.wait)

    asyncio.run(look_up())  # would not return
    assert threads.any_abandoned()
    go.set()
    deadline = time.monotonic() + scaled(5)
    while threads.any_abandoned() and time.monotonic() < deadline:
        threading.Event().wait(0.005)
    assert not threads.any_abandoned()


def test_the_last_resort_ends_a_process_that_threads_hold() -> None:
    program = "import threading; from streamd.concurrency import threads; "
    program += "threads.exit_after(0.0, lambda: 3); threads.start('hangs', threading.Event().wait)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=scaled(9)).returncode == 3
