from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aioice import stun
from aioice.candidate import Candidate
from aioice.ice import Connection

from streamd.errors import OfferRejected
from streamd.sinks.webrtc.filter import FilteredProtocol
from streamd.sinks.webrtc.mux import Mux

FIRST, SECOND = ("192.0.2.7", 5000), ("192.0.2.8", 5000)
CLIENT_HELLO = b"\x16\xfe\xff" + bytes(60)


class Wire(asyncio.DatagramTransport):
    """The one socket."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[bytes, Any]] = []
        self.closed = False

    def sendto(self, data: Any, addr: Any = None) -> None:
        self.sent.append((data, addr))

    def close(self) -> None:
        self.closed = True


def viewer_at(mux: Mux) -> FilteredProtocol:
    protocol = mux.add(FilteredProtocol(Connection(ice_controlling=False)))
    protocol.local_candidate = Candidate("1", 1, "udp", 1, "192.0.2.1", 4000, "host")
    return protocol


def check(protocol: FilteredProtocol, password: str | None = None) -> bytes:
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    request.attributes.update({"USERNAME": f"{protocol.fragment}:abcd", "PRIORITY": 1})
    request.add_message_integrity((password or protocol.receiver.local_password).encode())
    return bytes(request)


def waiting(protocol: FilteredProtocol) -> int:
    return protocol.receiver._queue.qsize()


@pytest.fixture
async def mux() -> Mux:
    mux = Mux()
    mux.connection_made(Wire())
    return mux


async def test_each_gets_its_own_packets(mux: Mux) -> None:
    first, second = viewer_at(mux), viewer_at(mux)
    mux.datagram_received(CLIENT_HELLO, FIRST)
    mux.datagram_received(check(first), FIRST)
    mux.datagram_received(check(second), SECOND)
    for _ in range(2):
        mux.datagram_received(CLIENT_HELLO, FIRST)
    mux.datagram_received(CLIENT_HELLO, SECOND)
    assert (waiting(first), waiting(second)) == (2, 1)


async def test_a_check_with_the_wrong_password_moves_nothing(mux: Mux) -> None:
    first, second = viewer_at(mux), viewer_at(mux)
    mux.datagram_received(check(first), FIRST)
    mux.datagram_received(check(second, first.receiver.local_password), FIRST)
    mux.datagram_received(CLIENT_HELLO, FIRST)
    assert (waiting(first), waiting(second)) == (1, 0)


async def test_an_address_that_a_nat_gave_to_somebody_else_goes_with_it(mux: Mux) -> None:
    first, second = viewer_at(mux), viewer_at(mux)
    for protocol in (first, second):
        mux.datagram_received(check(protocol), FIRST)
    mux.datagram_received(CLIENT_HELLO, FIRST)
    assert (waiting(first), waiting(second)) == (0, 1)
    mux.datagram_received(check(first, "x" * 22), FIRST)  # a forged one does not bring it back
    mux.datagram_received(CLIENT_HELLO, FIRST)
    assert (waiting(first), waiting(second)) == (0, 2)
    first.transport.close()
    mux.datagram_received(CLIENT_HELLO, FIRST)
    assert waiting(second) == 3, "the one who left takes nothing away"


async def test_responses_find_who_asked(mux: Mux) -> None:
    viewer_at(mux)
    second = viewer_at(mux)
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    asking = asyncio.create_task(second.request(request, SECOND))
    await asyncio.sleep(0)
    mux.datagram_received(bytes(stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, request.transaction_id)), SECOND)
    response, _ = await asking
    assert response.transaction_id == request.transaction_id


@pytest.mark.parametrize("data", [b"", b"\0", b"\0" * 20, CLIENT_HELLO, b"\x80" * 30])
async def test_what_is_nobodys_is_dropped(mux: Mux, data: bytes) -> None:
    one = viewer_at(mux)
    mux.datagram_received(data, FIRST)
    assert waiting(one) == 0
    assert isinstance(mux.transport, Wire)
    assert mux.transport.sent == []


async def test_the_socket_closes_with_the_last_viewer(mux: Mux) -> None:
    first, second = viewer_at(mux), viewer_at(mux)
    assert isinstance(mux.transport, Wire)
    first.transport.close()
    first.transport.close()
    assert not mux.transport.closed
    first.transport.sendto(b"into nothing", FIRST)
    assert mux.transport.sent == []
    second.transport.close()
    assert mux.transport.closed
    assert second.transport.is_closing()


async def test_a_fragment_that_is_there_already_is_refused(mux: Mux) -> None:
    one = viewer_at(mux)
    with pytest.raises(OfferRejected, match="not bundled"):
        mux.add(FilteredProtocol(one.receiver))
