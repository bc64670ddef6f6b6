from __future__ import annotations

import asyncio
from typing import Any

import aioice.ice
import pytest
from aioice import Candidate
from aioice.ice import Connection

from streamd.errors import OfferRejected
from streamd.sinks.webrtc import gather as module
from streamd.sinks.webrtc.filter import FilteredProtocol
from streamd.sinks.webrtc.gather import Gatherer
from streamd.sinks.webrtc.ports import PortRange

LO = ("127.0.0.1",)
STRANGER = ("192.0.2.66", 4000)


def candidate(kind: str) -> Candidate:
    return Candidate("1", 1, "udp", 1, "198.51.100.7", 4444, kind)


async def gathered(gatherer: Gatherer, **servers: Any) -> tuple[list[str], Connection]:
    """The kinds of the candidates."""
    connection = Connection(ice_controlling=False, **servers)
    gatherer.attach(connection)
    await connection.gather_candidates()
    return [each.type for each in connection.local_candidates], connection


async def test_a_filtered_socket_at_each_address() -> None:
    kinds, connection = await gathered(Gatherer(PortRange(), LO))
    (protocol,) = connection._protocols
    assert kinds == ["host"]
    assert isinstance(protocol, FilteredProtocol)
    assert protocol.local_candidate.port == protocol.transport.get_extra_info("sockname")[1]
    await connection.close()
    assert protocol.transport.is_closing()


async def test_what_a_relay_passes_on_is_filtered_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def relayed(*, protocol_factory: Any, **_: Any) -> tuple[Candidate, FilteredProtocol]:
        protocol = protocol_factory()
        protocol.connection_made(asyncio.DatagramTransport())
        protocol.local_candidate = candidate("relay")
        return protocol.local_candidate, protocol

    monkeypatch.setattr(aioice.ice, "relayed_candidate", relayed)
    kinds, connection = await gathered(Gatherer(PortRange(), LO), turn_server=("192.0.2.9", 3478))
    assert kinds == ["host", "relay"]
    relay = connection._protocols.pop()
    relay.datagram_received(b"\x16\xfe\xff" + bytes(60), STRANGER)
    assert connection._queue.qsize() == 0
    assert isinstance(relay, FilteredProtocol)
    assert relay.dropped == 1
    await connection.close()


async def test_servers_that_fail_or_are_silent_cost_a_candidate_each(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(*_: Any) -> Any:
        await asyncio.Event().wait()

    async def refused(**_: Any) -> Any:
        raise ConnectionRefusedError

    monkeypatch.setattr(module, "GATHER_S", 0.01)
    monkeypatch.setattr(aioice.ice, "server_reflexive_candidate", silent)
    monkeypatch.setattr(aioice.ice, "relayed_candidate", refused)
    servers = {"stun_server": ("192.0.2.9", 3478), "turn_server": ("192.0.2.9", 3478)}
    kinds, connection = await gathered(Gatherer(PortRange(), LO), **servers)
    assert kinds == ["host"]
    await connection.close()


async def test_an_address_without_a_port_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "host_addresses", lambda *_, **__: ["192.0.2.250", "127.0.0.1"])
    kinds, connection = await gathered(Gatherer(PortRange()))
    assert kinds == ["host"]
    await connection.close()


async def test_a_refusal_comes_through() -> None:
    class NoPorts:
        async def open(self, connection: Connection, address: str) -> FilteredProtocol:
            raise OfferRejected("bad_offer", "not bundled")

    with pytest.raises(OfferRejected):
        await gathered(Gatherer(NoPorts(), LO))
