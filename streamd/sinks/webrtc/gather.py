"""Gathers the candidates of a viewer's ICE connection.

aioice binds any port of every address, waits 5 s for servers that are silent, and lets everybody's packets in; it has
an option for none of it (aioice #47, #57 and #112). So a connection of ours, and no other in the process, has its
``get_component_candidates`` replaced by this.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import aioice.ice
from aioice import Candidate, stun
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import Connection

from streamd.sinks.webrtc.addresses import host_addresses
from streamd.sinks.webrtc.filter import FilteredProtocol
from streamd.sinks.webrtc.ports import Ports

GATHER_S = 2.0
"""For STUN and TURN servers to answer: four round trips over TLS to the other side of the world."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gatherer:
    """Where the candidates of viewers come from. Event loop only."""

    ports: Ports
    interfaces: Sequence[str] = ()
    loopback: bool = False

    def attach(self, connection: Connection) -> None:
        """Before it gathers."""
        connection.get_component_candidates = partial(self._gather, connection)  # type: ignore[method-assign]

    async def _gather(self, connection: Connection, component: int, *_: Any, **__: Any) -> list[Candidate]:
        """OfferRejected comes through from mux.py."""
        sockets = []
        for address in host_addresses(self.interfaces, loopback=self.loopback):
            try:
                sockets.append(await self._open(connection, component, address))
            except OSError as error:
                log.info("no socket at %s for a viewer: %s", address, error)
        asked = [_relayed(connection, component)] if connection.turn_server else []
        if connection.stun_server:
            asked += [_reflexive(protocol, connection.stun_server) for protocol in sockets if _is_ipv4(protocol)]
        found = await asyncio.gather(*map(_in_time, asked))
        return [protocol.local_candidate for protocol in sockets] + [each for each in found if each]

    async def _open(self, connection: Connection, component: int, address: str) -> FilteredProtocol:
        protocol = await self.ports.open(connection, address)
        connection._protocols.append(protocol)  # it closes what is there
        host, port = protocol.transport.get_extra_info("sockname")[:2]
        foundation, priority = candidate_foundation("host", "udp", host), candidate_priority(component, "host")
        protocol.local_candidate = Candidate(foundation, component, "udp", priority, host, port, "host")
        return protocol


def _is_ipv4(protocol: FilteredProtocol) -> bool:
    return ipaddress.ip_address(protocol.local_candidate.host).version == 4


async def _reflexive(protocol: FilteredProtocol, server: tuple[str, int]) -> Candidate:
    candidate, _ = await aioice.ice.server_reflexive_candidate(protocol, server)
    return candidate


async def _relayed(connection: Connection, component: int) -> Candidate:
    assert connection.turn_server is not None
    candidate, protocol = await aioice.ice.relayed_candidate(
        component=component,
        hide_related_address=False,
        protocol_factory=lambda: FilteredProtocol(connection),
        turn_server=connection.turn_server,
        turn_username=connection.turn_username,
        turn_password=connection.turn_password,
        turn_ssl=connection.turn_ssl,
        turn_transport=connection.turn_transport,
    )
    connection._protocols.append(protocol)
    return candidate


async def _in_time(asked: Awaitable[Candidate]) -> Candidate | None:
    """None when the server does not answer, or not as it should."""
    try:
        async with asyncio.timeout(GATHER_S):
            return await asked
    except (OSError, LookupError, ValueError, stun.TransactionError) as error:
        log.debug("no candidate from a server: %r", error)
        return None
