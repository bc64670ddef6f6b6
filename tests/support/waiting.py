"""Waiting for something to come true: never a blind sleep, always a deadline.

Each deadline is scaled by STREAMD_TEST_TIME_SCALE: 3, say, on a machine that is busy with something else. Only what a
test waits for at most is scaled; what the code under test is given is not.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

TIME_SCALE_VARIABLE = "STREAMD_TEST_TIME_SCALE"
TIME_SCALE = float(os.environ.get(TIME_SCALE_VARIABLE) or 1)
PATIENCE_S = 20.0
"""For what has no deadline of its own. Scaled by until() and until_async()."""
_STEP_S = 0.05


def scaled(seconds: float) -> float:
    """So long on this machine."""
    return seconds * TIME_SCALE


def timeout(seconds: float) -> asyncio.Timeout:
    """asyncio.timeout(), scaled."""
    return asyncio.timeout(scaled(seconds))


def own_time() -> float:
    """A clock in seconds that stands still while this thread could run and the box runs others: how long something of
    ours took is then the same on a busy one."""
    return time.monotonic() - queued_s("thread-self")


def queued_s(thread: str | int) -> float:
    """How long a thread, or the main thread of a process, has waited for a core so far (Linux, Documentation/scheduler/
    sched-stats.rst); 0 where the kernel does not tell."""
    try:
        with open(f"/proc/{thread}/schedstat") as found:
            return int(found.read().split()[1]) / 1e9
    except OSError:
        return 0.0


async def wait_for(awaitable: Awaitable[T], seconds: float) -> T:
    """asyncio.wait_for(), scaled."""
    return await asyncio.wait_for(awaitable, scaled(seconds))


def until(what: str, check: Callable[[], T], within_s: float = PATIENCE_S, *, step_s: float = _STEP_S) -> T:
    """What ``check`` gives as soon as it is true. Fails with ``what`` after the deadline."""
    deadline = time.monotonic() + scaled(within_s)
    while True:
        seen = check()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {scaled(within_s):g} s: {what}; last seen: {seen!r}")
        time.sleep(step_s)


async def until_async(
    what: str, check: Callable[[], Awaitable[T]], within_s: float = PATIENCE_S, *, step_s: float = _STEP_S
) -> T:
    """The same for something that is awaited."""
    deadline = time.monotonic() + scaled(within_s)
    while True:
        seen = await check()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {scaled(within_s):g} s: {what}; last seen: {seen!r}")
        await asyncio.sleep(step_s)
