"""UDP: to the reader's own address, from ports of ours, and only while it is there."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from streamd.sinks.rtsp import connection
from streamd.sinks.rtsp.rtp import RtpStream
from streamd.sinks.rtsp.transport import Interleaved
from tests.support.ports import free_ports
from tests.support.rtsp_client import RtspClient, picture, porch_served
from tests.support.waiting import scaled, timeout


@contextmanager
def udp_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ports = free_ports(2)
    with socket.socket(type=socket.SOCK_DGRAM) as rtp, socket.socket(type=socket.SOCK_DGRAM) as rtcp:
        for each, port in zip((rtp, rtcp), ports, strict=True):
            each.bind(("127.0.0.1", port))
            each.setblocking(False)
        yield rtp, rtcp


async def received(each: socket.socket) -> tuple[bytes, int]:
    """A datagram, and the port that it came from."""
    async with timeout(5):
        data, (_, port) = await asyncio.get_running_loop().sock_recvfrom(each, 2048)
        return data, port


async def set_up(client: RtspClient, rtp: socket.socket) -> tuple[int, int]:
    """Ports of the server."""
    port = rtp.getsockname()[1]
    answer = await client.set_up(
        transport=b"RTP/AVP;unicast;destination=192.0.2.9;client_port=%d-%d" % (port, port + 1)
    )
    found = re.fullmatch(
        rb"RTP/AVP;unicast;client_port=%d-%d;server_port=(\d+)-(\d+);ssrc=[0-9A-F]{8}" % (port, port + 1),
        answer.get("Transport"),
    )
    assert found, answer
    return int(found[1]), int(found[2])


async def test_packets_and_reports_come_by_udp() -> None:
    async with porch_served() as server, server.client() as client:
        with udp_pair() as (rtp, rtcp):
            ports = await set_up(client, rtp)
            assert (ports[0] % 2, ports[1]) == (0, ports[0] + 1)
            assert await client.status("PLAY", "/porch") == 200
            packets = [await received(rtp) for _ in range(3)]
            assert [(data[1], port) for data, port in packets] == [(96, ports[0]), (96, ports[0]), (224, ports[0])]
            report, port = await received(rtcp)
            assert (report[1], port) == (200, ports[1])
            server.porch.publish(200_000)  # more than goes at once
            while not (await received(rtp))[0][1] & 0x80:
                pass
            server.porch.depth.close()
            bye, _ = await received(rtcp)
            assert bye[-7] == 203
            assert await client.hung_up()


@pytest.mark.parametrize("reports", [True, False])
async def test_a_reader_has_to_show_that_it_is_there(monkeypatch: pytest.MonkeyPatch, reports: bool) -> None:
    monkeypatch.setattr(connection, "TIMEOUT_S", scaled(1.0))
    monkeypatch.setattr("streamd.sinks.rtsp.server.LOOK_EVERY_S", 0.02)
    async with porch_served() as server, server.client() as client:
        with udp_pair() as (rtp, rtcp), socket.socket(type=socket.SOCK_DGRAM) as stranger:
            ports = await set_up(client, rtp)
            assert await client.status("PLAY", "/porch") == 200
            for _ in range(20):
                await asyncio.sleep(scaled(0.075))
                sender = rtcp if reports else stranger
                sender.sendto(b"\x80\xc9\0\1abcd", ("127.0.0.1", ports[1]))
            assert (server.rtsp.connections > 0) == reports


async def test_a_port_where_nobody_listens_does_no_harm() -> None:
    async with porch_served() as server, server.client() as client:
        with udp_pair() as (rtp, _):
            await set_up(client, rtp)
        assert await client.status("PLAY", "/porch") == 200
        for _ in range(20):
            server.porch.publish(5000)
            await asyncio.sleep(0.002)
        assert await client.status("GET_PARAMETER", "/porch") == 200
        assert server.porch.watching() == 1


async def test_nothing_is_left_of_a_reader_that_hangs_up() -> None:
    async with porch_served() as server:
        async with server.client() as client:
            with udp_pair() as (rtp, _):
                await set_up(client, rtp)
                assert await client.status("PLAY", "/porch") == 200
        await server.until(lambda: server.rtsp.connections == 0)
        assert (server.porch.watching(), len(server.porch.depth)) == (0, 0)


async def test_the_time_in_which_it_is_paused_does_not_count_as_waiting() -> None:
    """A slow reader would be cut off in the moment that it goes on."""

    class Full:
        def write(self, data: bytes) -> None: ...

        async def drain(self) -> None:
            await asyncio.Event().wait()

    writer: Any = Full()
    transport = Interleaved(writer, (0, 1), 1)
    sending = asyncio.create_task(transport.send(RtpStream(), picture(1)))
    await asyncio.sleep(0)
    assert transport.waiting_since is not None
    sending.cancel()
    await asyncio.wait([sending])
    assert transport.waiting_since is None
