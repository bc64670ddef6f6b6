"""One UDP port for all viewers: what every firewall and container can be told.

One socket per address, and a seat at it for each ICE connection, which aioice takes for a transport of its
own. A packet finds its seat as RFC 7983 and RFC 8445 have it:

- STUN requests by USERNAME, which begins with our fragment (section 7.2.2 of RFC 8445), and only with the right
  MESSAGE-INTEGRITY. That also teaches where the viewer is, so a stranger who knows neither can move nothing.
- STUN answers by the transaction that asked.
- all else, DTLS and SRTCP, by the address that a request taught.

Whatever finds no seat is dropped and not answered. SO_REUSEPORT with a connected socket per viewer would leave
the last part to the kernel, but packets between bind and connect go astray, a viewer has several addresses
while it checks, and any process of the same user could join in; a look into a dict costs less than 1 us.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any, cast

import aioice.ice
from aioice import stun

from streamd.errors import OfferRejected
from streamd.sinks.webrtc.ports import Create, Endpoint, Factory, bind, complain

MAX_REMOTES = 32
"""Addresses known of one viewer; that which was heard longest ago goes first."""
Address = tuple[str, int]


class SinglePort:
    """One port for all. Its sockets are open while somebody uses them. Event loop only."""

    def __init__(self, port: int) -> None:
        self._ports = range(port, port + 1)
        self._muxes: dict[str, Mux] = {}
        self._opening = asyncio.Lock()

    async def open(self, create: Create, factory: Factory, address: str) -> Endpoint:
        """Raises OSError, and OfferRejected for a viewer that wants several ports of this address."""
        protocol = cast(aioice.ice.StunProtocol, factory())
        if not (hasattr(protocol, "transactions") and hasattr(getattr(protocol, "receiver", None), "local_username")):
            complain("aioice has changed: webrtc.udp_ports cannot be one port")
            return await create(factory, local_addr=(address, 0))
        async with self._opening:
            mux = self._muxes.get(address)
            if mux is None or mux.closing:
                mux = self._muxes[address] = await self._opened(create, address, mux)
            return mux.seat(protocol), protocol

    async def _opened(self, create: Create, address: str, before: Mux | None) -> Mux:
        if before is not None:
            await before.closed.wait()  # its socket holds the port until then
        self._muxes = {address: mux for address, mux in self._muxes.items() if not mux.closed.is_set()}
        sock = bind(address, self._ports)
        try:
            _, mux = await create(Mux, sock=sock)
        except BaseException:
            sock.close()
            raise
        return cast(Mux, mux)


class Mux(asyncio.DatagramProtocol):
    """One socket with many seats. Closes itself with the last."""

    transport: asyncio.DatagramTransport

    def __init__(self) -> None:
        self.closing = False
        self.closed = asyncio.Event()
        self._seats: dict[str, Seat] = {}
        """By our fragment."""
        self._routes: dict[Address, Seat] = {}
        """By the viewer's address."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        for seat in tuple(self._seats.values()):
            seat.close()
        self.closed.set()

    def seat(self, protocol: aioice.ice.StunProtocol) -> Seat:
        """A transport for one connection. Raises OfferRejected when its fragment has one already."""
        fragment = protocol.receiver.local_username
        if fragment in self._seats:  # sections of one offer share it; WHEP's are bundled
            raise OfferRejected("bad_offer", "sections that are not bundled: webrtc.udp_ports has one port for all")
        seat = self._seats[fragment] = Seat(self, fragment, protocol)
        protocol.connection_made(seat)
        return seat

    def leave(self, seat: Seat) -> None:
        del self._seats[seat.fragment]
        for remote in seat.remotes:
            del self._routes[remote]
        if not self._seats and not self.closing:
            self.closing = True
            self.transport.close()

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        remote = addr[0], addr[1]
        seat = self._of_stun(data, remote) if data and data[0] < 4 else self._routes.get(remote)
        if seat is not None:
            seat.protocol.datagram_received(data, remote)

    def _of_stun(self, data: bytes, remote: Address) -> Seat | None:
        try:
            message = stun.parse_message(data)
        except Exception:  # whatever a stranger's bytes make of a parser
            return None
        if message.message_class is stun.Class.REQUEST:
            seat = self._seats.get(str(message.attributes.get("USERNAME")).partition(":")[0])
            if seat is None or not message.check_message_integrity(seat.password):
                return None
            self._learn(remote, seat)
            return seat
        asked = message.transaction_id
        first = self._routes.get(remote)
        if first is not None and asked in first.protocol.transactions:
            return first
        return next((seat for seat in self._seats.values() if asked in seat.protocol.transactions), None)

    def _learn(self, remote: Address, seat: Seat) -> None:
        """This viewer is at this address, and nobody else any more: a NAT gives ports out again."""
        before = self._routes.get(remote)
        if before is not None and before is not seat:
            del before.remotes[remote]
        self._routes[remote] = seat
        seat.remotes[remote] = None
        seat.remotes.move_to_end(remote)
        if len(seat.remotes) > MAX_REMOTES:
            del self._routes[seat.remotes.popitem(last=False)[0]]


class Seat(asyncio.DatagramTransport):
    """What one StunProtocol sees of the socket."""

    def __init__(self, mux: Mux, fragment: str, protocol: aioice.ice.StunProtocol) -> None:
        super().__init__()
        self.fragment, self.protocol = fragment, protocol
        self.password: bytes = protocol.receiver.local_password.encode()
        self.remotes: OrderedDict[Address, None] = OrderedDict()
        self._mux = mux
        self._closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._mux.transport.get_extra_info(name, default)

    def sendto(self, data: Any, addr: Any = None) -> None:
        if not self._closed and not self._mux.closing:
            self._mux.transport.sendto(data, addr)

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Safe to repeat."""
        if not self._closed:
            self._closed = True
            self._mux.leave(self)
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close
