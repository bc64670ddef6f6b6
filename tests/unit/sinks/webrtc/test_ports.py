from __future__ import annotations

import errno
import socket

import pytest
from aioice.ice import Connection

from streamd.sinks.webrtc.ports import NoPort, PortRange, bind
from tests.support.ports import free_ports


async def test_each_socket_has_a_port_of_the_range() -> None:
    wanted, connection = free_ports(2), Connection(ice_controlling=False)
    ports = PortRange(wanted)
    opened = [await ports.open(connection, "127.0.0.1") for _ in wanted]
    assert sorted(each.transport.get_extra_info("sockname")[1] for each in opened) == list(wanted)
    with pytest.raises(OSError, match="in use") as error:
        await ports.open(connection, "127.0.0.1")
    assert error.value.errno == errno.EADDRINUSE
    for each in opened:
        await each.close()


async def test_any_port() -> None:
    protocol = await PortRange().open(Connection(ice_controlling=False), "127.0.0.1")
    assert protocol.transport.get_extra_info("sockname")[1] > 0
    await protocol.close()


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(OSError, match="assign"):
        bind("192.0.2.250", range(1))


def test_a_port_that_is_taken() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            bind("127.0.0.1", range(port, port + 1))


@pytest.mark.parametrize(
    ("ports", "text"),
    [
        (None, "no UDP socket for this viewer could be opened; try again"),
        (range(9, 10), "UDP port 9 (webrtc.udp_ports) cannot be opened: another program may hold it; try again"),
        (range(9, 12), "all UDP ports of webrtc.udp_ports (9-11) are taken; try again"),
    ],
)
def test_what_the_viewer_reads(ports: range | None, text: str) -> None:
    assert str(NoPort(ports)) == text
