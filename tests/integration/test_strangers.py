"""Who is no viewer, and viewers who mean harm, at the UDP ports of a session, in every mode of ``webrtc.udp_ports``."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from aioice import stun
from OpenSSL import SSL

from streamd.sinks.webrtc.filter import MAX_ADDRESSES, MAX_WAITING
from streamd.sinks.webrtc.ice import Connectivity
from tests.support.ports import free_ports
from tests.support.webrtc_peers import MakePair, Pair, connectivity_of, pairs

pytestmark = pytest.mark.timeout(60)

MODES = ["auto", "range", "single"]
FLOOD_PACKETS = 3000


@pytest.fixture(params=MODES)
def connectivity(request: pytest.FixtureRequest) -> Connectivity:
    return connectivity_of({"auto": None, "range": free_ports(4), "single": free_ports(1)}[request.param])


@pytest.fixture
async def pair() -> AsyncIterator[MakePair]:
    async with pairs() as make:
        yield make


def client_hello() -> bytes:
    """A true one, as DTLS clients begin with."""
    connection = SSL.Connection(SSL.Context(SSL.DTLS_METHOD))
    connection.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(2000)


def check(username: str, password: str | None, **attributes: object) -> bytes:
    """A request for a binding, signed if there is a password."""
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    request.attributes.update({"USERNAME": username, "PRIORITY": 1, "ICE-CONTROLLING": 1, **attributes})
    if password is not None:
        request.add_message_integrity(password.encode())
    return bytes(request)


def attribute(kind: int, value: bytes, length: int | None = None) -> bytes:
    return struct.pack("!HH", kind, len(value) if length is None else length) + value


def malformed_stun(chance: random.Random) -> Iterator[bytes]:
    """Attributes that are too short or too long for what they are, in every class of message."""
    for message_type in (0x0001, 0x0101, 0x0111, 0x0011, 0x0003, 0x3FFF):
        for kind in stun.ATTRIBUTES_BY_TYPE:
            for length in (0, 1, 3, 5, 65535):
                body = attribute(kind, chance.randbytes(8), length)
                yield struct.pack("!HHI12s", message_type, len(body), stun.COOKIE, chance.randbytes(12)) + body
    yield b"\0" * 20
    yield b"\1" * 19


def hostile(fragment: str, count: int = FLOOD_PACKETS) -> list[bytes]:
    """What somebody may send who knows the fragment, which SDP shows, but not the password."""
    chance = random.Random(count)
    hello = client_hello()
    rtp = struct.pack("!BBHLL", 0x80, 96, 1, 2, 3) + bytes(100)
    padded = struct.pack("!BBHLL", 0xA0, 96, 1, 2, 3) + b"\xff"
    nack = struct.pack("!BBHLLHH", 0x81, 205, 3, 1, 2, 3, 0xFFFF)
    alert = b"\x15\xfe\xfd" + bytes(8) + struct.pack("!HBB", 2, 2, 40)
    fixed = [b"", b"\0", b"\xff" * 1400, hello, rtp, padded, nack, alert, *malformed_stun(chance)]
    fixed += [check(f"{fragment}:abcd", None), check(f"{fragment}:abcd", "x" * 22), check("nobo:dy", "x" * 22)]
    valid = check(f"{fragment}:abcd", "x" * 22)
    fixed += [valid[:at] + bytes([valid[at] ^ 255]) + valid[at + 1 :] for at in range(len(valid))]
    return fixed + [chance.choice((hello, rtp, nack, chance.randbytes(40))) for _ in range(count - len(fixed))]


class Stranger:
    """A socket of somebody else."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def sends(self, packets: list[bytes], places: set[tuple[str, int]]) -> None:
        for number, packet in enumerate(packets):
            for place in places:
                try:
                    self._sock.sendto(packet, place)
                except BlockingIOError:
                    pass
            if number % 50 == 0:
                await asyncio.sleep(0.002)  # the receiver's turn
        await asyncio.sleep(0.05)

    def hears_nothing(self) -> None:
        with pytest.raises(BlockingIOError):
            self._sock.recv(2000)


@contextmanager
def stranger() -> Iterator[Stranger]:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        yield Stranger(sock)


@asynccontextmanager
async def calm_loop() -> AsyncIterator[None]:
    """Nothing that a stranger sends is an error of ours."""
    loop = asyncio.get_running_loop()
    errors: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    yield
    assert errors == []
    loop.set_exception_handler(None)


@pytest.mark.parametrize("setup", ["actpass", "active"], ids=["we-are-client", "we-are-server"])
async def test_strangers_get_no_answer_and_change_nothing(
    connectivity: Connectivity, pair: MakePair, setup: str
) -> None:
    one = pair(connectivity)
    await one.get_answer(lambda offer: offer.replace("a=setup:actpass", f"a=setup:{setup}"))
    packets = hostile(one.connection.local_username)
    with stranger() as somebody:
        async with calm_loop():
            await somebody.sends(packets, one.places)  # before ICE
            assert waiting(one) == 0
            flood = asyncio.create_task(somebody.sends(packets, one.places))
            await one.take_answer()  # during ICE and DTLS
            await one.talks()
            await flood
            await somebody.sends(packets, one.places)  # after
            await one.talks()
        somebody.hears_nothing()
    assert waiting(one) == 0
    assert {address for each in one.filters for address in each.checked} <= viewer_addresses(one)


def waiting(one: Pair) -> int:
    """Packets that DTLS has yet to read."""
    return one.connection._queue.qsize()


def viewer_addresses(one: Pair) -> set[tuple[str, int]]:
    return {(ip, int(port)) for ip, port in re.findall(r"udp \d+ (\S+) (\d+)", one.viewer.localDescription.sdp)}


async def test_a_stranger_who_knows_where_the_viewer_is_cannot_take_its_place(
    connectivity: Connectivity, pair: MakePair
) -> None:
    """Two viewers: neither gets in as the other, though both know a password."""
    first, second = [await pair(connectivity).join() for _ in range(2)]
    await asyncio.gather(first.talks(), second.talks())
    with stranger() as somebody:
        forged = check(f"{first.connection.local_username}:abcd", second.connection.local_password)
        await somebody.sends([forged, client_hello()] * 20, first.places | second.places)
        somebody.hears_nothing()
    await asyncio.gather(first.talks(), second.talks())


async def test_a_viewer_who_floods_harms_nobody(connectivity: Connectivity, pair: MakePair) -> None:
    """It knows the password: its packets pass, but no more wait than are allowed, from no more addresses."""
    bad, good = [await pair(connectivity).get_answer() for _ in range(2)]
    await good.take_answer()
    fragment, password = bad.connection.local_username, bad.connection.local_password
    async with calm_loop():
        with stranger() as somebody:
            await somebody.sends([check(f"{fragment}:abcd", password)], bad.places)
            await somebody.sends([client_hello()] * 2000, bad.places)
        assert 0 < waiting(bad) <= MAX_WAITING
        for _ in range(2 * MAX_ADDRESSES):
            with stranger() as somebody:
                await somebody.sends([check(f"{fragment}:abcd", password)], bad.places)
        assert all(len(each.checked) <= MAX_ADDRESSES for each in bad.filters)
        await good.talks()


async def test_a_signed_check_without_its_attributes_is_dropped(connectivity: Connectivity, pair: MakePair) -> None:
    one = await pair(connectivity).get_answer()
    bare = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    bare.attributes["USERNAME"] = f"{one.connection.local_username}:abcd"
    bare.add_message_integrity(one.connection.local_password.encode())
    async with calm_loop():
        with stranger() as somebody:
            await somebody.sends([bytes(bare)], one.places)
            somebody.hears_nothing()
        await one.take_answer()
        await one.talks()
