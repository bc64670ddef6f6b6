"""The RTSP server with streams whose camera and network a test plays, and a client that says what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from streamd.config.sections import Config
from streamd.daemon import build_login
from streamd.media.rtsp_messages import Message, Reader
from streamd.sinks.rtsp import RtspServer
from streamd.sinks.rtsp.connection import Parts
from streamd.web.auth import ACCESS
from streamd.web.connections import Places
from streamd.web.context import CONTEXT
from tests.integration.web_site import Site, served
from tests.support.waiting import timeout

FFMPEG = "/usr/bin/ffmpeg"
EVERY_S = 0.04


class RtspSite:
    """What ``rtsp_served`` runs."""

    def __init__(self, site: Site, rtsp: RtspServer) -> None:
        self.site, self.rtsp = site, rtsp
        self.url = f"rtsp://127.0.0.1:{rtsp.address[1]}"

    @property
    def viewers(self) -> int:
        return self.site.stream().status.viewers

    @asynccontextmanager
    async def client(self) -> AsyncIterator[RtspClient]:
        reader, writer = await asyncio.open_connection(*self.rtsp.address)
        try:
            yield RtspClient(self.url, reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def rtsp_served(
    *, connections: int = 64, filming: bool = True, server: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[RtspSite]:
    """``filming``: the camera of each stream goes on at 25 pictures a second. ``server`` is of [server], others as
    ``served`` takes them."""
    async with served(**(server or {}), **more) as site:
        config = Config(server=site.server)
        context, access = site.app[CONTEXT], site.app[ACCESS]
        login = build_login(config, access)
        parts = Parts(site.fleet.get, context.viewers.seat, login, context.memory)
        rtsp = RtspServer(parts, Places(connections).take)
        await rtsp.listen("127.0.0.1", 0)
        camera = asyncio.create_task(_film(site)) if filming else None
        try:
            yield RtspSite(site, rtsp)
        finally:
            if camera is not None:
                camera.cancel()
            await rtsp.close()


async def _film(site: Site) -> None:
    while True:
        for camera in site.cameras.values():
            camera.film(size=(320, 240))
        await asyncio.sleep(EVERY_S)


class RtspClient:
    """One connection. What comes between the answers, interleaved frames, is kept."""

    def __init__(self, url: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.url = url
        self.reader, self.writer = reader, writer
        self.frames = bytearray()
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
                while len(self.frames) >= 4 and len(self.frames) >= 4 + int.from_bytes(self.frames[2:4]):
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

    def _is_answer(self, unit: Message | bytes) -> bool:
        if isinstance(unit, bytes):
            self.frames += unit
            return False
        return True


async def run(command: Sequence[str], within_s: float = 30) -> tuple[int | None, str]:
    """Exit code, and all that it wrote."""
    pipe, join = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=join)
    try:
        async with timeout(within_s):
            written, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, written.decode(errors="replace")
