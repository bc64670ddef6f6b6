from __future__ import annotations

import asyncio
from concurrent.futures import Future

import pytest

from streamd.concurrency.waiting import Pulse, ends_within, wait
from tests.support.waiting import wait_for


async def test_a_pulse_wakes_all_who_wait_and_nobody_later() -> None:
    pulse = Pulse()
    waiting = [asyncio.create_task(pulse.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    pulse.fire()
    await wait_for(asyncio.gather(*waiting), 1)
    late = asyncio.create_task(pulse.wait())
    await asyncio.sleep(0)
    assert not late.done()
    pulse.fire()
    await wait_for(late, 1)


async def test_waiting_ends_with_the_event_or_the_time() -> None:
    event = asyncio.Event()
    await wait(event, 0.0)
    event.set()
    await wait_for(wait(event), 1)


async def test_an_outcome_is_waited_for_so_long() -> None:
    done, failed, late = Future[None](), Future[None](), Future[None]()
    done.set_result(None)
    failed.set_exception(ValueError("no"))
    assert await ends_within(done, 1)
    with pytest.raises(ValueError, match="no"):
        await ends_within(failed, 1)
    assert not await ends_within(late, 0.0)
    late.set_exception(ValueError("nobody is told"))
    await asyncio.sleep(0)
