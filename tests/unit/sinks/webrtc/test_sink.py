"""Who is let in, and who has to go. Sessions are played: what they are made of is in tests/integration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streamd.config.sections import WebRtcConfig
from streamd.errors import MemoryShort, OfferRejected, ViewersFull
from streamd.host.memory import MemoryRelief, Step
from streamd.sinks.webrtc import sink as module
from streamd.sinks.webrtc.sink import CONNECTING_S, WebRtcSink
from streamd.telemetry.metrics import Metrics


class PlayedSession:
    """Says of itself what a test wants."""

    def __init__(self, stream: str, view: str, *_: object) -> None:
        loop = asyncio.get_running_loop()
        self.id = f"session-{id(self)}"
        self.stream, self.view = stream, view
        self.opened_at = loop.time()
        self.gone = asyncio.Event()
        self.over: asyncio.Future[str] = loop.create_future()
        self.connected = False
        self.last_packet_at: float | None = None
        self.received: int | None = None

    async def negotiate(self, offer_sdp: str, *_: object) -> None:
        if offer_sdp == "bad":
            raise OfferRejected("bad_offer", "bad")

    async def packets_received(self) -> int | None:
        return self.received

    def end(self, reason: str) -> None:
        if not self.over.done():
            self.over.set_result(reason)

    async def discard(self) -> None:
        await asyncio.sleep(0)


class House:
    """A sink whose sessions are played, with two places."""

    def __init__(self) -> None:
        self.now = [100.0]
        self.memory = MemoryRelief(clock=lambda: self.now[0])
        self.sink = WebRtcSink(
            WebRtcConfig(max_viewers=2), memory=self.memory, join_timeout_s=0.4, report_timeout_s=0.4
        )
        self._metrics = Metrics().of_stream("porch")

    async def open(self, view: str = "depth", offer: str = "good", *, connected: bool = False) -> Any:
        session: Any = await self.sink.open(offer, lambda *_: None, self._metrics, stream="porch", view=view)  # type: ignore[arg-type]
        session.connected = connected
        return session


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(module, "Session", PlayedSession)
    house = House()
    yield house
    await house.sink.shutdown()


async def test_who_connected_keeps_its_place(house: House) -> None:
    for _ in range(2):
        (await house.open(connected=True)).opened_at -= 10 * CONNECTING_S
    with pytest.raises(ViewersFull):
        await house.open()


async def test_who_is_only_just_connecting_keeps_its_place(house: House) -> None:
    for _ in range(2):
        await house.open()
    with pytest.raises(ViewersFull):
        await house.open()


async def test_who_never_connects_gives_way_to_others(house: House) -> None:
    """A hostile one that posts offer after offer locks nobody out."""
    first, second = [await house.open() for _ in range(2)]
    first.opened_at -= 2 * CONNECTING_S
    third = await house.open()
    assert first.over.result() == "not connected, and another viewer came"
    await first.gone.wait()
    assert not second.over.done()
    assert not third.over.done()
    with pytest.raises(ViewersFull):
        await house.open()


async def test_who_never_connects_is_ended(house: House) -> None:
    one = await house.open()
    assert await one.over == "never connected"
    await one.gone.wait()
    assert house.sink.count == 0


async def test_a_bad_offer_leaves_nothing(house: House) -> None:
    with pytest.raises(OfferRejected):
        await house.open(offer="bad")
    assert house.sink.count == 0


async def test_who_stops_reporting_is_ended(house: House) -> None:
    one = await house.open(connected=True)
    one.received = 7
    assert await one.over == "no receiver reports"


async def test_who_never_reports_is_ended_when_it_is_silent(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENT_S", 0.5)
    silent, alive = [await house.open(connected=True) for _ in range(2)]
    loop = asyncio.get_running_loop()
    silent.last_packet_at = loop.time()
    while not silent.over.done():
        alive.last_packet_at = loop.time()
        await asyncio.sleep(0.02)
    assert silent.over.result() == "silent"
    assert not alive.over.done()


async def test_short_memory_ends_all_views_but_depth_and_refuses_new_viewers(house: House) -> None:
    depth, overlay = await house.open("depth", connected=True), await house.open("overlay", connected=True)
    house.memory.update(Step.SHED_VIEWS)
    assert await overlay.over == "memory is short"
    assert not depth.over.done()
    for view in ("depth", "overlay"):
        with pytest.raises(MemoryShort):
            await house.open(view)
    await overlay.gone.wait()
    house.memory.update(Step.CALM)
    with pytest.raises(MemoryShort):
        await house.open("overlay")
    house.now[0] += 60
    house.memory.update(Step.CALM)
    await house.open("overlay")


async def test_nobody_comes_in_while_it_closes(house: House) -> None:
    one = await house.open()
    one.opened_at -= 2 * CONNECTING_S
    await house.sink.shutdown()
    assert one.over.result() == "shutdown"
    with pytest.raises(ViewersFull):
        await house.open()
