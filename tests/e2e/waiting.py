"""Waiting for something to come true: never a blind sleep, always a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 20.0
"""For what has no deadline of its own. The machine may be busy with something else."""
_STEP_S = 0.05


def until(what: str, look: Callable[[], T], within_s: float = PATIENCE_S) -> T:
    """What ``look`` gives as soon as it is true. Fails with ``what`` after the deadline."""
    deadline = time.monotonic() + within_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}; last seen: {seen!r}")
        time.sleep(_STEP_S)


async def until_async(what: str, look: Callable[[], Awaitable[T]], within_s: float = PATIENCE_S) -> T:
    """The same for something that is awaited."""
    deadline = time.monotonic() + within_s
    while True:
        seen = await look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}; last seen: {seen!r}")
        await asyncio.sleep(_STEP_S)
