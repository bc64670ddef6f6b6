from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest
from aioice import stun
from aioice.candidate import Candidate
from aioice.ice import Connection
from hypothesis import given
from hypothesis import strategies as st

from streamd.sinks.webrtc import filter as module
from streamd.sinks.webrtc.filter import MAX_ADDRESSES, MAX_PACKETS_PER_S, MAX_WAITING, FilteredProtocol

VIEWER, STRANGER = ("192.0.2.7", 5000), ("192.0.2.66", 5000)
CLIENT_HELLO = b"\x16\xfe\xff" + bytes(60)
RTCP = b"\x80\xc9" + bytes(20)
VIEWERS_PASSWORD = "y" * 22


class Wire(asyncio.DatagramTransport):
    """What a protocol sends."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[stun.Message, Any]] = []

    def sendto(self, data: Any, addr: Any = None) -> None:
        self.sent.append((stun.parse_message(data), addr))


class Socket:
    """One that is open, before the viewer comes."""

    def __init__(self) -> None:
        self.connection = Connection(ice_controlling=False)
        self.wire = Wire()
        self.protocol = FilteredProtocol(self.connection)
        self.protocol.connection_made(self.wire)
        self.protocol.local_candidate = Candidate("1", 1, "udp", 1, "192.0.2.1", 4000, "host")

    @property
    def waiting(self) -> int:
        return self.connection._queue.qsize()

    def check(self, password: str | None = None, username: str | None = None, **changes: Any) -> bytes:
        """A viewer's request; the right one unless an argument changes it."""
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        request.attributes["USERNAME"] = username or f"{self.connection.local_username}:abcd"
        request.attributes["PRIORITY"] = 1
        for name, value in changes.items():
            if value is None:
                del request.attributes[name]
            else:
                request.attributes[name] = value
        request.add_message_integrity((password or self.connection.local_password).encode())
        return bytes(request)


@pytest.fixture
async def here() -> Socket:
    return Socket()


async def test_a_viewer_is_let_in_by_its_check(here: Socket) -> None:
    assert not here.protocol.receive(CLIENT_HELLO, VIEWER)
    assert here.protocol.receive(here.check(), VIEWER)
    ((answer, to),) = here.wire.sent
    assert (answer.message_class, to) == (stun.Class.RESPONSE, VIEWER)
    assert here.protocol.receive(CLIENT_HELLO, VIEWER)
    assert here.protocol.receive(RTCP, VIEWER)
    assert here.waiting == 2
    assert here.protocol.checked == {VIEWER}


@pytest.mark.parametrize("data", [CLIENT_HELLO, RTCP, b"", b"\x40\x00\x00\x00", b"\0" * 20, b"\xff" * 40])
async def test_a_stranger_is_not_even_at_another_port_of_the_viewer(here: Socket, data: bytes) -> None:
    here.protocol.receive(here.check(), VIEWER)
    before = len(here.wire.sent)
    for remote in (STRANGER, (VIEWER[0], VIEWER[1] + 1)):
        assert not here.protocol.receive(data, remote)
    assert (here.waiting, len(here.wire.sent)) == (0, before)
    assert here.protocol.dropped == 2


@pytest.mark.parametrize("data", [b"", b"\x40\x00\x00\x00", b"\xff" * 40, b"\x10" * 40])
async def test_what_is_neither_dtls_nor_rtp_is_dropped_from_a_viewer_too(here: Socket, data: bytes) -> None:
    """An empty datagram ends aiortc's transport (IndexError)."""
    here.protocol.receive(here.check(), VIEWER)
    assert not here.protocol.receive(data, VIEWER)
    assert here.waiting == 0


async def test_requests_that_are_not_a_viewers_get_no_answer(here: Socket) -> None:
    unsigned = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    unsigned.attributes["USERNAME"] = f"{here.connection.local_username}:abcd"
    allocate = stun.Message(stun.Method.ALLOCATE, stun.Class.REQUEST, attributes=dict(unsigned.attributes))
    allocate.add_message_integrity(here.connection.local_password.encode())
    indication = stun.Message(stun.Method.BINDING, stun.Class.INDICATION)
    for data in (
        here.check(password="x" * 22),
        here.check(username="nobo:dy"),
        here.check(PRIORITY=None),
        here.check()[:-1],
        bytes(unsigned),
        bytes(allocate),
        bytes(indication),
    ):
        assert not here.protocol.receive(data, STRANGER)
    assert here.wire.sent == []
    assert here.protocol.checked == set()
    assert here.connection._early_checks == type(here.connection._early_checks)()


async def test_responses_pass_only_to_what_was_asked(here: Socket) -> None:
    here.connection.remote_password = VIEWERS_PASSWORD
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    asking = asyncio.create_task(here.protocol.request(request, VIEWER, VIEWERS_PASSWORD.encode()))
    await asyncio.sleep(0)
    answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, request.transaction_id)
    stray = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE)
    stray.add_message_integrity(VIEWERS_PASSWORD.encode())
    assert not here.protocol.receive(bytes(stray), STRANGER)
    assert here.protocol.receive(bytes(answer), STRANGER), "unsigned: aioice looks at it"
    assert not asking.done()
    assert here.protocol.checked == set(), "and it shows nothing"
    answer.add_message_integrity(VIEWERS_PASSWORD.encode())
    assert here.protocol.receive(bytes(answer), VIEWER)
    await asking
    assert here.protocol.checked == {VIEWER}, "as of ICE Lite, which never asks by itself"


async def test_addresses_of_a_viewer_are_bounded(here: Socket) -> None:
    for port in range(1, 3 * MAX_ADDRESSES):
        here.protocol.receive(here.check(), (VIEWER[0], port))
    assert len(here.protocol.checked) == len(here.wire.sent) == MAX_ADDRESSES
    assert here.protocol.receive(here.check(), (VIEWER[0], 1)), "the known ones go on"


async def test_what_waits_is_bounded(here: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PACKETS_PER_S", 10 * MAX_WAITING)
    here.protocol.receive(here.check(), VIEWER)
    passed = sum(here.protocol.receive(CLIENT_HELLO, VIEWER) for _ in range(3 * MAX_WAITING))
    assert passed == here.waiting == MAX_WAITING
    here.connection._queue.get_nowait()
    assert here.protocol.receive(CLIENT_HELLO, VIEWER)


async def test_the_rate_of_a_viewer_is_bounded(here: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.5]
    monkeypatch.setattr(here.protocol._loop, "time", lambda: now[0])
    passed = sum(here.protocol.receive(here.check(), VIEWER) for _ in range(2 * MAX_PACKETS_PER_S))
    assert passed == MAX_PACKETS_PER_S
    now[0] += 1
    assert here.protocol.receive(here.check(), VIEWER)


async def test_a_stranger_does_not_use_up_the_viewers_rate(here: Socket) -> None:
    for _ in range(2 * MAX_PACKETS_PER_S):
        here.protocol.receive(here.check(password="x" * 22), VIEWER)
    assert here.protocol.receive(here.check(), VIEWER)


async def test_the_time_of_the_last_packet_of_the_viewer(here: Socket) -> None:
    assert here.protocol.last_packet_at is None
    here.protocol.receive(CLIENT_HELLO, VIEWER)
    assert here.protocol.last_packet_at is None
    here.protocol.receive(here.check(), VIEWER)
    assert here.protocol.last_packet_at is not None


ATTRIBUTES = st.lists(
    st.tuples(st.sampled_from(sorted(stun.ATTRIBUTES_BY_TYPE)), st.binary(max_size=24), st.integers(0, 40)), max_size=4
)


@given(first=st.integers(0, 3), second=st.integers(0, 255), attributes=ATTRIBUTES, rest=st.binary(max_size=40))
def test_no_bytes_raise_or_get_an_answer(
    first: int, second: int, attributes: list[tuple[int, bytes, int]], rest: bytes
) -> None:
    body = b"".join(struct.pack("!HH", kind, length) + value for kind, value, length in attributes)
    message = struct.pack("!BBHI12s", first, second, len(body), stun.COOKIE, b"x" * 12) + body

    async def received() -> None:
        here = Socket()
        here.protocol.receive(here.check(), VIEWER)
        for data in (message, rest):
            assert not here.protocol.receive(data, STRANGER)
            here.protocol.receive(data, VIEWER)
        assert {to for _, to in here.wire.sent} == {VIEWER}

    asyncio.run(received())
