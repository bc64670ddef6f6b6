"""How viewers reach the box: real aiortc peers through fixed ports, advertised addresses, filters, IPv6 and TURN.

The side of streamd is a peer that gathers as a session does; a data channel tells whether each viewer talks to
its own peer, over ICE and DTLS.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aioice.ice
import pytest
from aioice import stun
from aiortc import RTCConfiguration, RTCPeerConnection

from streamd.config.sections import IceServer, WebRtcConfig
from streamd.errors import OfferRejected, ViewersFull
from streamd.media.encode import LiveEncoder
from streamd.sinks.webrtc import gather, mux, ports, probe
from streamd.sinks.webrtc.closing import close_peer
from streamd.sinks.webrtc.ice import Connectivity
from streamd.sinks.webrtc.mux import SinglePort
from streamd.sinks.webrtc.ports import NoPort
from streamd.web.errors import response_for
from tests.support.ports import free_ports
from tests.support.waiting import until_async, wait_for
from tests.support.webrtc_peers import MakePair, Pair, connectivity_of, pairs

pytestmark = pytest.mark.timeout(40)

LO = ("127.0.0.1",)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture
async def pair() -> AsyncIterator[MakePair]:
    async with pairs() as make:
        yield make


def muxes(connectivity: Connectivity) -> dict[str, mux.Mux]:
    assert isinstance(connectivity.gatherer.ports, SinglePort)
    return connectivity.gatherer.ports._muxes


async def test_any_port_without_settings(pair: MakePair) -> None:
    one = await pair(connectivity_of()).join()
    assert {ip for ip, _ in one.places} == {"127.0.0.1"}
    await one.talks()


async def test_each_viewer_has_a_port_of_the_range(pair: MakePair) -> None:
    wanted = free_ports(3)
    connectivity = connectivity_of(wanted)
    pairs = await asyncio.gather(*(pair(connectivity).join() for _ in range(3)))
    assert sorted(port for one in pairs for _, port in one.places) == list(wanted)
    await asyncio.gather(*(one.talks() for one in pairs))
    taken = {candidate.port for one in pairs for candidate in local_candidates(one.viewer)}
    assert not taken & set(wanted), "the other peers of this process have ports of their own"


def local_candidates(peer: RTCPeerConnection) -> list[Any]:
    assert peer.sctp is not None
    return peer.sctp.transport.transport.iceGatherer.getLocalCandidates()


async def test_a_range_that_is_exhausted(pair: MakePair) -> None:
    wanted = free_ports(2)
    connectivity = connectivity_of(wanted)
    first, second = [await pair(connectivity).join() for _ in range(2)]
    with pytest.raises(
        NoPort, match=rf"all UDP ports of webrtc.udp_ports \({wanted[0]}-{wanted[1]}\) are taken"
    ) as none:
        await pair(connectivity).join()
    response = response_for(none.value)
    assert (response.status, response.headers["Retry-After"]) == (503, "5")
    assert isinstance(none.value, ViewersFull)
    await first.close()
    await (await pair(connectivity).join()).talks()
    await second.talks()


async def test_a_single_port_that_another_program_holds(pair: MakePair) -> None:
    wanted = free_ports(1)
    with ports.bind("127.0.0.1", wanted), pytest.raises(NoPort, match=f"UDP port {wanted[0]} .* cannot be opened"):
        await pair(connectivity_of(wanted)).join()


async def test_no_socket_at_all(pair: MakePair) -> None:
    connectivity = connectivity_of()
    with pytest.raises(NoPort, match="no UDP socket"):
        connectivity.answer("v=0\r\nm=video 9 X 0\r\n")


async def test_one_port_for_three_viewers_at_once(pair: MakePair) -> None:
    wanted = free_ports(1)
    connectivity = connectivity_of(wanted)
    pairs = await asyncio.gather(*(pair(connectivity).join() for _ in range(3)))
    assert {place for one in pairs for place in one.places} == {("127.0.0.1", wanted[0])}
    await asyncio.gather(*(one.talks() for one in pairs))
    one = muxes(connectivity)["127.0.0.1"]
    assert len(one._viewers) == 3
    await pairs[0].close()
    assert len(one._viewers) == 2
    assert set(one._routes.values()) == set(one._viewers.values())
    await asyncio.gather(*(each.talks() for each in pairs[1:]))


async def test_the_port_is_free_when_the_last_has_gone_and_taken_again_at_once(pair: MakePair) -> None:
    wanted = free_ports(1)
    connectivity = connectivity_of(wanted)
    for _ in range(3):  # the next comes while the socket of the last is still closing
        one = await pair(connectivity).join()
        await one.talks()
        closing, following = asyncio.create_task(one.close()), pair(connectivity)
        await following.join()
        await following.talks()
        await closing
        await close_peer(following.server)
    await wait_for(muxes(connectivity)["127.0.0.1"].closed.wait(), 2)
    ports.bind("127.0.0.1", wanted).close()
    assert len(muxes(connectivity)) == 1


async def test_a_port_whose_socket_is_about_to_close_is_waited_for() -> None:
    single = SinglePort(free_ports(1)[0])

    async def opened() -> asyncio.DatagramTransport:
        protocol = await single.open(aioice.ice.Connection(ice_controlling=False), "127.0.0.1")
        return protocol.transport

    first = await opened()
    first.close()
    second = await opened()  # asyncio closes the first's socket in the loop's next turn
    assert first.is_closing()
    assert not second.is_closing()
    second.close()
    first.sendto(b"into nothing", ("127.0.0.1", 9))
    await single._muxes["127.0.0.1"].closed.wait()


async def test_twenty_come_and_go_on_one_port(pair: MakePair) -> None:
    wanted = free_ports(1)
    connectivity = connectivity_of(wanted)
    stays = await pair(connectivity).join()
    await stays.talks()
    files = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        two = [Pair(connectivity) for _ in range(2)]
        await asyncio.gather(*(one.join() for one in two))
        await asyncio.gather(*(one.talks() for one in two))
        await asyncio.gather(*(one.close() for one in two))
    (one,) = muxes(connectivity).values()
    assert len(one._viewers) == 1
    assert len(one._routes) <= 2
    await until_async("no descriptor is left", lambda: done(len(os.listdir("/proc/self/fd")) <= files), within_s=2)
    await stays.talks()


async def done(value: bool) -> bool:
    return value


def check(fragment: str, password: str) -> bytes:
    """A viewer's request (RFC 8445, 7.2.2)."""
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    request.attributes["USERNAME"] = f"{fragment}:abcd"
    request.attributes["PRIORITY"] = 1
    request.attributes["ICE-CONTROLLING"] = 1
    request.add_message_integrity(password.encode())
    return bytes(request)


async def test_strangers_change_nothing_and_get_no_answer(pair: MakePair) -> None:
    wanted = free_ports(1)
    connectivity = connectivity_of(wanted)
    watching = await pair(connectivity).join()
    await watching.talks()
    (one,) = muxes(connectivity).values()
    (fragment,) = one._viewers
    routes, chance = dict(one._routes), random.Random(4)
    with socket.socket(type=socket.SOCK_DGRAM) as stranger:
        stranger.setblocking(False)
        valid = check(fragment, "x" * 22)
        packets = [
            valid,
            check("nobo", "x" * 22),
            valid[:-8],
            b"",
            b"\x80" * 30,
            b"\x16\xfe\xfd" + bytes(40),
            b"\0" * 20,
        ]
        packets += [chance.randbytes(chance.randrange(60)) for _ in range(200)]
        packets += [bytes([chance.randrange(4)]) + chance.randbytes(60) for _ in range(200)]
        packets += [valid[:at] + bytes([valid[at] ^ 255]) + valid[at + 1 :] for at in range(len(valid))]
        for packet in packets:
            stranger.sendto(packet, ("127.0.0.1", wanted[0]))
        await watching.talks()  # what came before on the same socket has been dealt with
        assert one._routes == routes
        with pytest.raises(BlockingIOError):
            stranger.recv(100)


async def test_what_is_not_bundled_is_refused_on_one_port(pair: MakePair) -> None:
    one = pair(connectivity_of(free_ports(1)))
    one.viewer.addTransceiver("video")
    await one.gather()
    offer = re.sub(r"a=group:BUNDLE.*\r\n", "", one.viewer.localDescription.sdp)
    with pytest.raises(OfferRejected, match="not bundled"):
        await one.join(offer=offer)


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
@pytest.mark.parametrize("kind", ["auto", "range", "single"])
async def test_ipv6(pair: MakePair, kind: str) -> None:
    wanted = {"auto": None, "range": free_ports(2, "::1"), "single": free_ports(1, "::1")}[kind]
    one = await pair(connectivity_of(wanted, interfaces=("::1",))).join(only("::1"))
    assert "::1" in {ip for ip, _ in one.places}
    await one.talks()


def only(address: str) -> Callable[[str], str]:
    """The answer with the candidates of one address alone."""

    def edit(answer: str) -> str:
        keep = [line for line in answer.splitlines() if "a=candidate" not in line or f" {address} " in line]
        return "\r\n".join(keep) + "\r\n"

    return edit


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
async def test_both_families_on_one_port(pair: MakePair) -> None:
    wanted = free_ports(1)
    connectivity = connectivity_of(wanted, interfaces=("lo",))
    pairs = [await pair(connectivity).join(only(address)) for address in ("127.0.0.1", "::1")]
    assert pairs[0].places == {("127.0.0.1", wanted[0]), ("::1", wanted[0])}
    await asyncio.gather(*(one.talks() for one in pairs))


@asynccontextmanager
async def router(outside: str, inside: str, port: int) -> AsyncIterator[None]:
    """Passes what comes to ``outside`` on to ``inside``, same port, from a port of its own for each who sends."""
    loop = asyncio.get_running_loop()
    passed: dict[tuple[str, int], asyncio.DatagramTransport] = {}

    class Back(asyncio.DatagramProtocol):
        def __init__(self, sender: tuple[str, int]) -> None:
            self._sender = sender

        def datagram_received(self, data: bytes, addr: Any) -> None:
            front.sendto(data, self._sender)

    class Front(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            tasks.append(asyncio.create_task(self._pass(data, addr)))

        async def _pass(self, data: bytes, sender: tuple[str, int]) -> None:
            if sender not in passed:
                transport, _ = await loop.create_datagram_endpoint(lambda: Back(sender), remote_addr=(inside, port))
                passed.setdefault(sender, transport)
            passed[sender].sendto(data)

    tasks: list[asyncio.Task[None]] = []
    front, _ = await loop.create_datagram_endpoint(Front, local_addr=(outside, port))
    yield
    front.close()
    await asyncio.gather(*tasks)
    for transport in passed.values():
        transport.close()


async def test_a_viewer_outside_comes_through_the_router(pair: MakePair) -> None:
    wanted = free_ports(1, "127.0.0.9")
    async with router("127.0.0.9", "127.0.0.1", wanted[0]):
        one = await pair(connectivity_of(wanted, advertise=("127.0.0.9",))).join(only("127.0.0.9"))
        assert one.places == {("127.0.0.1", wanted[0]), ("127.0.0.9", wanted[0])}
        await one.talks()
        await one.close()


async def test_a_name_is_looked_up_in_the_background(pair: MakePair) -> None:
    connectivity = connectivity_of(advertise=("localhost", "no.such.name.invalid"))
    await until_async("it is looked up", lambda: done("127.0.0.1" in connectivity._advertised.addresses()))
    assert set(connectivity._advertised.addresses()) <= {"127.0.0.1", "::1"}
    assert connectivity._advertised._worker is not None
    await asyncio.wrap_future(connectivity._advertised._worker.finished)


async def test_other_peers_of_this_process_are_left_alone(pair: MakePair) -> None:
    wanted = free_ports(1)
    one = await pair(connectivity_of(wanted)).join()
    other = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    other.createDataChannel("x")
    await other.setLocalDescription(await other.createOffer())
    assert wanted[0] not in {candidate.port for candidate in local_candidates(other)}
    assert "get_component_candidates" not in vars(connection_of(other))
    assert "get_component_candidates" in vars(connection_of(one.server)), "the control"
    await other.close()


def connection_of(peer: RTCPeerConnection) -> aioice.ice.Connection:
    assert peer.sctp is not None
    return peer.sctp.transport.transport._connection


async def test_a_silent_server_costs_one_viewer_a_moment(
    pair: MakePair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gather, "GATHER_S", 0.3)
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"stun:127.0.0.1:{silent.getsockname()[1]}"
        connectivity = connectivity_of(ice_servers=(url,))
        took_s = []
        for _ in range(2):
            started = time.monotonic()
            one = await pair(connectivity).join()
            took_s.append(time.monotonic() - started)
            await one.talks()
    assert took_s[0] > 0.3 > took_s[1]
    assert [record.getMessage() for record in caplog.records if record.name.startswith("streamd")] == [
        "the STUN server of webrtc.ice_servers gave no address: next try in a minute"
    ]


async def test_a_stun_server_shows_the_outer_address(pair: MakePair) -> None:
    """On one port the answer finds its way by the transaction."""

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            request = stun.parse_message(data)
            answer = stun.Message(request.message_method, stun.Class.RESPONSE, request.transaction_id)
            answer.attributes["XOR-MAPPED-ADDRESS"] = ("198.51.100.7", 4444)
            self.transport.sendto(bytes(answer), addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    url = "stun:127.0.0.1:{}".format(transport.get_extra_info("sockname")[1])
    one = await pair(connectivity_of(free_ports(1), ice_servers=(url,))).join()
    assert ("198.51.100.7", 4444) in one.places
    await one.talks()
    transport.close()


TURNSERVER = shutil.which("turnserver")


@asynccontextmanager
async def coturn(folder: Path) -> AsyncIterator[int]:
    """Debian's, on a free port of 127.0.0.1, for the user streamd with the password hunter2."""
    port, relays = free_ports(1)[0], free_ports(20)
    config = folder / "turn.conf"
    config.write_text(
        f"listening-ip=127.0.0.1\nrelay-ip=127.0.0.1\nlistening-port={port}\nrealm=here\nuser=streamd:hunter2\n"
        f"min-port={relays[0]}\nmax-port={relays[-1]}\nlt-cred-mech\nallow-loopback-peers\nno-cli\nno-tls\nno-dtls\n"
        f"no-rfc5780\npidfile={folder}/pid\nuserdb={folder}/db\nlog-file={folder}/log\nsimple-log\ncli-password=x\n"
    )
    assert TURNSERVER
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(TURNSERVER, "-c", config, stdout=quiet, stderr=quiet)
    try:
        await until_async("coturn listens", lambda: accepts(port))
        yield port
    finally:
        process.terminate()
        await process.wait()


async def accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


@pytest.mark.skipif(not TURNSERVER, reason="NO TURN TEST RUNS: install coturn")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_turn(pair: MakePair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str) -> None:
    monkeypatch.setenv("TURN_PASSWORD", "hunter2")
    async with coturn(tmp_path) as port:
        url = f"turn:127.0.0.1:{port}?transport={transport}"
        server = {"urls": (url,), "username": "streamd", "credential": "env:TURN_PASSWORD"}
        connectivity = connectivity_of(free_ports(1), ice_servers=(server,))
        one = pair(connectivity)

        def relayed(answer: str) -> str:
            return "\r\n".join(x for x in answer.splitlines() if "candidate" not in x or "typ relay" in x) + "\r\n"

        await one.gather()
        # The relay lets nobody in whom streamd has not sent something to first: so it must know the viewer.
        await one.join(relayed, offer=one.viewer.localDescription.sdp)
        assert " typ relay " in one.answer
        await one.talks()
        await one.close()


class TestDoctor:
    """What ``streamd doctor --webrtc`` does on the wire; its words are in tests/unit/doctor/test_webrtc.py."""

    LO = WebRtcConfig(interfaces=LO)

    async def test_a_picture_comes_through_each_address(self) -> None:
        wanted = free_ports(1)
        config = WebRtcConfig(interfaces=("lo",), udp_ports=str(wanted[0]))
        made = await probe.call(config, loopback=True)
        assert {(each.address, each.kind, each.failed) for each in made} == {
            (address, "host", "") for address in ("127.0.0.1", *(["::1"] if has_ipv6() else []))
        }
        ports.bind("127.0.0.1", wanted).close()

    async def test_only_the_way_that_is_named_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody passes on what comes to 127.0.0.9, though 127.0.0.1 would be there."""
        wanted = free_ports(1, "127.0.0.9")
        config = WebRtcConfig(interfaces=LO, udp_ports=str(wanted[0]), advertise=("127.0.0.9",))
        async with router("127.0.0.9", "127.0.0.1", wanted[0]):
            made = await probe.call(config, loopback=True)
            assert [(each.address, each.kind, each.failed) for each in made] == [
                ("127.0.0.1", "host", ""),
                ("127.0.0.9", "srflx", ""),
            ]
        monkeypatch.setattr(probe, "CALL_S", 0.7)
        made = await probe.call(config, loopback=True)
        assert [each.failed for each in made] == ["", "ICE"]

    async def test_no_port_is_reported(self) -> None:
        wanted = free_ports(1)
        config = WebRtcConfig(interfaces=LO, udp_ports=str(wanted[0]))
        with ports.bind("127.0.0.1", wanted), pytest.raises(NoPort):
            await probe.call(config, loopback=True)

    async def test_the_step_that_fails_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(probe, "CALL_S", 0.7)
        nothing = lambda *_, **__: None  # noqa: E731
        for where, name, instead, step in [
            (aioice.ice.Connection, "request_received", nothing, "ICE"),
            (aioice.ice.Connection, "data_received", nothing, "DTLS"),
            (LiveEncoder, "encode", lambda *_: [], "SRTP"),
        ]:
            with monkeypatch.context() as patch:
                patch.setattr(where, name, instead)
                (made,) = await probe.call(self.LO, loopback=True)
            assert made.failed == step

    @pytest.mark.skipif(not TURNSERVER, reason="NO TURN TEST RUNS: install coturn")
    async def test_a_relay_lets_a_viewer_in(self, tmp_path: Path) -> None:
        async with coturn(tmp_path) as port:
            server = IceServer(urls=(f"turn:127.0.0.1:{port}",), username="streamd", credential="hunter2")
            made = await probe.call(WebRtcConfig(interfaces=LO, ice_servers=(server,)), loopback=True)
        assert [(each.kind, each.failed) for each in made] == [("host", ""), ("relay", "")]

    @pytest.mark.skipif(not TURNSERVER, reason="NO TURN TEST RUNS: install coturn")
    async def test_servers_that_answer_and_one_that_refuses(self, tmp_path: Path) -> None:
        async with coturn(tmp_path) as port:
            assert await probe.ask(f"stun:127.0.0.1:{port}", "", "") == "127.0.0.1"
            for transport in ("udp", "tcp"):
                url = f"turn:127.0.0.1:{port}?transport={transport}"
                assert await probe.ask(url, "streamd", "hunter2") == "127.0.0.1"
                with pytest.raises(ConnectionRefusedError, match=r"refuses: 401"):
                    await probe.ask(url, "streamd", "wrong")

    async def test_servers_that_are_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(probe, "ANSWER_S", 0.1)
        with socket.socket(type=socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            for kind in ("stun", "turn"):
                with pytest.raises(TimeoutError, match=r"no answer within 0.1 s"):
                    await probe.ask(f"{kind}:127.0.0.1:{silent.getsockname()[1]}", "jo", "hunter2")
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            await probe.ask(f"turn:127.0.0.1:{port}?transport=tcp", "jo", "hunter2")
