"""A server that a stream is pushed to, and that does as a test says: RTSP, or bytes that are nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from streamd.media.rtsp_messages import Message, NotRtsp, Reader
from streamd.sinks.rtsp.answers import REASONS
from tests.support.waiting import timeout

ANSWERS: dict[str, list[tuple[str, bytes]]] = {
    "OPTIONS": [("Public", b"OPTIONS, ANNOUNCE, SETUP, RECORD, GET_PARAMETER, TEARDOWN")],
    "ANNOUNCE": [],
    "SETUP": [("Session", b"s1;timeout=60"), ("Transport", b"RTP/AVP/TCP;unicast;interleaved=2-3;mode=record")],
    "RECORD": [],
    "GET_PARAMETER": [],
    "TEARDOWN": [],
}


@dataclass
class Taker:
    """What it got, and what it does with it."""

    port: int = 0
    asked: list[tuple[str, str, Message]] = field(default_factory=list)
    frames: bytearray = field(default_factory=bytearray)
    """As they came, with their heads."""
    statuses: dict[str, int] = field(default_factory=dict)
    """Other than 200."""
    headers: dict[str, list[tuple[str, bytes]]] = field(default_factory=lambda: {**ANSWERS})
    checks: Callable[[str, Message], list[tuple[str, bytes]] | None] = lambda method, message: None
    """Gives the challenge, with which a request is refused."""
    silent: bool = False
    """Answers nothing any more."""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/live/porch"

    @property
    def methods(self) -> list[str]:
        return [method for method, _, _ in self.asked]

    def packets(self) -> list[tuple[int, bytes]]:
        """Channel and packet of what is complete."""
        found, rest = [], bytes(self.frames)
        while len(rest) >= 4 and len(rest) >= 4 + int.from_bytes(rest[2:4]):
            size = 4 + int.from_bytes(rest[2:4])
            found.append((rest[1], rest[4:size]))
            rest = rest[size:]
        return found

    async def until(self, done: Callable[[], object], within_s: float = 5) -> None:
        async with timeout(within_s):
            while not done():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        reading = Reader()
        try:
            while data := await reader.read(65536):
                for unit in reading.read(data):
                    if isinstance(unit, bytes):
                        self.frames += unit
                    elif unit.request is not None:
                        self._answer(writer, *unit.request, unit)
        except (NotRtsp, ConnectionError):
            pass
        finally:
            writer.transport.abort()

    def _answer(self, writer: asyncio.StreamWriter, method: str, uri: str, message: Message) -> None:
        self.asked.append((method, uri, message))
        if self.silent:
            return
        challenge = self.checks(method, message)
        status = 401 if challenge is not None else self.statuses.get(method, 200)
        start = f"RTSP/1.0 {status} {REASONS.get(status, 'X')}".encode()
        headers = self.headers.get(method, []) if challenge is None else challenge
        writer.write(bytes(Message(start, [("CSeq", message.get("CSeq")), *headers])))


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


@asynccontextmanager
async def listening(serve: Serve, port: int = 0) -> AsyncIterator[int]:
    """Its port. All its connections end with the context."""
    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await serve(reader, writer)  # type: ignore[misc]

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()


@asynccontextmanager
async def taking(taker: Taker | None = None) -> AsyncIterator[Taker]:
    taker = taker or Taker()
    async with listening(taker.serve, taker.port) as taker.port:
        yield taker


def says(data: bytes, *, every_s: float | None = None) -> Serve:
    """To whoever asks anything: these bytes; ``every_s``: over and over."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(65536)
            writer.write(data)
            while every_s is not None:
                await writer.drain()
                await asyncio.sleep(every_s)
                writer.write(data)
            await reader.read(-1)
        except ConnectionError:
            pass

    return serve
