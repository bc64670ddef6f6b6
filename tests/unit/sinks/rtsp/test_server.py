"""Connections: how many, and how they end with the server."""

from __future__ import annotations

import asyncio
import logging

import pytest

from streamd.errors import StreamdError
from streamd.host.memory import MemoryRelief
from streamd.sinks.rtsp import RtspServer
from streamd.sinks.rtsp.connection import Parts
from streamd.web.connections import Places
from tests.support.rtsp_client import connected, porch_served
from tests.support.waiting import timeout


async def test_connections_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    async with porch_served(places=Places(1).take) as server:
        async with server.client() as first:
            assert await first.status("OPTIONS", "*") == 200
            async with server.client() as second:
                assert await second.hung_up()
        await server.until(lambda: server.rtsp.connections == 0)
        async with server.client() as third:
            assert await third.status("OPTIONS", "*") == 200
    assert "an RTSP connection was refused: 1 are open" in caplog.text


async def test_the_end_comes_at_once_whatever_readers_do() -> None:
    async with porch_served() as server, server.client() as playing, connected(server.rtsp) as idle:
        await idle.ask("OPTIONS", "*")
        assert await playing.play() == 200
        playing.writer.transport.pause_reading()  # type: ignore[attr-defined]
        async with server.client() as waiting:
            server.porch.answers = False
            waiting.send("DESCRIBE", "/porch")
            await server.until(lambda: len(server.porch.depth) == 2)
            async with timeout(2):
                await server.rtsp.close()
        assert (server.rtsp.connections, server.porch.watching(), len(server.porch.depth)) == (0, 0, 0)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*server.rtsp.address)


async def test_a_port_that_is_taken() -> None:
    async with porch_served() as server:
        parts = Parts(lambda name: None, server.sink.seat, None, MemoryRelief())
        other = RtspServer(parts, lambda address: None)
        with pytest.raises(StreamdError, match=r"cannot listen for RTSP on .* in use: choose another rtsp.listen"):
            await other.listen(*server.rtsp.address)
        await other.close()


async def test_a_fault_of_ours_is_logged_and_ends_one_connection(caplog: pytest.LogCaptureFixture) -> None:
    async with porch_served() as server, server.client() as client:
        server.porch.hub = None  # type: ignore[assignment, method-assign]
        client.send("DESCRIBE", "/porch")
        assert await client.hung_up()
        async with server.client() as other:
            assert await other.status("OPTIONS", "*") == 200
    assert [record.levelno for record in caplog.records if "internal error" in record.message] == [logging.ERROR]
