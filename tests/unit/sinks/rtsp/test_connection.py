"""What a connection answers, what it keeps and when it ends."""

from __future__ import annotations

import asyncio
import struct

import pytest

from streamd.host.memory import Step
from streamd.media.rtsp_messages import Message
from streamd.sinks.rtsp import connection
from tests.support.rtsp_client import PPS, SPS, porch_served
from tests.support.waiting import timeout

TCP = b"RTP/AVP/TCP;unicast;interleaved=0-1"


async def test_it_says_what_it_can() -> None:
    async with porch_served() as server, server.client() as client:
        answer = await client.ask("OPTIONS", "/porch")
        assert answer.status == 200
        assert answer.get("Public") == b"OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, TEARDOWN"


@pytest.mark.parametrize("path", ["/porch", "/porch/", "/porch/depth", "/p%6Frch/depth?x=1"])
async def test_it_describes_the_video(path: str) -> None:
    async with porch_served() as server, server.client() as client:
        answer = await client.ask("DESCRIBE", path, ("Accept", b"application/sdp"))
        assert (answer.status, answer.get("Content-Type")) == (200, b"application/sdp")
        assert answer.get("Content-Base").endswith(path.partition("?")[0].rstrip("/").encode() + b"/")
        assert b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n" in answer.body
        assert b";profile-level-id=42C01F;sprop-parameter-sets=Z0LAH9o=,aM48gA==\r\n" in answer.body


async def test_parameter_sets_come_with_the_pictures_when_there_is_none_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamd.sinks.rtsp.description.WAIT_S", 0.01)
    async with porch_served() as server, server.client() as client:
        server.porch.answers = False
        answer = await client.ask("DESCRIBE", "/porch")
        assert b"a=fmtp:96 packetization-mode=1\r\n" in answer.body


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("DESCRIBE", "/nobody", (), 404),
        ("DESCRIBE", "/porch/colour", (), 404),
        ("DESCRIBE", "/porch/depth/more", (), 404),
        ("DESCRIBE", "/", (), 404),
        ("DESCRIBE", "/../porch/%00", (), 404),
        ("DESCRIBE", "/porch", (("Require", b"implicit-play"),), 551),
        ("PLAY", "/porch", (), 454),
        ("TEARDOWN", "/porch", (("Session", b"1"),), 454),
        ("GET_PARAMETER", "/porch", (("Session", b"1"),), 454),
        ("GET_PARAMETER", "/porch", (), 200),
        ("SET_PARAMETER", "/porch", (), 200),
        ("ANNOUNCE", "/porch", (), 501),
        ("RECORD", "/porch", (), 501),
        ("SETUP", "/porch", (), 461),
        ("SETUP", "/porch", (("Transport", b"RTP/AVP;multicast"),), 461),
        ("SETUP", "/porch", (("Transport", b"RTP/SAVP;unicast;client_port=5000-5001"),), 461),
        ("SETUP", "/porch", (("Transport", b"RTP/AVP;unicast;client_port=53-54"),), 461),
        ("SETUP", "/porch", (("Transport", b"RTP/AVP;unicast;client_port=65535"),), 461),
        ("SETUP", "/porch", (("Transport", b"RTP/AVP/TCP;interleaved=0-256"),), 461),
        ("SETUP", "/porch", (("Transport", b"RTP/AVP/TCP;mode=record"),), 461),
        ("SETUP", "/porch", (("Transport", b"RTP/AVP;multicast,RTP/AVP/TCP;unicast"),), 200),
        ("SETUP", "/nobody", (("Transport", TCP),), 404),
    ],
)
async def test_what_is_refused(method: str, path: str, headers: tuple[tuple[str, bytes], ...], status: int) -> None:
    async with porch_served() as server, server.client() as client:
        assert await client.status(method, path, *headers) == status
        assert await client.status("OPTIONS", "*") == 200


async def test_a_parameter_that_is_asked_for_is_not_known() -> None:
    async with porch_served() as server, server.client() as client:
        assert await client.status("GET_PARAMETER", "/porch", body=b"packets_received\r\n") == 451


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"OPTIONS * RTSP/2.0\r\nCSeq: 1\r\n\r\n", b"505"),
        (b"OPTIONS * RTSP/1.0\r\n\r\n", b"400"),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 1\x0b2\r\n\r\n", b"400"),
        (b"DESCRIBE rtsp://[::1/porch RTSP/1.0\r\nCSeq: 1\r\n\r\n", b"400"),
    ],
)
async def test_requests_that_are_none(request_: bytes, status: bytes) -> None:
    async with porch_served() as server, server.client() as client:
        client.writer.write(request_)
        assert (await client.reader.readline()).startswith(b"RTSP/1.0 " + status)


@pytest.mark.parametrize(
    "came",
    [
        b"GET /porch HTTP/1.1\r\nHost: 127.0.0.1:8554\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 50\r\n\r\nDESCRIBE rtsp://h/porch RTSP/1.0\r\nCSeq: 1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00" + bytes(40),
        b"OPTIONS * RTSP/1.0\r\nX: " + b"y" * 10_000,
        b"GET_PARAMETER * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 5000\r\n\r\n",
    ],
)
async def test_who_does_not_speak_rtsp_is_hung_up_on(came: bytes) -> None:
    async with porch_served() as server, server.client() as client:
        client.writer.write(came)
        with pytest.raises((EOFError, ConnectionError)):
            raise EOFError(await client.reader.readexactly(1))
        await server.until(lambda: server.rtsp.connections == 0)


async def test_a_reader_gets_a_keyframe_at_once_then_all_that_comes() -> None:
    async with porch_served() as server, server.client() as client:
        assert await client.play() == 200
        first = await client.picture()
        assert first[0][0] == 0x80
        assert SPS in first[0]
        assert PPS in first[0]
        assert [packet[1] for packet in first] == [96, 96, 96 | 0x80]  # the marker is on the last of a picture
        assert [packet[12] & 31 for packet in first] == [24, 28, 28]  # STAP-A, FU-A
        server.porch.publish(3000)
        units = [*first, *(await client.picture())]
        [report] = client.reports
        assert (report[1], struct.unpack("!I", report[20:24])[0]) == (200, 3)  # a sender report, of three packets
        sequence = [struct.unpack("!H", unit[2:4])[0] for unit in units]
        assert [(each - sequence[0]) % 65536 for each in sequence] == list(range(len(units)))
        stamps = [struct.unpack("!I", unit[4:8])[0] for unit in units]
        assert [(each - stamps[0]) % 2**32 for each in stamps] == [0, 0, 0, *[3000] * (len(units) - 3)]
        assert server.porch.watching() == 1
    await server.until(lambda: server.porch.watching() == 0)
    assert len(server.porch.depth) == 0


async def test_pause_and_go_on() -> None:
    async with porch_served() as server, server.client() as client:
        assert await client.play() == 200
        await client.picture()
        assert await client.status("PLAY", "/porch") == 200
        assert await client.status("SETUP", "/porch", ("Transport", TCP)) == 455
        assert await client.status("PAUSE", "/porch") == 200
        assert (len(server.porch.depth), server.porch.watching()) == (0, 0)
        session = client.session
        assert (await client.set_up()).status == 200  # another transport, as FFmpeg takes when UDP does not arrive
        assert client.session == session
        assert await client.status("PLAY", "/porch") == 200
        await client.picture()
        assert await client.status("TEARDOWN", "/porch") == 200
        assert await client.status("PLAY", "/porch") == 454
        assert len(server.porch.depth) == 0


async def test_one_that_takes_nothing_is_cut_off_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamd.sinks.rtsp.server.LOOK_EVERY_S", 0.05)
    async with porch_served() as server, server.client() as good, server.client() as stuck:
        assert await stuck.play() == 200
        stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]
        assert await good.play() == 200

        async def show() -> None:
            server.porch.publish(60_000, key=True)
            async with timeout(5):
                await good.picture()

        while not server.porch.sample("streamd_viewer_packets_dropped_total"):
            await show()
        assert server.rtsp.connections == 2
        monkeypatch.setattr(connection, "STALLED_S", 0.1)
        while server.rtsp.connections > 1:
            await show()
            await asyncio.sleep(0.005)
        assert server.porch.watching() == 1


@pytest.mark.parametrize("set_up", [False, True])
async def test_who_says_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch, set_up: bool) -> None:
    monkeypatch.setattr(connection, "IDLE_S", 0.2)
    monkeypatch.setattr(connection, "TIMEOUT_S", 0.4)
    monkeypatch.setattr("streamd.sinks.rtsp.server.LOOK_EVERY_S", 0.02)
    async with porch_served() as server, server.client() as client:
        if set_up:
            await client.set_up()
        assert await client.hung_up()


async def test_a_stream_that_goes_takes_its_readers_along() -> None:
    async with porch_served() as server, server.client() as client, server.client() as other:
        assert await client.play() == 200
        await client.picture()
        server.porch.depth.close()
        control = await client.packets(2)
        assert [channel for channel, _ in control] == [1, 1]
        bye = control[1][1]
        assert bye[-8:-4] == b"\x81\xcb\0\1"
        assert await client.hung_up()
        assert await other.play() == 404


async def test_a_description_keeps_its_stream_awake_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PREVIEW_S", 0.1)
    monkeypatch.setattr("streamd.sinks.rtsp.server.LOOK_EVERY_S", 0.02)
    async with porch_served() as server, server.client() as client:
        await client.ask("DESCRIBE", "/porch")
        assert len(server.porch.depth) == 1
        await server.until(lambda: len(server.porch.depth) == 0)


async def test_places_are_bounded_over_all_kinds_of_viewers() -> None:
    async with porch_served(max_viewers=2) as server, server.client() as one, server.client() as two:
        with server.sink.seat():
            assert await one.play() == 200
            assert await two.play() == 453
        assert await two.status("PLAY", "/porch") == 200


async def test_no_new_readers_while_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    async with porch_served() as server, server.client() as client:
        server.memory.update(Step.SHED_VIEWS)
        answer: Message = await client.ask("DESCRIBE", "/porch")
        assert answer.status == 503
        assert int(answer.get("Retry-After")) > 0
