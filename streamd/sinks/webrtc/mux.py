"""One UDP port for all viewers: the easiest to open in a firewall or container.

One socket per address of this box, and a ``MuxedTransport`` on it for each ICE connection, which aioice takes for a
transport of its own. A packet finds its viewer as RFC 7983 and RFC 8445 have it:

- STUN requests by USERNAME, which begins with our fragment (RFC 8445, 7.2.2).
- STUN responses by the transaction that asked.
- all else by the address, once the viewer's filter has checked it.

What is nobody's is dropped. SO_REUSEPORT with a connected socket per viewer would leave the last part to the kernel,
but packets between bind and connect go astray, a viewer has several addresses while it checks, and any process of the
same user could join in; a look-up in a dict costs less than 1 us.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from aioice import stun
from aioice.ice import Connection

from streamd.errors import OfferRejected
from streamd.sinks.webrtc.filter import Address, FilteredProtocol, is_stun
from streamd.sinks.webrtc.ports import bind


class SinglePort:
    """One port for all. Its sockets are open while somebody uses them. Event loop only."""

    def __init__(self, port: int) -> None:
        self._ports = range(port, port + 1)
        self._muxes: dict[str, Mux] = {}
        self._opening = asyncio.Lock()

    async def open(self, connection: Connection, address: str) -> FilteredProtocol:
        """Raises OSError, and OfferRejected for a viewer that wants several ports of this address."""
        async with self._opening:
            mux = self._muxes.get(address)
            if mux is None or mux.closing:
                mux = self._muxes[address] = await self._opened(address, mux)
            return mux.add(FilteredProtocol(connection))

    async def _opened(self, address: str, before: Mux | None) -> Mux:
        if before is not None:
            await before.closed.wait()  # its socket holds the port until then
        self._muxes = {address: mux for address, mux in self._muxes.items() if not mux.closed.is_set()}
        sock = bind(address, self._ports)
        try:
            _, mux = await asyncio.get_running_loop().create_datagram_endpoint(Mux, sock=sock)
        except BaseException:
            sock.close()
            raise
        return mux


class Mux(asyncio.DatagramProtocol):
    """One socket with many viewers. Closes itself with the last."""

    def __init__(self) -> None:
        self.transport: asyncio.DatagramTransport | None = None
        self.closing = False
        self.closed = asyncio.Event()
        self._viewers: dict[str, MuxedTransport] = {}
        """By our fragment."""
        self._routes: dict[Address, MuxedTransport] = {}
        """By the viewer's address."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        for viewer in tuple(self._viewers.values()):
            viewer.close()
        self.closed.set()

    def add(self, protocol: FilteredProtocol) -> FilteredProtocol:
        """Gives it a transport. Raises OfferRejected when its fragment has one already."""
        if protocol.fragment in self._viewers:  # sections of one offer share it; WHEP's are bundled
            raise OfferRejected("bad_offer", "sections that are not bundled: webrtc.udp_ports has one port for all")
        viewer = self._viewers[protocol.fragment] = MuxedTransport(self, protocol)
        protocol.connection_made(viewer)
        return protocol

    def remove(self, viewer: MuxedTransport) -> None:
        del self._viewers[viewer.protocol.fragment]
        self._routes = {remote: other for remote, other in self._routes.items() if other is not viewer}
        if not self._viewers and not self.closing:
            self.closing = True
            assert self.transport is not None
            self.transport.close()

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        remote = addr[0], addr[1]
        viewer = self._viewer_of_stun(data, remote) if is_stun(data) else self._routes.get(remote)
        if viewer is None or not viewer.protocol.receive(data, remote):
            return
        if remote in viewer.protocol.checked:
            self._routes[remote] = viewer  # and no other viewer's any more: a NAT reuses ports

    def _viewer_of_stun(self, data: bytes, remote: Address) -> MuxedTransport | None:
        try:
            message = stun.parse_message(data)
        except Exception:  # ValueError, struct.error: a stranger's bytes may raise anything in the parser
            return None
        if message.message_class is stun.Class.REQUEST:
            return self._viewers.get(str(message.attributes.get("USERNAME")).partition(":")[0])
        asked = message.transaction_id
        return next((viewer for viewer in self._viewers.values() if asked in viewer.protocol.transactions), None)


class MuxedTransport(asyncio.DatagramTransport):
    """What one viewer's protocol sees of the socket."""

    def __init__(self, mux: Mux, protocol: FilteredProtocol) -> None:
        super().__init__()
        self.protocol = protocol
        self._mux = mux
        self._closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        assert self._mux.transport is not None
        return self._mux.transport.get_extra_info(name, default)

    def sendto(self, data: Any, addr: Any = None) -> None:
        if not self._closed and not self._mux.closing and self._mux.transport is not None:
            self._mux.transport.sendto(data, addr)

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Safe to repeat."""
        if not self._closed:
            self._closed = True
            self._mux.remove(self)
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close
