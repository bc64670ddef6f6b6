"""All viewers of the daemon: admits each, supervises it, and cleans up after it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from streamd.config.sections import WebRtcConfig
from streamd.errors import ViewersFull
from streamd.host.memory import SHORT, MemoryRelief
from streamd.sinks.webrtc.ice import Connectivity
from streamd.sinks.webrtc.session import Hubs, Session
from streamd.telemetry.metrics import StreamMetrics

MAX_JOINS_AT_ONCE = 4
CONNECTING_S = 3.0
"""A viewer that has not connected by then loses its place when all are taken: honest ones need a tenth of it."""
SILENT_S = 15.0
"""Without a packet of any kind from a viewer that sends no receiver reports; ICE asks every 5 s."""

log = logging.getLogger(__name__)


class WebRtcSink:
    """All WebRTC viewers of the daemon. Event loop only."""

    def __init__(
        self,
        config: WebRtcConfig = WebRtcConfig(),  # noqa: B008  # frozen
        *,
        loopback: bool = False,
        memory: MemoryRelief | None = None,
        join_timeout_s: float = 15.0,
        report_timeout_s: float = 8.0,
    ) -> None:
        """``loopback`` offers 127.0.0.1 too, for viewers on this box."""
        self.connectivity = Connectivity(config, loopback=loopback)
        self.max_viewers = config.max_viewers
        self._config = config
        self._memory = memory or MemoryRelief()
        self._join_timeout_s = join_timeout_s
        self._report_timeout_s = report_timeout_s
        # A join costs 13 ms of CPU: 16 at once stall the loop for 150 ms.
        self._joining = asyncio.Semaphore(MAX_JOINS_AT_ONCE)
        self._sessions: dict[str, Session] = {}
        self._attending: set[asyncio.Task[None]] = set()
        self._others = 0
        """Viewers that are served otherwise."""
        self._closed = False

    @property
    def count(self) -> int:
        return len(self._sessions)

    def session(self, session_id: str) -> Session | None:
        return self._sessions.get(session_id)

    async def open(self, offer_sdp: str, hubs: Hubs, metrics: StreamMetrics, *, stream: str, view: str) -> Session:
        """Answers a viewer's offer. Raises OfferRejected, ViewersFull, NoWebRtc and MemoryShort."""
        self._memory.admit()
        self._make_room()
        session = Session(stream, view, self._config, self.connectivity)
        self._sessions[session.id] = session  # its place is taken while it waits for the semaphore
        try:
            async with self._joining:
                await session.negotiate(offer_sdp, hubs, metrics.viewer_drops.inc)
        except BaseException:
            await self._discard(session)
            raise
        task = asyncio.create_task(self._attend(session, metrics), name=f"viewer-{session.id[:6]}")
        self._attending.add(task)
        task.add_done_callback(self._attending.discard)
        return session

    def _make_room(self) -> None:
        """Viewers that post offers and never connect must not keep others out. Raises ViewersFull."""
        places = [session for session in self._sessions.values() if not session.over.done()]
        if self._closed:
            raise ViewersFull(0)
        if len(places) + self._others < self.max_viewers:
            return
        due = asyncio.get_running_loop().time() - CONNECTING_S
        idle = next((session for session in places if not session.connected and session.opened_at < due), None)
        if idle is None:
            raise ViewersFull(self.max_viewers)
        idle.end("not connected, and another viewer came")

    @contextmanager
    def seat(self) -> Iterator[None]:
        """A place for a viewer that is served otherwise, such as by RTSP. Raises ViewersFull and MemoryShort."""
        self._memory.admit()
        self._make_room()
        self._others += 1
        try:
            yield
        finally:
            self._others -= 1

    async def trickle(self, session_id: str, fragment: str) -> None:
        """Raises KeyError for an unknown session and OfferRejected."""
        await self._sessions[session_id].trickle(fragment)

    async def close(self, session_id: str, reason: str = "closed") -> None:
        """Returns when the session is gone. Safe to repeat."""
        session = self._sessions.get(session_id)
        if session is not None:
            session.end(reason)
            await session.gone.wait()

    async def shutdown(self) -> None:
        """Closes every session; no viewer gets in any more."""
        self._closed = True
        await asyncio.gather(*(self.close(session_id, "shutdown") for session_id in tuple(self._sessions)))

    async def _attend(self, session: Session, metrics: StreamMetrics) -> None:
        """Stays with a session until it has to end, then clears up behind it."""
        name, short = session.stream, session.id[:6]
        metrics.viewers(session.view, +1)
        log.info("%s: viewer %s opened: %s, %d in all", name, short, session.view, self.count)
        try:
            session.end(await self._reason_to_end(session))
            log.info("%s: viewer %s closed: %s", name, short, session.over.result())
        finally:
            metrics.viewers(session.view, -1)
            await self._discard(session)

    async def _discard(self, session: Session) -> None:
        try:
            await session.discard()
        finally:
            del self._sessions[session.id]
            session.gone.set()

    async def _reason_to_end(self, session: Session) -> str:
        """Waits for it.

        A browser that is killed sends nothing more, and one that never connects stays in "connecting" for ever.
        Receiver reports show which; of a viewer that never reports, ICE's checks do.
        """
        clock = asyncio.get_running_loop().time
        since, last = clock(), None
        while True:
            await asyncio.wait({session.over}, timeout=min(self._join_timeout_s, self._report_timeout_s) / 8)
            if session.over.done():
                return session.over.result()
            if self._memory.sheds(session.view):
                return SHORT
            if not session.connected:
                if clock() - since > self._join_timeout_s:
                    return "never connected"
                continue
            received = await session.packets_received()
            if received is None:
                since = session.last_packet_at or clock()
                if clock() - since > SILENT_S:
                    return "silent"
            elif received != last:
                since, last = clock(), received
            elif clock() - since > self._report_timeout_s:
                return "no receiver reports"
