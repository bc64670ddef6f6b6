"""Waiting on the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import suppress


class Pulse:
    """An event that wakes all who wait for it now, again and again."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def fire(self) -> None:
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self) -> None:
        """Until ``fire`` is called next."""
        await self._event.wait()


async def wait(event: asyncio.Event, timeout_s: float | None = None) -> None:
    """Until it is set, or the time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()


async def ends_within(outcome: Future[None], seconds: float) -> bool:
    """Whether it ends by then. Raises what it raises by then; what it raises later is no concern of this caller."""
    waiting = asyncio.wrap_future(outcome)
    waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.wait([waiting], timeout=seconds)
    if not waiting.done():
        return False
    waiting.result()
    return True
