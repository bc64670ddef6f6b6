"""Many RTSP readers in a process of their own, which count what comes and decode nothing.

The child, ``python -m tests.support.rtsp_crowd URL``, takes the commands of ``crowd`` that it knows: join, counts and
leave. With ``?udp`` behind the URL its readers take UDP, and send receiver reports.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from tests.support import waiting
from tests.support.crowd import PATIENCE_S, REPORT_S, Crowd, Tally


class RtspCrowd(Crowd):
    """The readers of one address. Blocks while the child works."""

    def __init__(self, url: str, *, udp: bool = False) -> None:
        super().__init__(f"{url}{'?udp' if udp else ''}", module="tests.support.rtsp_crowd")


class Reader:
    """One of them."""

    def __init__(self, url: str) -> None:
        self.tally = Tally()
        self._url, _, kind = url.partition("?")
        self._udp = kind == "udp"
        self._sockets: list[socket.socket] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def join(self) -> float:
        """SETUP to the first whole picture, s."""
        address = urlsplit(self._url)
        self._reader, self._writer = await asyncio.open_connection(address.hostname, address.port)
        began = time.monotonic()
        transport = self._ports() if self._udp else "RTP/AVP/TCP;interleaved=0-1"
        answer = await self._ask("SETUP", f"Transport: {transport}\r\n")
        session = answer.partition("Session: ")[2].partition(";")[0]
        await self._ask("PLAY", f"Session: {session}\r\n")
        if self._udp:
            port = int(answer.partition("server_port=")[2].partition("-")[2].partition(";")[0])
            asyncio.get_running_loop().add_reader(self._sockets[0], self._datagram)
            self._tasks.append(asyncio.create_task(self._report(port)))
        else:
            self._tasks.append(asyncio.create_task(self._frames()))
        async with waiting.timeout(PATIENCE_S):
            await self.tally.first_picture.wait()
        return self.tally.first_picture_at - began

    async def _ask(self, method: str, headers: str) -> str:
        self._writer.write(f"{method} {self._url} RTSP/1.0\r\nCSeq: 1\r\n{headers}\r\n".encode())
        answer = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        assert answer.startswith("RTSP/1.0 200 "), answer
        return answer

    def _ports(self) -> str:
        self._sockets = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(2)]
        for each in self._sockets:
            each.bind(("127.0.0.1", 0))
            each.setblocking(False)
        self._sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        rtp, rtcp = (each.getsockname()[1] for each in self._sockets)
        return f"RTP/AVP;unicast;client_port={rtp}-{rtcp}"

    def _datagram(self) -> None:
        self.tally.packet(self._sockets[0].recv(2048))

    async def _frames(self) -> None:
        rest = b""
        while data := await self._reader.read(1 << 16):
            data, at = rest + data, 0
            while at + 4 <= len(data) and at + 4 + (size := data[at + 2] << 8 | data[at + 3]) <= len(data):
                if data[at + 1] == 0:
                    self.tally.packet(data[at + 4 : at + 4 + size])
                at += 4 + size
            rest = data[at:]

    async def _report(self, port: int) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            self._sockets[1].sendto(struct.pack("!BBHI", 0x80, 201, 1, 1), ("127.0.0.1", port))

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._sockets:
            asyncio.get_running_loop().remove_reader(self._sockets[0])
        for each in self._sockets:
            each.close()
        self._writer.close()


async def serve(url: str) -> None:
    readers: list[Reader] = []

    async def answer(command: str, *given: Any) -> Any:
        if command == "join":
            joined = [Reader(url) for _ in range(given[0])]
            readers.extend(joined)
            return [await reader.join() for reader in joined]
        if command == "counts":
            return [reader.tally.take() for reader in readers]
        for reader in readers:
            await reader.leave()
        readers.clear()
        return None

    print("{}", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await answer(*json.loads(line))), flush=True)
    await answer("leave")


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
