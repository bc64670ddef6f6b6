"""An RTSP client that says what a test wants, and a stream that publishes what a test gives it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from streamd.config.sections import WebRtcConfig
from streamd.errors import UsageError
from streamd.host.memory import MemoryRelief
from streamd.media.frames import EncodedPacket
from streamd.media.hub import PacketHub
from streamd.media.rtsp_messages import Message, Reader
from streamd.sinks.rtsp import Login, RtspServer
from streamd.sinks.rtsp.connection import Parts
from streamd.sinks.webrtc import WebRtcSink
from streamd.states import KeyframeReason, StreamState
from streamd.telemetry.metrics import Metrics
from tests.support.waiting import timeout

SPS, PPS = b"\x67\x42\xc0\x1f\xda", b"\x68\xce\x3c\x80"
HEAD = b"\0\0\0\1" + SPS + b"\0\0\0\1" + PPS + b"\0\0\1"


def picture(number: int, size: int = 100, *, key: bool = False) -> EncodedPacket:
    """Of that many bytes behind its parameter sets; looks like H.264 to whoever does not decode it."""
    slice_ = bytes([0x65 if key else 0x41]) + bytes([1 + number % 200]) * size
    return EncodedPacket((HEAD if key else b"\0\0\0\1") + slice_, 3000 * number, key, 0.0, (640, 480))


class Porch:
    """A stream of its own. Its hub makes no pictures: a keyframe asked for is published at once, if ``answers``."""

    name, state = "porch", StreamState.RUNNING

    def __init__(self) -> None:
        self.metrics_of_all = Metrics()
        self.metrics = self.metrics_of_all.of_stream(self.name)
        self.depth = PacketHub(asyncio.get_running_loop(), self._asked)
        self.answers = True
        self.number = 0

    def hub(self, view: str, codec: str = "h264", *, light: bool = False) -> PacketHub:
        if view != "depth":
            raise UsageError("no such view")
        return self.depth

    def live_hub(self, view: str, codec: str = "h264", *, light: bool = False, height: int | None = None) -> PacketHub:
        return self.hub(view, codec)

    def publish(self, size: int = 100, *, key: bool = False) -> None:
        self.number += 1
        self.depth.publish_threadsafe([picture(self.number, size, key=key)])

    def sample(self, name: str) -> float:
        value = self.metrics_of_all.registry.get_sample_value(name, {"stream": "porch"})
        return value or 0.0

    def watching(self) -> float:
        value = self.metrics_of_all.registry.get_sample_value("streamd_viewers", {"stream": "porch", "view": "depth"})
        return value or 0.0

    def _asked(self, reason: KeyframeReason) -> None:
        if self.answers:
            self.publish(2000, key=True)


class PorchServer:
    """What ``porch_served`` runs."""

    def __init__(self, porch: Porch, sink: WebRtcSink, memory: MemoryRelief, rtsp: RtspServer) -> None:
        self.porch, self.sink, self.memory, self.rtsp = porch, sink, memory, rtsp
        self.url = f"rtsp://127.0.0.1:{rtsp.address[1]}"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[RtspClient]:
        async with connected(self.rtsp) as client:
            yield client

    async def until(self, done: Callable[[], object]) -> None:
        async with timeout(5):
            while not done():  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@asynccontextmanager
async def porch_served(
    *, login: Login | None = None, max_viewers: int = 64, places: Callable[[str], Any] = lambda address: lambda: None
) -> AsyncIterator[PorchServer]:
    porch, memory = Porch(), MemoryRelief()
    sink = WebRtcSink(WebRtcConfig(max_viewers=max_viewers), memory=memory)
    find = {"porch": porch}.get
    rtsp = RtspServer(Parts(find, sink.seat, login, memory), places)
    await rtsp.listen("127.0.0.1", 0)
    try:
        yield PorchServer(porch, sink, memory, rtsp)
    finally:
        await rtsp.close()


@asynccontextmanager
async def connected(rtsp: RtspServer, *, receive_buffer: int | None = None) -> AsyncIterator[RtspClient]:
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, rtsp.address)
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        yield RtspClient(f"rtsp://127.0.0.1:{rtsp.address[1]}", reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


class RtspClient:
    """One connection. What comes between the answers, interleaved frames, is kept."""

    def __init__(self, url: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.url = url
        self.reader, self.writer = reader, writer
        self.frames = bytearray()
        self.reports: list[bytes] = []
        """RTCP, as ``picture`` came by it."""
        self.session = b""
        self._reading = Reader()
        self._sequence = 0

    def send(self, method: str, path: str, *headers: tuple[str, bytes], body: bytes = b"") -> None:
        self._sequence += 1
        given = [("CSeq", b"%d" % self._sequence), *headers]
        if self.session and all(name != "Session" for name, _ in headers):
            given.append(("Session", self.session))
        start = f"{method} {self.url}{path} RTSP/1.0".encode()
        self.writer.write(bytes(Message(start, given, body)))

    async def ask(self, method: str, path: str, *headers: tuple[str, bytes], body: bytes = b"") -> Message:
        self.send(method, path, *headers, body=body)
        return await self.answer()

    async def answer(self) -> Message:
        """The next, to the request sent last. Raises EOFError when the server has hung up."""
        async with timeout(10):
            while True:
                data = await self.reader.read(65536)
                if not data:
                    raise EOFError
                answers = [unit for unit in self._reading.read(data) if self._is_answer(unit)]
                if answers:
                    assert isinstance(answers[0], Message)
                    assert answers[0].get("CSeq") == b"%d" % self._sequence
                    return answers[0]

    async def status(self, method: str, path: str, *headers: tuple[str, bytes], body: bytes = b"") -> int | None:
        return (await self.ask(method, path, *headers, body=body)).status

    async def hung_up(self) -> bool:
        """Waits for it."""
        async with timeout(10):
            with suppress(ConnectionError):
                while await self.reader.read(65536):
                    pass
        return True

    async def set_up(self, path: str = "/porch/depth", transport: bytes = b"RTP/AVP/TCP;interleaved=0-1") -> Message:
        answer = await self.ask("SETUP", f"{path}/trackID=0", ("Transport", transport))
        if answer.status == 200:
            self.session = answer.get("Session").partition(b";")[0]
        return answer

    async def play(self, path: str = "/porch/depth") -> int | None:
        await self.set_up(path)
        return await self.status("PLAY", path)

    async def packets(self, count: int) -> list[tuple[int, bytes]]:
        """The next interleaved ones: channel and packet."""
        found: list[tuple[int, bytes]] = []
        async with timeout(10):
            while len(found) < count:
                while (
                    len(found) < count
                    and len(self.frames) >= 4
                    and len(self.frames) >= 4 + int.from_bytes(self.frames[2:4])
                ):
                    size = 4 + int.from_bytes(self.frames[2:4])
                    found.append((self.frames[1], bytes(self.frames[4:size])))
                    del self.frames[:size]
                if len(found) < count:
                    data = await self.reader.read(65536)
                    if not data:
                        raise EOFError
                    for unit in self._reading.read(data):
                        self._is_answer(unit)
        return found

    async def picture(self) -> list[bytes]:
        """The RTP packets of the next one."""
        found: list[bytes] = []
        while not found or not found[-1][1] & 0x80:
            [(channel, packet)] = await self.packets(1)
            (self.reports if channel % 2 else found).append(packet)
        return found

    def _is_answer(self, unit: Message | bytes) -> bool:
        if isinstance(unit, bytes):
            self.frames += unit
            return False
        return True
