"""Which packets reach ICE and DTLS: the same for every mode of ``webrtc.udp_ports``, and for what a TURN server relays.

aioice hands whatever comes to a session's socket to DTLS, through a queue without a bound (no ticket found; the kind is
known: sipsorcery #1559, pjproject #4261). Here only these pass:

- STUN requests with the right MESSAGE-INTEGRITY. They also show that the viewer is at their address.
- STUN responses to a request that was sent. With the viewer's MESSAGE-INTEGRITY they show the same.
- DTLS, RTP and RTCP (known by the first byte, RFC 7983) from an address so checked.

All else is dropped and not answered: an error response to a forged address would be a reflection.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aioice import stun
from aioice.ice import Connection, StunProtocol

MAX_ADDRESSES = 64
"""Of one viewer at one socket, as long as it watches: an honest one checks a few, and gets another when it roams."""
MAX_WAITING = 256
"""Packets of one viewer that DTLS has not read yet."""
MAX_PACKETS_PER_S = 500
"""From one viewer, checked or not: an honest one sends reports, NACKs and checks, far below a hundred."""

Address = tuple[str, int]

log = logging.getLogger(__name__)


def is_stun(data: bytes) -> bool:
    """By RFC 7983."""
    return bool(data) and data[0] < 4


def is_media(data: bytes) -> bool:
    """DTLS, RTP or RTCP by RFC 7983."""
    return bool(data) and (20 <= data[0] < 64 or 128 <= data[0] < 192)


class FilteredProtocol(StunProtocol):
    """One socket of one viewer, as aioice sees it. Event loop only; raises nothing, whatever comes."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.fragment = connection.local_username
        self.checked: set[Address] = set()
        """Where ICE has found the viewer. Never more than MAX_ADDRESSES."""
        self.dropped = 0
        """Packets."""
        self.last_packet_at: float | None = None
        """When the last packet of the viewer came, by the loop's clock."""
        self._loop = asyncio.get_running_loop()
        self._fragment_bytes = f"{self.fragment}:".encode()
        self._password = connection.local_password.encode()
        self._second = 0
        self._packets = 0
        """Passed within that second."""

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        assert isinstance(data, bytes)
        self.receive(data, (addr[0], addr[1]))

    def receive(self, data: bytes, remote: Address) -> bool:
        """Passes a packet on, or drops it; returns which."""
        try:
            passed = self._pass_on(data, remote)
        except Exception as error:  # struct.error of aioice's parser (the kind of aioice #79), or what else bytes bring
            log.debug("%s: %r", self, error)
            passed = False
        if passed:
            self.last_packet_at = self._loop.time()
        else:
            self.dropped += 1
        return passed

    def _pass_on(self, data: bytes, remote: Address) -> bool:
        if is_stun(data):
            if not (self._is_legitimate(data, remote) and self._is_within_rate()):
                return False
            super().datagram_received(data, remote)
            return True
        if not (is_media(data) and remote in self.checked and self._has_room() and self._is_within_rate()):
            return False
        self.receiver.data_received(data, self.local_candidate.component)
        return True

    def _is_legitimate(self, data: bytes, remote: Address) -> bool:
        message = stun.parse_message(data)
        if message.message_class is stun.Class.REQUEST:
            return (
                self._fragment_bytes in data
                and message.message_method is stun.Method.BINDING
                and message.attributes.keys() >= {"USERNAME", "PRIORITY"}  # aioice takes the latter for granted
                and message.check_message_integrity(self._password)
                and self._check(remote)
            )
        if message.message_class not in (stun.Class.RESPONSE, stun.Class.ERROR):
            return False
        if message.transaction_id not in self.transactions:
            return False
        password = self.receiver.remote_password
        if password and message.check_message_integrity(password.encode()):
            return self._check(remote)
        return True  # a STUN server signs nothing; what has to be signed, aioice checks again

    def _check(self, remote: Address) -> bool:
        """Notes that the viewer is there; False when it is at too many places already."""
        if remote not in self.checked and len(self.checked) < MAX_ADDRESSES:
            self.checked.add(remote)
        return remote in self.checked

    def _has_room(self) -> bool:
        """Private: see privates.py."""
        queue = getattr(self.receiver, "_queue", None)
        return queue is None or queue.qsize() < MAX_WAITING

    def _is_within_rate(self) -> bool:
        second = int(self._loop.time())
        if second != self._second:
            self._second, self._packets = second, 0
        self._packets += 1
        return self._packets <= MAX_PACKETS_PER_S
