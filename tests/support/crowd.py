"""Many viewers in a process of their own: aiortc's ICE, DTLS and SRTP in full, but no picture is decoded.

``Crowd`` is its parent's end. The child, ``python -m tests.support.crowd URL [--raw]``, takes one JSON list per
line, a command and what it needs, and answers with one line. With ``--raw`` it reads no more of a media packet
than its header, before decryption, so that hundreds of megabits cost the box little; else it takes pictures
whole and can tell keyframes. Receiver reports go out in both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import queue
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urljoin

import aiohttp
import aioice.ice
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtp import RtcpReceiverInfo, RtcpRrPacket

from streamd.sinks.webrtc.closing import close_peer
from tests.support import waiting

ROOT = Path(__file__).parents[2]
SDP = {"Content-Type": "application/sdp"}
REPORT_S = 1.0
PLI_EVERY_S = 0.05
PATIENCE_S = 20.0


# -- the parent's end ---------------------------------------------------------------------------------


class Crowd:
    """The viewers of one WHEP endpoint. Blocks while the child works."""

    def __init__(
        self, url: str, *, raw: bool = False, within: Sequence[str] = (), module: str = "tests.support.crowd"
    ) -> None:
        """``within``: a command that runs the child elsewhere, such as ``ip netns exec NAME``; ``module``: another
        child, which takes the same commands."""
        options = ["--raw"] if raw else []
        self._process = subprocess.Popen(
            [*within, sys.executable, "-m", module, url, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._line()

    @property
    def pid(self) -> int:
        return self._process.pid

    def join(self, count: int, *, at_once: bool = False) -> list[float]:
        """So many more, one after the other unless ``at_once``. POST to the first whole picture of each, s."""
        times: list[float] = self._ask("join", count, at_once)
        return times

    def counts(self) -> list[dict[str, float]]:
        """Of each viewer, since the last call: s, packets, bytes, lost, pictures, keyframes, longest_gap_s.

        Packets, bytes and lost with ``raw`` only, keyframes without.
        """
        counts: list[dict[str, float]] = self._ask("counts")
        return counts

    def storm(self, seconds: float) -> list[dict[str, float]]:
        """All ask for keyframes all the time. What each got meanwhile, as ``counts``. Not with ``raw``."""
        counts: list[dict[str, float]] = self._ask("storm", seconds)
        return counts

    def leave(self) -> None:
        """All, with DELETE."""
        self._ask("leave")

    def vanish(self) -> None:
        """All at once, without a word."""
        self._process.kill()
        self.close()

    def _ask(self, *command: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"the crowd ended with {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """Those that are left leave. Safe to repeat."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Crowd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@asynccontextmanager
async def crowd(url: str, **options: Any) -> AsyncIterator[Crowd]:
    """A Crowd for who has a loop to run: its child takes seconds to begin and to end. Call its methods by
    ``asyncio.to_thread``, too."""
    made = await asyncio.to_thread(Crowd, url, **options)
    try:
        yield made
    finally:
        await asyncio.to_thread(made.close)


# -- the child ----------------------------------------------------------------------------------------


class Tally:
    """What has arrived."""

    def __init__(self) -> None:
        self.first_picture = asyncio.Event()
        self.first_picture_at = 0.0
        self.source = 0
        self.sequence = 0
        """The highest so far, 16 bits; 0 before the first."""
        self._last_picture_at = 0.0
        self.start()

    def start(self) -> None:
        self._since = time.monotonic()
        self.packets = self.bytes = self.lost = self.pictures = self.keyframes = 0
        self.longest_gap_s = 0.0

    def take(self) -> dict[str, float]:
        now = time.monotonic()
        taken = {
            "s": now - self._since,
            "packets": self.packets,
            "bytes": self.bytes,
            "lost": self.lost,
            "pictures": self.pictures,
            "keyframes": self.keyframes,
            "longest_gap_s": max(self.longest_gap_s, now - self._last_picture_at),
        }
        self.start()
        return taken

    def packet(self, data: bytes) -> None:
        """A media packet, encrypted; its header is not (RFC 3711)."""
        self.packets += 1
        self.bytes += len(data)
        sequence = int.from_bytes(data[2:4], "big")
        if self.source:
            self.lost += max(0, ((sequence - self.sequence + 0x8000) & 0xFFFF) - 0x8000 - 1)
        self.sequence, self.source = sequence, int.from_bytes(data[8:12], "big")
        if data[1] & 0x80:
            self.picture()

    def picture(self, *, is_keyframe: bool = False) -> None:
        now = time.monotonic()
        if self._last_picture_at:
            self.longest_gap_s = max(self.longest_gap_s, now - self._last_picture_at)
        else:
            self.first_picture_at = now
            self.first_picture.set()
        self._last_picture_at = now
        self.pictures += 1
        self.keyframes += is_keyframe


class Undecoded(queue.Queue[Any]):
    """In place of the queue to aiortc's decoder: pictures end here."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if item is None:  # the decoder's thread is to end
            super().put(item, block, timeout)
        else:
            codec, picture = item
            self._tally.picture(is_keyframe=is_keyframe(codec.name, picture.data))


def is_keyframe(codec: str, data: bytes) -> bool:
    """Annex B with an IDR slice, or the first bit of VP8 (RFC 6386, 9.1)."""
    if codec.upper() == "VP8":
        return not data[0] & 1
    return any(unit and unit[0] & 0x1F == 5 for unit in data.split(b"\0\0\1"))


class Watcher:
    """One viewer."""

    def __init__(self, http: aiohttp.ClientSession, url: str, *, raw: bool) -> None:
        self._http, self._url, self._raw = http, url, raw
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._receiver = self._peer.addTransceiver("video", direction="recvonly").receiver
        self._session = ""
        self._reporting: asyncio.Task[None] | None = None
        self.tally = Tally()

    async def join(self) -> float:
        """POST to the first whole picture, s."""
        vars(self._receiver)["_RTCRtpReceiver__decoder_queue"] = Undecoded(self.tally)
        await self._peer.setLocalDescription(await self._peer.createOffer())
        vars(self._receiver.transport.transport._connection)["tally"] = self.tally
        posted_at = time.monotonic()
        async with self._http.post(self._url, data=self._peer.localDescription.sdp, headers=SDP) as answer:
            text = await answer.text()
            assert answer.status == 201, text
            self._session = urljoin(self._url, answer.headers["Location"])
        await self._peer.setRemoteDescription(RTCSessionDescription(text, "answer"))
        async with waiting.timeout(PATIENCE_S):
            await self.tally.first_picture.wait()
        if self._raw:
            self._reporting = asyncio.create_task(self._report())
        return self.tally.first_picture_at - posted_at

    async def _report(self) -> None:
        """As receivers do that lose nothing; aiortc's own reports are of what reaches it."""
        while True:
            await asyncio.sleep(REPORT_S)
            seen = RtcpReceiverInfo(self.tally.source, 0, 0, self.tally.sequence, 0, 0, 0)
            await self._receiver.transport._send_rtp(bytes(RtcpRrPacket(ssrc=1, reports=[seen])))

    async def storm(self, until: float) -> None:
        source = self._receiver.getSynchronizationSources()[0].source
        while time.monotonic() < until:
            await self._receiver._send_rtcp_pli(source)
            await asyncio.sleep(PLI_EVERY_S)

    async def leave(self) -> None:
        if self._reporting:
            self._reporting.cancel()
        if self._session:
            async with self._http.delete(self._session) as answer:
                assert answer.status in (200, 404)
        await close_peer(self._peer)


def drop_media() -> None:
    """Media packets are counted in the socket's callback and go no further."""
    deliver = aioice.ice.StunProtocol.datagram_received

    def datagram_received(self: Any, data: bytes, address: tuple[Any, ...]) -> None:
        # RFC 7983, and RFC 5761 for what is RTCP.
        if 128 <= data[0] < 192 and not 192 <= data[1] <= 223:
            self.receiver.tally.packet(data)
        else:
            deliver(self, data, address)

    aioice.ice.StunProtocol.datagram_received = datagram_received  # type: ignore[method-assign, assignment]


async def serve(url: str, *, raw: bool) -> None:
    if raw:
        drop_media()
    watchers: list[Watcher] = []

    async def answer(command: str, *given: Any) -> Any:
        if command == "join":
            count, at_once = given
            joined = [Watcher(http, url, raw=raw) for _ in range(count)]
            watchers.extend(joined)
            if at_once:
                return await asyncio.gather(*(watcher.join() for watcher in joined))
            return [await watcher.join() for watcher in joined]
        if command == "counts":
            return [watcher.tally.take() for watcher in watchers]
        if command == "storm":
            for watcher in watchers:
                watcher.tally.start()
            await asyncio.gather(*(watcher.storm(time.monotonic() + given[0]) for watcher in watchers))
            return [watcher.tally.take() for watcher in watchers]
        await asyncio.gather(*(watcher.leave() for watcher in watchers))
        watchers.clear()
        return None

    async with aiohttp.ClientSession() as http:
        print("{}", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await answer(*json.loads(line))), flush=True)
        await answer("leave")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--raw", action="store_true")
    options = parser.parse_args()
    asyncio.run(serve(options.url, raw=options.raw))


if __name__ == "__main__":
    main()
