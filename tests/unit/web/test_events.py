from __future__ import annotations

import pytest

from streamd.web import events
from streamd.web.events import MAX_WAITING, EventQueue


async def test_every_change_and_the_newest_statistics() -> None:
    subscriber = EventQueue()
    for number in range(3):
        subscriber.statistics(b"statistics-%d " % number)
        subscriber.change(b"change-%d " % number)
    assert await subscriber.next() == b"change-0 change-1 change-2 statistics-2 "


async def test_a_comment_when_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.001)
    assert (await EventQueue().next()).startswith(b":")


async def test_one_that_takes_nothing_is_closed() -> None:
    subscriber = EventQueue()
    for _ in range(MAX_WAITING):
        subscriber.change(b"x")
    assert not subscriber.closed
    subscriber.change(b"x")
    assert subscriber.closed
