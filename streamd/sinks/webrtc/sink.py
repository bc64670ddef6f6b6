"""All viewers of the daemon: lets them in, stays with each, clears up behind it."""

from __future__ import annotations

import asyncio
import logging

from streamd.config.sections import WebRtcConfig
from streamd.errors import ViewersFull
from streamd.sinks.webrtc.ice import Reach
from streamd.sinks.webrtc.session import Hubs, Session
from streamd.telemetry.metrics import StreamMetrics

JOINS_AT_ONCE = 4

log = logging.getLogger(__name__)


class WebRtcSink:
    """All WebRTC viewers of the daemon."""

    def __init__(
        self,
        config: WebRtcConfig = WebRtcConfig(),  # noqa: B008  # frozen
        *,
        loopback: bool = False,
        join_timeout_s: float = 15.0,
        report_timeout_s: float = 8.0,
    ) -> None:
        """``loopback`` offers 127.0.0.1 too, for viewers on this box."""
        self.reach = Reach(config, loopback=loopback)
        self.max_viewers = config.max_viewers
        self._config = config
        self._join_timeout_s = join_timeout_s
        self._report_timeout_s = report_timeout_s
        self._joining = asyncio.Semaphore(JOINS_AT_ONCE)  # a join costs 13 ms of CPU: 16 at once stall the loop 150 ms
        self._sessions: dict[str, Session] = {}
        self._attending: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        return len(self._sessions)

    def session(self, session_id: str) -> Session | None:
        return self._sessions.get(session_id)

    def sessions_of(self, stream: str) -> list[Session]:
        return [session for session in self._sessions.values() if session.stream == stream]

    async def open(self, offer_sdp: str, hubs: Hubs, metrics: StreamMetrics, *, stream: str, view: str) -> Session:
        """Answers a viewer's offer. Raises OfferRejected and ViewersFull."""
        if len(self._sessions) >= self.max_viewers:
            raise ViewersFull(self.max_viewers)
        session = Session(stream, view, self._config, self.reach)
        self._sessions[session.id] = session  # its seat is taken while it waits for the semaphore
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

    async def trickle(self, session_id: str, fragment: str) -> None:
        """Raises KeyError for an unknown session and OfferRejected."""
        await self._sessions[session_id].trickle(fragment)

    async def close(self, session_id: str, reason: str = "closed") -> None:
        """Returns when the session is gone. Safe to repeat."""
        session = self._sessions.get(session_id)
        if session is not None:
            session.end(reason)
            await session.gone.wait()

    def shed(self) -> None:
        """Ends the sessions of all views but depth, with their encoders: memory is short."""
        for session in self._sessions.values():
            if session.view != "depth":
                session.end("memory is short")

    async def shutdown(self) -> None:
        """Closes every session; no viewer gets in any more."""
        self.max_viewers = 0
        await asyncio.gather(*(self.close(session_id, "shutdown") for session_id in tuple(self._sessions)))

    async def _attend(self, session: Session, metrics: StreamMetrics) -> None:
        """Stays with a session until it has to end, then clears up behind it."""
        name, short = session.stream, session.id[:6]
        metrics.viewers(session.view, +1)
        log.info("%s: viewer %s opened: %s, %d in all", name, short, session.view, self.count)
        try:
            session.end(await self._until_over(session))
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

    async def _until_over(self, session: Session) -> str:
        """Why the session has to end.

        A browser that is killed says nothing, and one that never connects stays in "connecting"
        for ever. Receiver reports and ICE consent end them; a viewer that never reports is left to
        consent alone.
        """
        clock = asyncio.get_running_loop().time
        since, last = clock(), None
        while True:
            await asyncio.wait({session.over}, timeout=min(self._join_timeout_s, self._report_timeout_s) / 8)
            if session.over.done():
                return session.over.result()
            if not session.connected:
                if clock() - since > self._join_timeout_s:
                    return "never connected"
                continue
            heard = await session.heard()
            if heard is None or heard != last:
                since, last = clock(), heard
            elif clock() - since > self._report_timeout_s:
                return "no receiver reports"
